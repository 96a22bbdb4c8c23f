import hashlib
import importlib.metadata
import pickle
import re
import subprocess
import sys
import unicodedata
from typing import Any

import numpy as np
import pytest
from data_selection.hashed_ngram_dsir import get_ngram_counts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize

from hir_transforms.ngrams.features import (
    NgramFeaturizer,
    NgramSettings,
    num_tokens,
    token_versions,
    warm_up,
)
from hir_transforms.ngrams.kernel import bucket_cache
from hir_transforms.ngrams.kernel.intrinsics import BLOCK
from hir_transforms.ngrams.kernel.loop import CHUNK

# Letters whose lower case is longer, shorter or depends on the neighbours; combining marks; digits, blanks and
# punctuation of all kinds; characters of two, three and four bytes.
TRICKY = "aZ0_ .,'\"\t\n\x0b\x1c\x1f\x7f\x85\xa0\u2028\u3000éÉßẞİıΣσςȺⱥKÅΩ\u0301\u0345\u200b१٣²Ⅷ中文字。、🙂👩‍🚀𝒜𐐀𝟘"
characters = st.characters(exclude_categories=["Cs"])
texts = st.one_of(
    st.text(st.one_of(st.sampled_from(TRICKY), characters), max_size=200),
    st.lists(st.sampled_from(["the", "Cat", "ΟΔΥΣΣΕΥΣ", "x" * 60, "naïve", "...", "3.14"])).map(" ".join),
)
SENTENCES = [
    "Alice went to the market.",
    "",
    "the market; the MARKET!",
    "größer als 中文",
    "ΣΟΦΟΣ ΑΣ",
    "?!",
    "x" * 5000,
]


def count_by_dsir(text: str, n: int, num_buckets: int) -> list[int]:
    # data-selection's own tokenizer is NLTK's; the latest NLTK compiles this pattern with `regex`, see `tokenizing`.
    findall = re.compile(r"\w+|[^\w\s]+").findall
    return get_ngram_counts(text, n=n, num_buckets=num_buckets, tokenizer=findall).tolist()


def buckets_by_definition(tokens: list[str], n: int, num_buckets: int) -> list[int]:
    """The buckets under sha256, by their last tokens and then by their lengths."""
    ngrams = [tokens[end - size : end] for end in range(1, len(tokens) + 1) for size in range(1, min(n, end) + 1)]
    return [int(hashlib.sha256(" ".join(ngram).encode()).hexdigest(), 16) % num_buckets for ngram in ngrams]


def encode(batch: list[str]) -> list[bytes]:
    return [text.encode() for text in batch]


def count(featurizer: NgramFeaturizer, batch: list[str]) -> list[int]:
    counts = np.zeros(featurizer.settings.num_buckets, np.int64)
    featurizer.count(encode(batch), counts)
    return counts.tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ngrams", value) for value in (0, 11, 2.0)),
        *(("num_buckets", value) for value in (0, -1, 2**24 + 1)),
        ("tokenizer", "spacy"),
        ("hash", "md5"),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=rf"^--{name}: must be .*, not {value}$"):
        NgramSettings(**{name: value})


def test_settings_do_not_load_the_compiler():
    code = "import sys, hir_transforms.ngrams.estimator as e; e.NgramSettings(); print('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_features_depend_on_the_versions_of_hash_unicode_and_nltk(monkeypatch):
    settings = NgramSettings(3, 17, "word_tokenize", "fast")
    expected = {"ngrams": 3, "num_buckets": 17, "tokenizer": "word_tokenize", "hash": "fast-v2"}
    versions = {"unicode": unicodedata.unidata_version, "nltk": importlib.metadata.version("nltk")}
    assert settings.dependencies() == expected | versions
    assert token_versions("wordpunct") == {"unicode": unicodedata.unidata_version}
    monkeypatch.setattr(sys, "path", [])
    assert token_versions("word_tokenize")["nltk"] == ""


def test_known_buckets():
    counts = np.zeros(10_000, np.int64)
    assert NgramFeaturizer(NgramSettings()).count([b"Alice went"], counts).tolist() == [3]
    assert counts[[6720, 114]].tolist() == [1, 1]
    assert counts.sum() == 3


FEATURIZERS = {
    (n, num_buckets): NgramFeaturizer(NgramSettings(n, num_buckets))
    for n, num_buckets in ((1, 1), (2, 10_000), (3, 7), (5, 4096))
}


@given(st.sampled_from(sorted(FEATURIZERS)), texts)
@example((2, 10_000), "İstanbul ΌΣΟΣ ΣΑΣ. ẞ Å\u0345")
@settings(max_examples=300)
def test_counts_are_those_of_data_selection(key, text):
    assert count(FEATURIZERS[key], [text]) == count_by_dsir(text, *key)


# Runs of punctuation that differ in their NULs alone, as UTF-16 read as UTF-8 leaves them.
NUL_HEAVY = st.text(st.sampled_from("\0\0\0\x01\x03./-,_\\^ab \u2019"), max_size=40)


@given(st.lists(NUL_HEAVY, min_size=1, max_size=20))
@example(["\u201d- \u201d. /".encode("utf-16-le").decode(), "a . b - c , d / e _ f"])
@settings(max_examples=300)
def test_counts_of_texts_with_nuls_are_those_of_data_selection(batch):
    # One featurizer for all examples: its cache remembers the n-grams of earlier ones.
    expected = np.sum([count_by_dsir(text, 2, 10_000) for text in batch], axis=0)
    assert count(FEATURIZERS[2, 10_000], batch) == expected.tolist()


@given(st.text(st.characters(max_codepoint=0x24F, categories=["L", "P", "Nd", "Zs"], exclude_characters="İ")))
def test_counts_are_those_of_data_selection_with_its_own_tokenizer(text):
    assert count(FEATURIZERS[2, 10_000], [text]) == get_ngram_counts(text, 2, 10_000).tolist()


@given(st.lists(texts, max_size=5))
def test_a_batch_counts_as_its_texts_do(batch):
    featurizer = FEATURIZERS[2, 10_000]
    counts = np.full(10_000, 5, np.int64)
    num_ngrams = featurizer.count(encode(batch), counts)
    single = [count(featurizer, [text]) for text in batch]
    assert (counts - 5).tolist() == np.sum(single, axis=0, initial=0).tolist() if single else not (counts - 5).any()
    assert num_ngrams.tolist() == [sum(row) for row in single]


@pytest.mark.parametrize("size", [*(CHUNK + d for d in (-1, 0, 1, BLOCK - 1, BLOCK, BLOCK + 1)), 5 * CHUNK])
@pytest.mark.parametrize("key", [(2, 10_000), (5, 4096)])
def test_long_texts_count_like_short_ones(size, key):
    generator = np.random.default_rng(size)
    text = " ".join(f"w{number}" * (1 + number % 3) for number in generator.integers(0, 50, size))
    assert count(FEATURIZERS[key], [text]) == count_by_dsir(text, *key)


@pytest.mark.parametrize("size", [*range(45, 70), 64 * 5, 1_000_003])
def test_long_words(size):
    text = f"a {'b' * size} c {'é' * size}. {'-' * size}"
    assert count(FEATURIZERS[3, 7], [text]) == count_by_dsir(text, 3, 7)


@pytest.mark.parametrize("algorithm", ["sha256", "fast"])
def test_scores_are_sums_in_document_order(algorithm):
    featurizer = NgramFeaturizer(NgramSettings(3, 1000, hash=algorithm))
    log_ratio = np.random.default_rng(0).normal(size=(3, 1000))
    log_ratio.flags.writeable = False
    text = " ".join(SENTENCES) * 20
    weights, num_ngrams = featurizer.score(encode([*SENTENCES, text]), log_ratio)
    assert weights.shape == (len(SENTENCES) + 1, 3)
    for i, document in enumerate([*SENTENCES, text]):
        counts = np.zeros(1000, np.int64)
        assert featurizer.count(encode([document]), counts).tolist() == [num_ngrams[i]] == [counts.sum()]
        np.testing.assert_allclose(weights[i], log_ratio @ counts, rtol=1e-12, atol=1e-9)
    if algorithm == "sha256":
        tokens = ["alice", "went", "to", "the", "market", "."]
        expected = np.zeros(3)
        for bucket in buckets_by_definition(tokens, 3, 1000):
            expected += log_ratio[:, bucket]
        assert weights[0].tolist() == expected.tolist()


def test_fast_buckets_never_change():
    counts = np.zeros(10_000, np.int64)
    NgramFeaturizer(NgramSettings(hash="fast")).count([b"Alice went"], counts)
    assert counts[[7526, 4874]].tolist() == [1, 1]


@pytest.mark.parametrize("algorithm", ["sha256", "fast"])
def test_results_do_not_depend_on_what_came_before(algorithm):
    fresh, used = (NgramFeaturizer(NgramSettings(hash=algorithm)) for _ in range(2))
    log_ratio = np.random.default_rng(1).normal(size=(1, 10_000))
    for text in SENTENCES:
        used.score(encode([text, *reversed(SENTENCES)]), log_ratio)
    assert (
        used.score(encode(SENTENCES), log_ratio)[0].tolist() == fresh.score(encode(SENTENCES), log_ratio)[0].tolist()
    )


def test_a_full_cache_forgets_but_does_not_err(monkeypatch):
    monkeypatch.setattr(bucket_cache, "NUM_SETS", 1)
    text = " ".join(f"w{number}" for number in np.random.default_rng(2).zipf(1.5, 3000) % 1000)
    assert count(NgramFeaturizer(NgramSettings()), [text]) == count_by_dsir(text, 2, 10_000)


def test_a_pickled_featurizer_counts_the_same():
    featurizer = NgramFeaturizer(NgramSettings(3, 100))
    data = pickle.dumps(featurizer)
    assert len(data) < 1000
    assert count(pickle.loads(data), SENTENCES) == count(featurizer, SENTENCES)  # noqa: S301


def test_arrays_that_do_not_fit():
    featurizer = NgramFeaturizer(NgramSettings(num_buckets=10))
    wrong: list[Any] = [np.zeros(9, np.int64), np.zeros(10), np.zeros((1, 10), np.int64)]
    for counts in wrong:
        with pytest.raises(ValueError, match=r"^counts must be int64"):
            featurizer.count([b"a"], counts)
    for log_ratio in (np.zeros(10), np.zeros((1, 9))):
        with pytest.raises(ValueError, match=r"^log_ratio must have shape"):
            featurizer.score([b"a"], log_ratio)


@given(st.integers(1, 10), st.integers(0, 10**6))
def test_num_tokens_inverts_the_number_of_ngrams(n, size):
    num_ngrams = sum(max(size - order, 0) for order in range(n))
    (result,) = num_tokens(np.array([num_ngrams]), n)
    assert result == (num_ngrams + n * (n - 1) / 2) // n
    assert result == size or size < n - 1


def test_word_tokenize_counts_are_those_of_data_selection():
    try:
        word_tokenize("")
    except LookupError:
        with pytest.raises(ValueError, match="punkt_tab"):
            warm_up(NgramSettings(tokenizer="word_tokenize"))
        return
    featurizer = NgramFeaturizer(NgramSettings(3, 1000, tokenizer="word_tokenize"))

    @given(texts)
    @example('"I can\'t," said Dr. Smith (aged 3.5). Really?')
    def check(text: str) -> None:
        assert count(featurizer, [text]) == get_ngram_counts(text, 3, 1000, tokenizer=word_tokenize).tolist()

    check()
