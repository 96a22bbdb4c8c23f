"""Blocks of lines: how a file is cut into pieces that do not depend on who reads them."""

from collections.abc import Callable
from typing import BinaryIO, Protocol

_SKIP_BYTES = 1 << 20


class RandomAccess(Protocol):
    """Bytes of an uncompressed file by position."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer only at the end of the file."""

    def release(self, offset: int) -> None:
        """Promises that nothing before `offset` will be asked for again."""


class SeekableFile:
    """`RandomAccess` over a file that can seek."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read_at(self, offset: int, size: int) -> bytes:
        """See `RandomAccess`."""
        self._file.seek(offset)
        return read_fully(self._file.read, size)

    def release(self, offset: int) -> None:
        """Nothing is held."""


class ForwardStream:
    """`RandomAccess` over a stream that only goes forward; holds what was read since the last `release`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = 0
        self._held = bytearray()

    def read_at(self, offset: int, size: int) -> bytes:
        """See `RandomAccess`; `offset` must not lie before what was released."""
        begin = offset - self._start
        missing = begin + size - len(self._held)
        if missing > 0:
            self._held += read_fully(self._file.read, missing)
        return bytes(self._held[begin : begin + size])

    def release(self, offset: int) -> None:
        """Drops held bytes before `offset`, and skips ahead to it where it was not reached yet."""
        drop = min(offset - self._start, len(self._held))
        del self._held[:drop]
        self._start += drop
        while self._start < offset:
            skipped = len(self._file.read(min(_SKIP_BYTES, offset - self._start)))
            if not skipped:
                return
            self._start += skipped


def read_fully(read: Callable[[int], bytes], size: int) -> bytes:
    """Calls `read` until `size` bytes have come or the end is reached (object stores return short reads)."""
    data = read(size)
    if len(data) == size or not data:
        return data
    parts = [data]
    missing = size - len(data)
    while missing:
        data = read(missing)
        if not data:
            break
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def read_lines(source: RandomAccess, block: int, block_size: int, max_line_bytes: int) -> tuple[int, bytes] | None:
    """The lines that start in a block, and the offset of the first; None past the end of the file.

    The last line is read to its end, wherever that is; of a line longer than `max_line_bytes` the first
    `max_line_bytes` + 1 bytes come back, enough to see that it is too long.
    """
    start = block * block_size
    # One byte more at the front tells whether a line starts exactly at the block's first byte.
    before = 1 if block else 0
    source.release(start - before)
    window = source.read_at(start - before, block_size + before)
    if len(window) <= before:
        return None
    first = window.find(b"\n") + 1 if before else 0
    if before and not first:
        return start, b""
    base = start - before + first
    lines = window[first:]
    at_end = len(window) < block_size + before
    if not lines or at_end or lines.endswith(b"\n"):
        return base, lines
    parts = [lines]
    last_line_bytes = len(lines) - (lines.rfind(b"\n") + 1)
    chunk = 1 << 16
    position = start + block_size
    while last_line_bytes <= max_line_bytes:
        more = source.read_at(position, min(chunk, max_line_bytes + 1 - last_line_bytes))
        end = more.find(b"\n")
        if end >= 0:
            parts.append(more[:end])
            break
        if not more:
            break
        parts.append(more)
        position += len(more)
        last_line_bytes += len(more)
        chunk *= 2
    return base, b"".join(parts)
