"""Hashed n-gram features of texts, as in DSIR (arXiv 2302.03169)."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TOKENIZERS = ("wordpunct", "word_tokenize")
# The algorithm behind each name of `hash`; fitted files record it, so a later version cannot be mistaken for this one.
HASH_ALGORITHMS = {"sha256": "sha256", "fast": "fast-v1"}


@dataclass(frozen=True)
class NgramSettings:
    """What decides the n-gram features of a text."""

    ngrams: int = 2
    num_buckets: int = 10_000
    tokenizer: str = "wordpunct"
    hash: str = "sha256"

    def __post_init__(self) -> None:
        if not 1 <= self.ngrams <= 10:
            raise ValueError(f"ngrams must be from 1 to 10, not {self.ngrams}")
        if not 1 <= self.num_buckets <= 2**24:
            raise ValueError(f"num_buckets must be from 1 to {2**24}, not {self.num_buckets}")
        if self.tokenizer not in TOKENIZERS:
            raise ValueError(f"tokenizer must be one of {', '.join(TOKENIZERS)}, not {self.tokenizer!r}")
        if self.hash not in HASH_ALGORITHMS:
            raise ValueError(f"hash must be one of {', '.join(HASH_ALGORITHMS)}, not {self.hash!r}")


class NgramFeaturizer:
    """Counts and scores the hashed n-grams of texts."""

    def __init__(self, settings: NgramSettings) -> None:
        self.settings = settings

    def _buckets(self, text: str) -> list[int]:
        tokens = re.findall(r"\w+|[^\w\s]+", text.lower())
        buckets = []
        for end in range(1, len(tokens) + 1):
            for start in range(end - 1, max(end - self.settings.ngrams, 0) - 1, -1):
                ngram = " ".join(tokens[start:end]).encode()
                buckets.append(int(hashlib.sha256(ngram).hexdigest(), 16) % self.settings.num_buckets)
        return buckets

    def count(self, texts: Sequence[str], counts: np.ndarray) -> np.ndarray:
        """Adds the bucket counts of all texts to `counts` (int64 [B]); returns the number of n-grams of each text."""
        num_ngrams = np.zeros(len(texts), np.int64)
        for i, text in enumerate(texts):
            buckets = self._buckets(text)
            np.add.at(counts, buckets, 1)
            num_ngrams[i] = len(buckets)
        return num_ngrams

    def score(self, texts: Sequence[str], log_ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (float64 [N, T]) and the number of n-grams of each text (int64 [N])."""
        num_ngrams = np.zeros(len(texts), np.int64)
        weights = np.zeros((len(texts), len(log_ratio)))
        for i, text in enumerate(texts):
            buckets = self._buckets(text)
            for bucket in buckets:
                weights[i] += log_ratio[:, bucket]
            num_ngrams[i] = len(buckets)
        return weights, num_ngrams


def num_tokens(num_ngrams: np.ndarray, n: int) -> np.ndarray:
    """Returns the length in tokens (int64) from the number of n-grams of order 1..n, by DSIR's formula."""
    return (np.asarray(num_ngrams, np.int64) + n * (n - 1) // 2) // n


def warm_up(settings: NgramSettings) -> None:
    """Compiles the machine code, or loads it from the compilation cache."""
    NgramFeaturizer(settings)
