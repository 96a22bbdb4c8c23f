"""Each machine operation against what its docstring says in numpy."""

import functools

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.ngrams.kernel import intrinsics
from hir_transforms.ngrams.kernel.intrinsics import BLOCK

words = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])).map(
    np.uint64
)


@functools.cache
def compiled(intrinsic):
    return numba.njit(lambda *arguments: intrinsic(*arguments))


def call(intrinsic, *arguments):
    """Calls what only compiled code can call."""
    return compiled(intrinsic)(*arguments)


def bits(lanes: np.ndarray) -> int:
    """The mask whose lowest bit is the first of 64 booleans."""
    return int(np.packbits(lanes, bitorder="little").view("<u8")[0])


@pytest.fixture(scope="module")
def text():
    """Every byte, at every place of a block."""
    return np.random.default_rng(0).integers(0, 256, 40 * BLOCK, np.uint8)


def in_range(block, first, last):
    return (block >= first) & (block <= last)


def test_bytes_are_lower_cased_and_classified(text):
    for start in range(0, text.size - BLOCK, 61):  # aligned or not
        block = text[start : start + BLOCK].copy()
        block[in_range(block, ord("A"), ord("Z"))] += 32
        word = in_range(block, ord("a"), ord("z")) | in_range(block, ord("0"), ord("9")) | (block == ord("_"))
        space = (block == ord(" ")) | in_range(block, 0x09, 0x0D) | in_range(block, 0x1C, 0x1F)
        buffer = text.copy()
        found = call(intrinsics.lower_and_classify64, buffer, start)
        assert [*map(int, found)] == [bits(word), bits(space), bits(block >= 0x80)]
        assert buffer[start : start + BLOCK].tolist() == block.tolist()
        assert (np.delete(buffer, np.s_[start : start + BLOCK]) == np.delete(text, np.s_[start : start + BLOCK])).all()


def test_words_are_loaded_and_stored(text):
    for start in range(20):
        word = text[start : start + 8].copy().view("<u8")[0]
        assert call(intrinsics.load64, text, start) == word
        for size in range(1, 9):
            tail = int(word) & (256**size - 1)
            assert intrinsics.load_tail(text, start, start + size) == tail
        buffer = np.zeros(30, np.uint8)
        call(intrinsics.store64, buffer, start, word)
        assert buffer.tolist() == [0] * start + text[start : start + 8].tolist() + [0] * (22 - start)


@given(words, words)
def test_products(a, b):
    high, low = divmod(int(a) * int(b), 2**64)
    assert call(intrinsics.multiply_high, a, b) == high
    assert call(intrinsics.multiply_fold, a, b) == high ^ low


@given(words.filter(bool))
def test_trailing_zeros(mask):
    assert call(intrinsics.trailing_zeros, mask) == (int(mask) & -int(mask)).bit_length() - 1


def test_a_prefetch_changes_nothing(text):
    before = text.copy()
    call(intrinsics.prefetch, text, 70)
    assert (text == before).all()
