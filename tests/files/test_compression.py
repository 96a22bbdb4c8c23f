import bz2
import contextlib
import gzip
import io
import lzma
import subprocess
import time
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.files.compression import (
    COMPRESSIONS,
    DECOMPRESSION_ERRORS,
    compressed,
    compressed_suffix,
    decompressed,
    is_compressed,
)

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
CONTENT = b"".join(b'{"text": "line %d"}\n' % (number * 7919) for number in range(5000))
STORED = {suffix: encode(CONTENT) for suffix, encode in ENCODERS.items()}
suffixes = pytest.mark.parametrize("suffix", ENCODERS)


class ShortReads(io.RawIOBase):
    """A stream that returns at most 100 bytes a read and cannot seek, as one from a network."""

    def __init__(self, content):
        self._file = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._file.read(min(len(buffer), 100))
        buffer[: len(data)] = data
        return len(data)


def read(suffix, stored, open_raw=io.BytesIO):
    parts = []
    with decompressed(f"a.jsonl{suffix}", open_raw(stored)) as stream:
        while part := stream.read(1000):
            parts.append(part)
    return b"".join(parts)


def write(compression, *parts):
    raw = io.BytesIO()
    with compressed(compression, raw) as writer:
        for part in parts:
            writer.write(part)
    assert not raw.closed
    return raw.getvalue()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(st.lists(st.binary(max_size=100), max_size=5))
def test_what_is_written_can_be_read(compression, parts):
    stored = write(compression, *parts)
    suffix = compressed_suffix(compression)
    assert (read(suffix, stored) if suffix else stored) == b"".join(parts)


def test_the_usual_tools_read_what_is_written():
    assert (
        subprocess.run(["gzip", "-dc"], input=write("gzip", CONTENT), capture_output=True, check=True).stdout
        == CONTENT
    )
    assert zstandard.ZstdDecompressor().stream_reader(write("zstd", CONTENT)).readall() == CONTENT
    assert write("none", CONTENT) == CONTENT


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_bytes_written_do_not_depend_on_the_time(compression, monkeypatch):
    now = write(compression, CONTENT)
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert write(compression, CONTENT) == now


@suffixes
@pytest.mark.parametrize("open_raw", [io.BytesIO, ShortReads])
def test_a_file_without_a_byte_is_empty(suffix, open_raw):
    assert read(suffix, b"", open_raw) == b""


@suffixes
@given(st.lists(st.binary(max_size=100), max_size=4))
def test_streams_one_after_the_other_are_one(suffix, parts):
    assert read(suffix, b"".join(map(ENCODERS[suffix], parts))) == b"".join(parts)


@suffixes
def test_short_reads_do_no_harm(suffix):
    assert read(suffix, STORED[suffix] + ENCODERS[suffix](b"more"), ShortReads) == CONTENT + b"more"


@suffixes
@given(st.data())
def test_a_file_that_was_cut_off_is_an_error(suffix, data):
    kept = data.draw(st.integers(1, len(STORED[suffix]) - 1))
    with pytest.raises(DECOMPRESSION_ERRORS):
        read(suffix, STORED[suffix][:kept])


@suffixes
@given(st.data())
def test_a_file_with_a_wrong_byte_is_an_error(suffix, data):
    stored = bytearray(STORED[suffix])
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(*DECOMPRESSION_ERRORS):
        assert read(suffix, bytes(stored)) == CONTENT  # only a byte without a meaning, such as gzip's time


@suffixes
def test_text_under_a_wrong_suffix_is_an_error(suffix):
    with pytest.raises(DECOMPRESSION_ERRORS):
        read(suffix, CONTENT)


@suffixes
def test_suffixes_are_known_in_either_case(suffix):
    assert is_compressed(f"/data/a.jsonl{suffix}")
    assert is_compressed(f"mem://data/A.JSONL{suffix.upper()}")
    assert read(suffix.upper(), STORED[suffix]) == CONTENT


@pytest.mark.parametrize("path", ["a.jsonl", "a.gz.jsonl", "gz", "a.zip"])
def test_other_files_are_plain(path):
    assert not is_compressed(path)
