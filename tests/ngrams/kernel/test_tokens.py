import itertools
import re
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hir_transforms.ngrams.kernel import tokens
from hir_transforms.ngrams.kernel.intrinsics import BLOCK, PADDING

# Letters whose lower case is longer, shorter or depends on the neighbours; combining marks; digits, blanks and
# punctuation of all kinds; characters of two, three and four bytes.
TRICKY = "aZ0_ .,'\"\t\n\x0b\x1c\x1f\x7f\x85\xa0\u2028\u3000éÉßẞİıΣσςȺⱥKÅΩ\u0301\u0345\u200b१٣²Ⅷ中文字。、🙂👩‍🚀𝒜𐐀𝟘"
texts = st.text(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs"])), max_size=300)


def tokens_of(text: str, *, is_split: bool = False) -> list[str]:
    """The tokens that the kernel finds, in arrays that hold little more than one block of them."""
    buffer, offsets = tokens.join_encoded([text.encode()])
    starts, ends = np.empty(BLOCK + 3, np.intp), np.empty(BLOCK + 3, np.intp)
    carry, found = np.zeros(3, np.uint64), np.zeros(2, np.intp)
    result: list[str] = []
    position, end = 0, offsets[-1]
    while position < end:
        position = tokens.tokenize(
            buffer, position, end, is_split, tokens.character_classes(), carry, starts, ends, found
        )
        complete = found[1]
        result += [buffer[a:b].tobytes().decode() for a, b in zip(starts[:complete], ends[:complete], strict=True)]
        starts[0] = starts[complete]
        found[:] = found[0] - complete, 0
    return result


def test_classes_are_those_of_re_and_str():
    classes = tokens.character_classes()
    assert classes.shape == (sys.maxunicode + 1,)
    for code_point in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        character = chr(code_point)
        is_word = character.isalnum() or character == "_"
        assert bool(classes[code_point] & tokens.WORD) == is_word
        assert bool(classes[code_point] & tokens.SPACE) == character.isspace()
        assert bool(classes[code_point] & tokens.CASED) == (character.lower() != character)


@pytest.mark.parametrize("block", range(0, sys.maxunicode + 1, 0x4000))
def test_every_character_is_tokenised_as_re_does(block):
    characters = [chr(c) for c in range(block, block + 0x4000) if not 0xD800 <= c < 0xE000]
    text = "".join(f"a{character}b{character}" for character in characters)
    lowered = "".join(c.lower() if c.isascii() else c for c in text)
    assert tokens_of(text) == re.findall(r"\w+|[^\w\s]+", lowered)


@given(texts)
@example("a" * 63)
@example("a" * 64)
@example("a" * 65 + "." * 64 + " " * 64)
@example("." * 200 + "é" * 200 + "中" * 100)
def test_tokens_are_those_of_re(text):
    assert tokens_of(text.lower()) == re.findall(r"\w+|[^\w\s]+", text.lower())


@given(st.lists(texts))
def test_find_cased_marks_what_needs_lower(batch):
    buffer, offsets = tokens.join_encoded([text.encode() for text in batch])
    cased = np.ones(len(batch), np.bool_)
    tokens.find_cased(buffer, offsets, tokens.character_classes(), cased)
    assert cased.tolist() == [any(c.lower() != c for c in text if not c.isascii()) for text in batch]
    for text, is_cased in zip(batch, cased, strict=True):
        if not is_cased:
            assert text.lower() == "".join(c.lower() if c.isascii() else c for c in text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" "), min_size=1)))
def test_split_tokens_are_taken_as_they_are(tokens):
    assert tokens_of(" ".join(tokens), is_split=True) == tokens


@given(st.lists(st.binary(max_size=10)))
def test_join_encoded(encoded):
    buffer, offsets = tokens.join_encoded(encoded)
    assert [buffer[a:b].tobytes() for a, b in itertools.pairwise(offsets)] == encoded
    assert buffer[offsets[-1] :].tolist() == [0] * PADDING
