"""Hashed n-gram features of texts, as in DSIR (arXiv 2302.03169, section 3) and its package data-selection."""

import functools
import importlib.metadata
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.common.settings import COUNTING, Settings, between, choice, setting
from hir_transforms.ngrams.word_tokenizer import load_word_tokenizer

TOKENIZERS = ("wordpunct", "word_tokenize")
# The algorithm behind each name of `hash`. Fitted files record it: a later one cannot be mistaken for this one.
HASH_ALGORITHMS = {"sha256": "sha256", "fast": "fast-v2"}
MAX_NGRAMS = 10
MAX_NUM_BUCKETS = 2**24

_NO_COUNTS, _NO_LOG_RATIO = np.empty(0, np.int64), np.empty((0, 0))

_ngram_setting = functools.partial(setting, task="n-grams", commands=COUNTING)


@dataclass(frozen=True)
class NgramSettings(Settings):
    """What decides the n-gram features of a text.

    Attributes:
        ngrams: n; features are the n-grams of 1 to n tokens.
        num_buckets: B, the number of features that n-grams are hashed to.
        tokenizer: `wordpunct` or `word_tokenize`, see `kernel.tokens`.
        hash: `sha256` (data-selection's) or `fast`, see `kernel.hashes`.

    Raises:
        UserError: naming the setting and the bad value.
    """

    ngrams: int = _ngram_setting(2, f"largest n, up to {MAX_NGRAMS}", check=between(1, MAX_NGRAMS))
    num_buckets: int = _ngram_setting(
        10_000, "buckets that n-grams are hashed to, up to 2^24", check=between(1, MAX_NUM_BUCKETS)
    )
    tokenizer: str = _ngram_setting("wordpunct", "how texts are cut into tokens", kind=choice(*TOKENIZERS))
    hash: str = _ngram_setting("sha256", "hash of n-grams: sha256, as DSIR, or fast", kind=choice(*HASH_ALGORITHMS))

    def dependencies(self) -> dict[str, Any]:
        """Returns all that decides the features: the settings and the versions of what they name."""
        return asdict(self) | {"hash": HASH_ALGORITHMS[self.hash]} | token_versions(self.tokenizer)


def token_versions(tokenizer: str) -> dict[str, str]:
    """Returns the versions of what decides where a tokenizer cuts and lower-cases, beside its name.

    Python's `re` and `str` follow the Unicode version that they were built with. Without NLTK its version is empty:
    nothing can have been computed so.
    """
    versions = {"unicode": unicodedata.unidata_version}
    if tokenizer == "word_tokenize":
        try:
            versions["nltk"] = importlib.metadata.version("nltk")
        except importlib.metadata.PackageNotFoundError:
            versions["nltk"] = ""
    return versions


class NgramFeaturizer:
    """Counts and scores the hashed n-grams of texts.

    Make one for a process and keep it: with `sha256` it holds 64 MiB of remembered buckets. A copy by pickle starts
    with none. Results are functions of the settings and the texts alone.

    Raises:
        ValueError: If the tokenizer needs data that is not installed.
    """

    def __init__(self, settings: NgramSettings) -> None:
        # The compiler takes half a second to import, which only the processes that count or score have to pay.
        from hir_transforms.ngrams.kernel import bucket_cache, distinct, hashes, tokens
        from hir_transforms.ngrams.kernel.compiled import machine_code

        self.settings = settings
        self._split = load_word_tokenizer() if settings.tokenizer == "word_tokenize" else None
        self._machine_code = machine_code()
        self._classes = tokens.character_classes()
        self._powers = hashes.sha256_powers(settings.num_buckets)
        self._cache = bucket_cache.new_cache(bucket_cache.NUM_SETS if settings.hash == "sha256" else 0)
        self._nothing = distinct.new_distinct(0)

    def __reduce__(self) -> tuple[Any, ...]:
        return NgramFeaturizer, (self.settings,)

    def count(self, texts: Sequence[bytes], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Adds the n-grams of all texts to the buckets' counts.

        Args:
            texts: N texts in UTF-8.
            counts: int64 [B], added to in place.

        Returns:
            int64 [N], the number of n-grams of each text.
        """
        if counts.shape != (self.settings.num_buckets,) or counts.dtype != np.int64:
            raise ValueError(f"counts must be int64 [{self.settings.num_buckets}], not {counts.dtype} {counts.shape}")
        _, num_ngrams = self._featurize(texts, counts=counts)
        return num_ngrams

    def score(
        self, texts: Sequence[bytes], log_ratio: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Sums the log ratios of each text's n-grams, by their last tokens and then by their lengths.

        Args:
            texts: N texts in UTF-8.
            log_ratio: float64 [T, B], a row for each target.

        Returns:
            The log importance weights, float64 [N, T], and the number of n-grams of each text, int64 [N].
        """
        num_buckets = self.settings.num_buckets
        if log_ratio.ndim != 2 or log_ratio.shape[1] != num_buckets:
            raise ValueError(f"log_ratio must have shape (targets, {num_buckets}), not {log_ratio.shape}")
        return self._featurize(texts, log_ratio=np.ascontiguousarray(log_ratio, np.float64))

    def decide(
        self,
        texts: Sequence[bytes],
        coefficients: npt.NDArray[np.float64],
        intercepts: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Decision values of linear classifiers: of log(1 + count) of each bucket, scaled to unit Euclidean length.

        A text without n-grams has features of zero, and so the intercept.

        Args:
            texts: N texts in UTF-8.
            coefficients: float64 [T, F, B], for each target F classifiers.
            intercepts: float64 [T, F].
            folds: int64 [N], which of the F is to judge each text.

        Returns:
            The decision values, float64 [N, T], and the number of n-grams of each text, int64 [N].
        """
        num_buckets = self.settings.num_buckets
        if coefficients.shape != (*intercepts.shape, num_buckets):
            wanted = [*intercepts.shape, num_buckets]
            raise ValueError(f"coefficients must be {wanted}, not {coefficients.shape}")
        if len(folds) != len(texts) or (len(folds) and not 0 <= folds.min() <= folds.max() < intercepts.shape[1]):
            raise ValueError(f"folds must be 0 to {intercepts.shape[1] - 1}, one for each of {len(texts)} texts")
        decisions = np.empty((len(texts), len(intercepts)))
        shared = np.ascontiguousarray(coefficients, np.float64).view()
        shared.flags.writeable = False  # as those are that processes map from a file
        distinct = self._of_text._replace(
            coefficients=shared,
            intercepts=np.ascontiguousarray(intercepts, np.float64),
            folds=np.ascontiguousarray(folds, np.int64),
            decisions=decisions,
            bounds=np.zeros(len(texts) + 1, np.int64),
        )
        _, num_ngrams = self._featurize(texts, distinct=distinct)
        return decisions, num_ngrams

    def list_counts(
        self, texts: Sequence[bytes]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The buckets that each text's n-grams fall into, by their first n-gram, and how many do.

        Args:
            texts: N texts in UTF-8.

        Returns:
            Where each text's buckets begin and the last one's end, int64 [N + 1]; the buckets of all, int64 [M]; and
            the counts, int64 [M].
        """
        bounds = np.zeros(len(texts) + 1, np.int64)
        distinct = self._of_text._replace(bounds=bounds)
        # Once to learn how many there are, once to list them.
        self._featurize(texts, distinct=distinct)
        listed = np.empty((2, bounds[-1]), np.int64)
        if listed.size:
            self._featurize(texts, distinct=distinct._replace(listed=listed))
        return bounds, listed[0], listed[1]

    @functools.cached_property
    def _of_text(self) -> Any:
        """Room for the counts of one text."""
        from hir_transforms.ngrams.kernel.distinct import new_distinct

        return new_distinct(self.settings.num_buckets)

    def _featurize(
        self,
        texts: Sequence[bytes],
        *,
        counts: npt.NDArray[np.int64] = _NO_COUNTS,
        log_ratio: npt.NDArray[np.float64] = _NO_LOG_RATIO,
        distinct: Any = None,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        from hir_transforms.ngrams.kernel.loop import Hashing, Texts, long_message_size

        settings = self.settings
        buffer, offsets = self._join(texts)
        long_message = np.empty(long_message_size(offsets, settings.ngrams), np.uint8)
        weights = np.zeros((len(texts), len(log_ratio)))
        num_ngrams = np.zeros(len(texts), np.int64)
        self._machine_code.featurize(
            Texts(buffer, offsets, self._split is not None, self._classes),
            Hashing(settings.ngrams, settings.num_buckets, self._powers, self._cache, long_message),
            counts,
            log_ratio,
            weights,
            num_ngrams,
            distinct or self._nothing,
        )
        return weights, num_ngrams

    def _join(self, texts: Sequence[bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
        """The texts one after the other, lower-cased but for ASCII, which the kernel does itself, and their bounds."""
        from hir_transforms.ngrams.kernel.tokens import join_encoded

        if self._split is not None:
            return join_encoded([" ".join(self._split(text.decode().lower())).encode() for text in texts])
        buffer, offsets = join_encoded(texts)
        cased = np.zeros(len(texts), np.bool_)
        self._machine_code.find_cased(buffer, offsets, self._classes, cased)
        if not cased.any():
            return buffer, offsets
        lowered = list(texts)
        for i in np.flatnonzero(cased).tolist():
            lowered[i] = texts[i].decode().lower().encode()
        return join_encoded(lowered)


@functools.lru_cache(maxsize=1)
def shared_featurizer(settings: NgramSettings) -> NgramFeaturizer:
    """The featurizer that a process keeps: whoever counts or scores in it finds the buckets of the others remembered.

    Raises:
        ValueError: If the tokenizer needs data that is not installed.
    """
    return NgramFeaturizer(settings)


def num_tokens(num_ngrams: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Returns the lengths of texts in tokens, int64, from their numbers of n-grams of 1 to n tokens, as DSIR does.

    Exact for texts of n - 1 tokens and more; for shorter ones DSIR's formula gives more than there are.
    """
    return (np.asarray(num_ngrams, np.int64) + n * (n - 1) // 2) // n


def warm_up(settings: NgramSettings) -> None:
    """Compiles the kernel, or does nothing where it lies on disk; for the main process, before workers start.

    Raises:
        ValueError: If the tokenizer needs data that is not installed.
    """
    NgramFeaturizer(settings)
