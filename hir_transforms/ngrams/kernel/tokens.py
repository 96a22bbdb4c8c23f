r"""Texts as UTF-8 bytes and their tokens, as data-selection cuts them.

`wordpunct` is `re.findall(r"\w+|[^\w\s]+", text.lower())`; the kernel does it on UTF-8 bytes, with the table of
`character_classes` for what is not ASCII. (data-selection calls NLTK's WordPunctTokenizer, which compiled this pattern
with `re` up to NLTK 3.10.2. Since 3.10.3 it takes the `regex` package, for which \w has combining marks too.)
Control characters that are not white space, NUL among them, are punctuation by this pattern.

`word_tokenize` is NLTK's function of that name on the lower-cased text. Its tokens hold no white space, so joined by
blanks they are a text that the kernel splits at the blanks.
"""

import functools
import re
import sys
from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

from hir_transforms.ngrams.kernel.intrinsics import (
    BLOCK,
    PADDING,
    Bytes,
    Hashes,
    Indices,
    load64,
    lower_and_classify64,
    trailing_zeros,
)

PUNCTUATION, WORD, SPACE = 0, 1, 2
# Set beside the class where `str.lower` changes the character, alone or by its neighbours (the capital sigma).
CASED = 4

_ONE = np.uint64(1)
_ALL = np.uint64(2**64 - 1)
_NON_ASCII = np.uint64(0x8080808080808080)
_LAST_BIT = np.uint64(63)


@functools.cache
def character_classes() -> Bytes:
    """Returns the class of every code point, uint8 [0x110000], by this Python's own `re` and `str`."""
    code_points = np.arange(sys.maxunicode + 1, dtype="<u4")
    code_points = np.delete(code_points, np.s_[0xD800:0xE000])  # surrogates are not text
    characters = code_points.tobytes().decode("utf-32-le")
    classes = np.zeros(sys.maxunicode + 1, np.uint8)
    for pattern, character_class in ((r"\w+", WORD), (r"\s+", SPACE)):
        for match in re.finditer(pattern, characters):
            classes[code_points[slice(*match.span())]] = character_class
    # These two have no lower case of one character that holds everywhere; without them the rest stays aligned.
    one_to_one = characters.replace("\u0130", "0").replace("\u03a3", "0")
    lowered = np.frombuffer(one_to_one.lower().encode("utf-32-le"), "<u4")
    classes[code_points[lowered != code_points]] |= CASED
    return classes


def join_encoded(texts: Sequence[bytes]) -> tuple[Bytes, Indices]:
    """Returns the texts in one writable buffer with the padding that the kernel reads, and their N + 1 boundaries."""
    boundaries = np.zeros(len(texts) + 1, np.intp)
    np.cumsum([len(text) for text in texts], out=boundaries[1:])
    return np.frombuffer(bytearray().join([*texts, bytes(PADDING)]), np.uint8), boundaries


@numba.njit
def _code_point(buffer: Bytes, position: int) -> np.intp:
    """Decodes the character of two to four bytes that starts at `position`."""
    lead = np.intp(buffer[position])
    code = np.intp(buffer[position + 1]) & 0x3F
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | code
    code = code << 6 | np.intp(buffer[position + 2]) & 0x3F
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | code
    code = code << 6 | np.intp(buffer[position + 3]) & 0x3F
    return (lead & 0x07) << 18 | code


@numba.njit
def _find_blanks(buffer: Bytes, position: int) -> np.uint64:
    """The mask of the blanks among the BLOCK bytes from `position`: NLTK's time is a hundred times this one's."""
    mask = np.uint64(0)
    for bit in range(BLOCK):
        if buffer[position + bit] == 0x20:
            mask |= _ONE << np.uint64(bit)
    return mask


@numba.njit
def find_cased(buffer: Bytes, offsets: Indices, classes: Bytes, cased: npt.NDArray[np.bool_]) -> None:
    """Marks the texts with a character outside ASCII that `str.lower` changes; the kernel lower-cases ASCII itself.

    Args:
        buffer: uint8, the texts' UTF-8 bytes and the padding.
        offsets: intp [N + 1], where each text starts, and the end of the last.
        classes: uint8 [0x110000], see `character_classes`.
        cased: bool [N], the result.
    """
    for text in range(cased.size):
        position = offsets[text]
        end = offsets[text + 1]
        cased[text] = False
        while position < end:
            high = load64(buffer, position) & _NON_ASCII
            if high == 0:
                position += 8
                continue
            position += trailing_zeros(high) >> 3
            if position < end and buffer[position] >= 0xC0 and classes[_code_point(buffer, position)] & CASED:
                cased[text] = True
                break
            position += 1


@numba.njit
def tokenize(
    buffer: Bytes,
    position: int,
    end: int,
    is_split: bool,
    classes: Bytes,
    carry: Hashes,
    starts: Indices,
    ends: Indices,
    counts: Indices,
) -> int:
    """Finds tokens block by block until the text ends or the arrays may be full; lower-cases ASCII on the way.

    A token starts at a word (punctuation) byte after a byte that is not one, and ends before the next that is not one.
    All bytes of a character have its class, so these are bit operations on the masks of 64 bytes.

    Args:
        buffer: uint8, lower-cased in place.
        position: where to go on.
        end: where the text ends.
        is_split: the text is tokens joined by blanks.
        classes: see `character_classes`.
        carry: uint64 [3], kept between calls on one text, zeros at its start: whether the last byte was of a word, or
            punctuation, and the class of the last character outside ASCII.
        starts: intp, positions of the first bytes of the tokens found.
        ends: intp, positions after their last bytes.
        counts: intp [2], how many starts and ends there are; one start more where a token is still open.

    Returns:
        The position to go on from, `end` where the text is done.
    """
    num_starts = counts[0]
    num_ends = counts[1]
    word_before = carry[0]
    punctuation_before = carry[1]
    while position < end and num_starts + BLOCK <= starts.size:
        if is_split:
            space = _find_blanks(buffer, position)
            word = ~space
        else:
            word, space, high = lower_and_classify64(buffer, position)
            while high != 0:
                bit = trailing_zeros(high)
                if buffer[position + bit] >= 0xC0:
                    carry[2] = classes[_code_point(buffer, position + bit)]
                if carry[2] & WORD:
                    word |= _ONE << np.uint64(bit)
                elif carry[2] & SPACE:
                    space |= _ONE << np.uint64(bit)
                high &= high - _ONE
        if end - position < BLOCK:
            inside = ~(_ALL << np.uint64(end - position))
            word &= inside
            space |= ~inside
        punctuation = ~(word | space)
        word_shifted = word << _ONE | word_before
        punctuation_shifted = punctuation << _ONE | punctuation_before
        first = word & ~word_shifted | punctuation & ~punctuation_shifted
        after = word_shifted & ~word | punctuation_shifted & ~punctuation
        word_before = word >> _LAST_BIT
        punctuation_before = punctuation >> _LAST_BIT
        while first != 0:
            starts[num_starts] = position + trailing_zeros(first)
            num_starts += 1
            first &= first - _ONE
        while after != 0:
            ends[num_ends] = position + trailing_zeros(after)
            num_ends += 1
            after &= after - _ONE
        position += BLOCK
    if position >= end:
        position = end
        if num_ends < num_starts:
            ends[num_ends] = end
            num_ends += 1
    carry[0] = word_before
    carry[1] = punctuation_before
    counts[0] = num_starts
    counts[1] = num_ends
    return position
