import io
import itertools
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hir_transforms.files.blocks import ForwardStream, SeekableFile, read_fully, read_lines

NO_LIMIT = 1 << 30
# Newlines often enough that blocks begin and end at, before and after them.
CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"\xff\x00", b"long line "]), max_size=40).map(b"".join)
BLOCK_SIZES = st.integers(1, 50)
READ_SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


class ShortReads:
    """A stream that only goes forward and returns fewer bytes than asked for."""

    def __init__(self, content, sizes):
        self._file = io.BytesIO(content)
        self._sizes = itertools.cycle(sizes)

    def read(self, size):
        return self._file.read(min(size, next(self._sizes)))


class Window:
    """Passes reads on, and measures the span that a forward stream has to hold for them."""

    def __init__(self, content):
        self._file = SeekableFile(io.BytesIO(content))
        self._released = 0
        self.widest = 0

    def read_at(self, offset, size):
        assert offset >= self._released
        self.widest = max(self.widest, offset + size - self._released)
        return self._file.read_at(offset, size)

    def release(self, offset):
        self._released = offset


def lines_of(content, base=0):
    """(offset, line without its newline) of all lines."""
    lines = content.split(b"\n")
    offsets = itertools.accumulate((len(line) + 1 for line in lines), initial=base)
    return list(zip(offsets, lines, strict=False))[: None if lines[-1] else -1]


def read_blocks(source, numbers, block_size, limit=NO_LIMIT):
    """What `read_lines` returns for each block, until the end of the file."""
    blocks = (read_lines(source, number, block_size, limit) for number in numbers)
    return list(itertools.takewhile(lambda block: block is not None, blocks))


def whole(content):
    return SeekableFile(io.BytesIO(content))


@given(CONTENT, BLOCK_SIZES)
@example(b"", 1)
@example(b"\n", 1)
@example(b"no final newline", 4)
@example(b"a\r\nb\r\n", 3)
def test_every_line_is_in_the_block_where_it_starts_and_nowhere_else(content, block_size):
    blocks = read_blocks(whole(content), itertools.count(), block_size)
    found = [[*lines_of(data, base)] for base, data in blocks]
    assert [line for lines in found for line in lines] == lines_of(content)
    assert [{offset // block_size for offset, _ in lines} <= {number} for number, lines in enumerate(found)] == [
        True
    ] * len(blocks)
    assert len(blocks) == -(-len(content) // block_size)


@given(st.binary(max_size=60), BLOCK_SIZES)
def test_any_bytes_are_cut_without_loss(content, block_size):
    blocks = read_blocks(whole(content), itertools.count(), block_size)
    assert [line for base, data in blocks for line in lines_of(data, base)] == lines_of(content)


@given(CONTENT, BLOCK_SIZES, READ_SIZES, st.integers(0, 3), st.integers(1, 4), st.integers(0, 20))
def test_a_forward_stream_with_short_reads_gives_the_blocks_of_the_file(content, size, sizes, first, step, limit):
    numbers = range(first, 10_000, step)
    stream = ForwardStream(ShortReads(content, sizes))  # type: ignore[arg-type]
    assert read_blocks(stream, numbers, size, limit) == read_blocks(whole(content), numbers, size, limit)


@given(CONTENT, BLOCK_SIZES, st.integers(0, 30))
def test_long_lines_come_back_cut_and_others_whole(content, block_size, limit):
    blocks = read_blocks(whole(content), itertools.count(), block_size, limit)
    found = [line for base, data in blocks for line in lines_of(data, base)]
    assert [offset for offset, _ in found] == [offset for offset, _ in lines_of(content)]
    for (_, cut), (_, line) in zip(found, lines_of(content), strict=True):
        assert line.startswith(cut)
        assert cut == line or limit < len(cut) <= max(limit + 1, block_size)


@given(CONTENT, BLOCK_SIZES, st.integers(0, 30))
def test_no_more_is_held_than_a_block_and_a_line(content, block_size, limit):
    window = Window(content)
    read_blocks(window, itertools.count(), block_size, limit)
    assert window.widest <= block_size + 1 + limit + 1


def test_a_long_line_is_read_to_its_end_in_growing_pieces():
    content = b"x" * 1_000_000 + b"\nnext\n"
    assert read_lines(whole(content), 0, 64, NO_LIMIT) == (0, b"x" * 1_000_000)
    assert read_lines(whole(content), 1_000_000 // 64, 64, NO_LIMIT) == (1_000_001, b"next\n")


class Zeros:
    """An endless stream."""

    def read(self, size):
        return bytes(size)


def test_skipping_ahead_holds_nothing():
    stream = ForwardStream(Zeros())  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        stream.release(64 << 20)
        assert stream.read_at(64 << 20, 10) == bytes(10)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_skipping_past_the_end_is_the_end():
    stream = ForwardStream(io.BytesIO(b"abc"))
    stream.release(1000)
    assert stream.read_at(1000, 10) == b""


@given(st.binary(max_size=50), READ_SIZES, st.integers(0, 60))
def test_read_fully(content, sizes, size):
    assert read_fully(ShortReads(content, sizes).read, size) == content[:size]


@pytest.mark.parametrize("number", [1, 2, 1000])
def test_there_is_no_block_past_the_end(number):
    assert read_lines(whole(b"12345678"), number, 8, NO_LIMIT) is None
    assert read_lines(ForwardStream(io.BytesIO(b"12345678")), number, 8, NO_LIMIT) is None
