"""Hashed n-gram counts of one text, as functions; by the kernel where it knows the tokenizer and the sizes."""

import hashlib
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from hir_transforms.ngrams.features import MAX_NGRAMS, MAX_NUM_BUCKETS, NgramSettings, shared_featurizer
from hir_transforms.ngrams.word_tokenizer import load_word_tokenizer

Tokenizer = Callable[[str], list[str]]
_WORDPUNCT = re.compile(r"\w+|[^\w\s]+")


def wordpunct(text: str) -> list[str]:
    """Runs of word characters, and runs of others that are not white space."""
    return _WORDPUNCT.findall(text)


def word_tokenize(text: str) -> list[str]:
    """Tokens of NLTK's function of this name; raises `ValueError` where it, or its data, is not installed."""
    return load_word_tokenizer()(text)


TOKENIZERS: dict[str, Tokenizer] = {"wordpunct": wordpunct, "word_tokenize": word_tokenize}


def kernel_settings(n: int, num_buckets: int, tokenizer: Tokenizer) -> NgramSettings | None:
    """What makes the kernel count the same; None where it cannot."""
    names = [name for name, known in TOKENIZERS.items() if known is tokenizer]
    if not names or not 1 <= n <= MAX_NGRAMS or not 1 <= num_buckets <= MAX_NUM_BUCKETS:
        return None
    return NgramSettings(ngrams=n, num_buckets=num_buckets, tokenizer=names[0])


def hash_buckets(text: str, num_buckets: int = 10_000) -> int:
    """The bucket of an n-gram: its SHA-256, as a number, modulo `num_buckets`."""
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % num_buckets


def get_ngram_counts(
    line: str,
    n: int = 2,
    num_buckets: int = 10_000,
    counts: npt.NDArray[np.int64] | None = None,
    tokenizer: Tokenizer = wordpunct,
) -> npt.NDArray[np.int64]:
    """Counts the n-grams of 1 to n tokens of a text in hashed buckets.

    Args:
        line: the text, which is lower-cased.
        n: longest n-gram.
        num_buckets: B.
        counts: integers [B] to add to, in place; zeros by default.
        tokenizer: the lower-cased text -> its tokens.

    Returns:
        The counts, int64 [B] unless others were given.
    """
    if counts is None:
        counts = np.zeros(num_buckets, np.int64)
    settings = kernel_settings(n, num_buckets, tokenizer)
    if settings and counts.dtype == np.int64 and counts.shape == (num_buckets,):
        shared_featurizer(settings).count([line.encode()], counts)
        return counts
    tokens = tokenizer(line.lower())
    for size in range(1, max(n, 1) + 1):
        for start in range(len(tokens) - size + 1):
            counts[hash_buckets(" ".join(tokens[start : start + size]), num_buckets)] += 1
    return counts
