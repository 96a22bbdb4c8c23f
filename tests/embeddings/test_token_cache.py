import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from hir_transforms.embeddings import token_cache
from hir_transforms.embeddings.token_cache import TokenCache, is_word_by_word

WORDS = [
    "[PAD]",
    "[UNK]",
    "[MASK]",
    *"abcxé=兔一!\"'[](),.-_~",
    "##a",
    "##b",
    "##c",
    "abc",
    "mask",
    "##ab",
    "一二",
    "the",
]


def bert(**options):
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([AddedToken(word, normalized=False) for word in WORDS[:3]])
    return tokenizer


# What a tokenizer may treat in a special way: blanks and line ends of Unicode, control characters, accents by
# themselves, what decomposes into punctuation, letters that change their length, names of added tokens.
PIECES = [*"abcxéAÉ=兔一!\"'[](),.-_~ \t\n\r\f\v\x00\x85\xa0\u0301\u0338\u2028\u200b\u3000≠ßİΣς"]
PIECES += ["[PAD]", "[MASK]", "[MASK", "[[PAD]]", "abc", "the ", "x" * 101, "\ud7ff", "\U0001f600"]


@pytest.mark.parametrize("options", [{}, {"lowercase": False}, {"clean_text": False, "handle_chinese_chars": False}])
@given(texts=st.lists(st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=30).map("".join)))
def test_tokens_are_those_of_the_tokenizer(options, texts):
    tokenizer = bert(**options)
    cache = TokenCache(tokenizer)
    expected = [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    for _ in range(2):  # unknown words, then known ones
        assert [tokens.tolist() for tokens in cache.tokens(texts, None)] == expected
    assert [tokens.tolist() for tokens in cache.tokens(texts, 3)] == [ids[:3] for ids in expected]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(token_cache, "_MAX_BYTES", 3000)
    cache = TokenCache(bert())
    texts = [f"abc {number}" for number in range(100)]
    for text in texts:
        np.testing.assert_array_equal(cache.tokens([text], None)[0], TokenCache(bert()).tokens([text], None)[0])
        assert len(cache._tokens) <= 3000 / 150 + 2


def test_other_tokenizers_are_not_taken_for_word_by_word():
    assert is_word_by_word(bert())
    byte_level = bert()
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel()
    no_normalizer = bert()
    no_normalizer.normalizer = normalizers.NFC()
    bare = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    with_blank = bert()
    with_blank.add_tokens([AddedToken("the abc", normalized=True)])
    stripping = bert()
    stripping.add_special_tokens([AddedToken("[X]", normalized=False, lstrip=True)])
    for tokenizer in (byte_level, no_normalizer, bare, with_blank, stripping):
        assert not is_word_by_word(tokenizer)
