import gzip
import io

import numpy as np
import pyarrow as pa
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.selection.copy_lines import copy_lines


class CountingFile(io.FileIO):
    """A file that remembers what was read of it."""

    def __init__(self, path):
        super().__init__(path)
        self.reads = []

    def read(self, size=-1):
        data = super().read(size)
        self.reads.append(len(data))
        return data


@pytest.fixture
def opened(monkeypatch):
    """The source files that were opened."""
    files = []

    def open_raw(path):
        files.append(CountingFile(path))
        return files[-1]

    monkeypatch.setattr(storage, "open_raw", open_raw)
    return files


def rows(path, offsets, lengths, stat=None):
    table = pa.table(
        {
            "file": pa.array([str(path)] * len(offsets)).dictionary_encode(),
            "offset": np.array(offsets, np.int64),
            "length": np.array(lengths, np.int64),
        }
    )
    return table, {str(path): SourceFile(0, str(path), "a", *(stat or storage.size_and_time(str(path))))}


def write_lines(path, lengths):
    """A file of random lines; returns (content, offsets)."""
    generator = np.random.default_rng(0)
    content = b"\n".join(generator.integers(97, 123, length, np.uint8).tobytes() for length in lengths) + b"\n"
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return content, np.concatenate([[0], np.cumsum(np.array(lengths) + 1)[:-1]])


def test_neighbouring_lines_come_in_one_read(tmp_path, opened):
    lengths = [100] * 2000
    content, offsets = write_lines(tmp_path / "a.jsonl", lengths)
    chosen = np.flatnonzero((np.arange(2000) < 500) | (np.arange(2000) >= 1500))[::3]
    tables = [rows(tmp_path / "a.jsonl", offsets[part], [100] * len(part)) for part in np.array_split(chosen, 3)]
    copied = b"".join(copy_lines(tables))
    assert copied == b"".join(content[offsets[row] : offsets[row] + 101] for row in chosen)
    assert len(opened) == 1
    # One read for each table, and one more in that whose lines lie in two places.
    assert len(opened[0].reads) == 4
    assert sum(opened[0].reads) < 1100 * 101


def test_reads_are_bounded_but_for_long_lines(tmp_path, opened, monkeypatch):
    monkeypatch.setattr("hir_transforms.selection.copy_lines._MAX_READ", 1000)
    lengths = [90] * 50 + [5000] + [90] * 50
    content, offsets = write_lines(tmp_path / "a.jsonl", lengths)
    assert b"".join(copy_lines([rows(tmp_path / "a.jsonl", offsets, lengths)])) == content
    assert sorted(opened[0].reads)[-2:] == [1002 - 91 + 89, 5002] or max(opened[0].reads) == 5002
    assert sorted(opened[0].reads)[-2] <= 1002


def test_a_compressed_source_is_not_read_beyond_the_last_line(tmp_path, opened):
    content, offsets = write_lines(tmp_path / "a.jsonl.gz", [1000] * 5000)
    copied = b"".join(copy_lines([rows(tmp_path / "a.jsonl.gz", offsets[100:110], [1000] * 10)]))
    assert copied == content[100 * 1001 : 110 * 1001]
    assert len(opened) == 1
    assert sum(opened[0].reads) < (tmp_path / "a.jsonl.gz").stat().st_size / 10


def test_another_size_or_time_is_an_error(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"one\ntwo\n")
    size, modified = storage.size_and_time(str(path))
    assert (size, modified) == (8, path.stat().st_mtime)
    assert b"".join(copy_lines([rows(path, [4], [3], (size, modified))])) == b"two\n"
    for stat in ((size + 1, modified), (size, modified + 1)):
        with pytest.raises(UserError, match=r"a\.jsonl changed after it was scored"):
            list(copy_lines([rows(path, [4], [3], stat)]))
    with pytest.raises(UserError, match="cannot read"):
        list(copy_lines([rows(tmp_path / "none", [4], [3], (size, modified))]))
