"""Compressed files as streams, by suffix."""

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, cast

import pyarrow as pa
import zstandard

_READERS: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="rb"),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    # zstandard's own reader takes a file that ends in the middle of a frame for a complete one.
    ".zst": lambda raw: pa.CompressedInputStream(raw, "zstd"),
}
_WRITERS: dict[str, tuple[str, Callable[[BinaryIO], AbstractContextManager[BinaryIO]]]] = {
    "none": ("", contextlib.nullcontext),
    # The time and name fields of a gzip header would make equal content differ.
    "gzip": (".gz", lambda raw: cast(BinaryIO, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0))),
    "zstd": (
        ".zst",
        lambda raw: cast(BinaryIO, zstandard.ZstdCompressor(write_checksum=True).stream_writer(raw, closefd=False)),
    ),
}
COMPRESSIONS = tuple(_WRITERS)
_SUFFIXES = tuple(_READERS)
DECOMPRESSION_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error)


def is_compressed(path: str) -> bool:
    """Whether the path's suffix names a compression that `decompressed` knows."""
    return path.lower().endswith(_SUFFIXES)


def decompressed(path: str, raw: BinaryIO) -> BinaryIO:
    """A stream of the uncompressed bytes (concatenated members and frames included); not seekable in general.

    A file without a byte is empty, as `gzip` has it; `bz2` and `lzma` would take it for one that was cut off.
    """
    suffix = next(suffix for suffix in _SUFFIXES if path.lower().endswith(suffix))
    buffered = io.BufferedReader(cast(io.RawIOBase, raw))
    stream = _READERS[suffix](cast(BinaryIO, buffered)) if buffered.peek(1) else buffered
    return cast(BinaryIO, stream)


def compressed_suffix(compression: str) -> str:
    """File name suffix of one of `COMPRESSIONS`."""
    return _WRITERS[compression][0]


def compressed(compression: str, raw: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """A writer that compresses into `raw`; complete when its context ends (`raw` stays open)."""
    return _WRITERS[compression][1](raw)
