"""Importance resampling by hashed n-grams, with the compiled kernel wherever nothing of it is overridden."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hir_transforms.common.errors import UserError
from hir_transforms.compat.base import (
    Example,
    VirtualShard,
    Weight,
    default_load_dataset_fn,
    default_parse_example_fn,
    examples_of,
)
from hir_transforms.compat.choice import shares
from hir_transforms.compat.embedding_weights import EmbeddingWeights
from hir_transforms.compat.ngram_counts import TOKENIZERS, Tokenizer, get_ngram_counts, kernel_settings
from hir_transforms.ngrams.features import NgramSettings, shared_featurizer

_BATCH = 256
_TOKENS_PER_BUCKET = 100_000
_PROBABILITY_FLOOR = 1e-8


class HashedNgramDSIR(EmbeddingWeights):
    """DSIR with hashed n-gram features (arXiv 2302.03169, section 3).

    Args:
        ngrams: longest n-gram.
        num_buckets: B, features that n-grams are hashed to.
        tokenizer: "wordpunct" or "word_tokenize".
        min_example_length: fewest tokens of an example that may be chosen.

    For the others, see `DSIR`.

    Attributes:
        raw_probs: float64 [B], once it is fitted.
        target_probs: float64 [B], or [T, B] with separate targets.
        log_diff: log(target_probs + 1e-8) - log(raw_probs + 1e-8).
        tokenizer: the lower-cased text -> its tokens; may be set to any function.

    Raises:
        ValueError: for an unknown tokenizer.
    """

    def __init__(
        self,
        raw_datasets: Sequence[str],
        target_datasets: Sequence[str],
        cache_dir: str | os.PathLike[str],
        raw_load_dataset_fn: Callable[[str], Iterable[Example]] = default_load_dataset_fn,
        raw_parse_example_fn: Callable[[Example], str] | None = default_parse_example_fn,
        target_load_dataset_fn: Callable[[str], Iterable[Example]] = default_load_dataset_fn,
        target_parse_example_fn: Callable[[Example], str] | None = default_parse_example_fn,
        num_proc: int | None = None,
        ngrams: int = 2,
        num_buckets: int = 10_000,
        tokenizer: str = "wordpunct",
        min_example_length: int = 100,
        target_laplace_smoothing: float = 0.0,
        separate_targets: bool = False,
        target_proportions: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            raw_datasets,
            target_datasets,
            cache_dir,
            raw_load_dataset_fn,
            raw_parse_example_fn,
            target_load_dataset_fn,
            target_parse_example_fn,
            num_proc,
            separate_targets,
            target_proportions,
        )
        if tokenizer not in TOKENIZERS:
            raise UserError(f"tokenizer: must be one of {', '.join(TOKENIZERS)}, not {tokenizer}")
        self.tokenizer: Tokenizer = TOKENIZERS[tokenizer]
        self.ngrams = ngrams
        self.num_buckets = num_buckets
        self.min_example_length = min_example_length
        self.target_laplace_smoothing = target_laplace_smoothing
        self.raw_probs: npt.NDArray[np.float64] | None = None
        self.target_probs: npt.NDArray[np.float64] | None = None
        self.log_diff: npt.NDArray[np.float64] | None = None

    def featurizer(self, text: str) -> npt.NDArray[np.int64]:
        """Text -> counts of its n-grams, int64 [B]."""
        return get_ngram_counts(text, self.ngrams, self.num_buckets, tokenizer=self.tokenizer)

    def importance_estimator(self, features: npt.NDArray[Any]) -> Weight:
        """Counts [B] -> the log importance weight, or float64 [T] with separate targets."""
        return np.dot(self._fitted(), features)

    def get_perexample_metadata(self, ex: Example, features: npt.NDArray[Any]) -> float:
        """The example's length in tokens; for a text of fewer tokens than n - 1, more than there are."""
        return self._length(features.sum())

    def perexample_metadata_filter(self, concat_metadata: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which lengths are at least `min_example_length`."""
        return concat_metadata >= self.min_example_length

    def fit_importance_estimator(self, num_tokens_to_fit: int | Literal["auto", "all"] = "auto") -> None:
        """Counts raw and target, and takes the log ratio of their buckets' probabilities.

        Args:
            num_tokens_to_fit: n-grams of raw to count, an equal part of each virtual shard, and one example more;
                "auto" is 100,000 for each bucket. It bounds separate targets too, but not a single one.
        """
        limits = {"auto": _TOKENS_PER_BUCKET * self.num_buckets, "all": None}
        limit = limits[num_tokens_to_fit] if isinstance(num_tokens_to_fit, str) else num_tokens_to_fit
        raw = self._count(self.raw_datasets, self.raw_load_dataset_fn, self.raw_parse_example_fn, limit)
        self.raw_probs = raw / raw.sum()
        count = partial(self._count, load=self.target_load_dataset_fn, parse=self.target_parse_example_fn)
        if self.separate_targets:
            targets = np.array([count([path], limit=limit) for path in self.target_datasets])
            if self.target_proportions is None:
                self.target_proportions = shares(targets.sum(axis=1))
        else:
            targets = count(self.target_datasets, limit=None)
        smoothed = targets + self.target_laplace_smoothing
        self.target_probs = smoothed / smoothed.sum(axis=-1, keepdims=True)
        self.log_diff = np.log(self.target_probs + _PROBABILITY_FLOOR) - np.log(self.raw_probs + _PROBABILITY_FLOOR)

    def fit_ng_importance_estimator(self, num_tokens_to_fit: int | Literal["auto", "all"] = "auto") -> None:
        """`fit_importance_estimator`, by the name that HIR has for it."""
        self.fit_importance_estimator(num_tokens_to_fit)

    def _fitted(self) -> npt.NDArray[np.float64]:
        if self.log_diff is None:
            raise UserError("the estimator is not fitted: call fit_importance_estimator() first")
        return self.log_diff

    def _length(self, num_ngrams: Any) -> Any:
        return (num_ngrams + self.ngrams * (self.ngrams - 1) / 2) // self.ngrams

    def _kernel(self) -> NgramSettings | None:
        return kernel_settings(self.ngrams, self.num_buckets, self.tokenizer)

    def _count(
        self,
        datasets: Sequence[str],
        load: Callable[[str], Iterable[Example]],
        parse: Callable[[Example], str] | None,
        limit: int | None,
    ) -> npt.NDArray[np.int64]:
        """n-grams in each bucket, int64 [B]; of a virtual shard none after it has passed its part of the limit."""
        shards = self._get_virtually_sharded_datasets(datasets)
        part = None if limit is None else limit // len(shards)
        counts: npt.NDArray[np.int64] = sum(self._run(partial(self._count_shard, load, parse, part), shards))
        if not counts.sum():
            raise UserError(f"{', '.join(map(str, datasets))}: no text with an n-gram to fit to")
        return counts

    def _count_shard(
        self,
        load: Callable[[str], Iterable[Example]],
        parse: Callable[[Example], str] | None,
        limit: int | None,
        shard: VirtualShard,
    ) -> npt.NDArray[np.int64]:
        counts = np.zeros(self.num_buckets, np.int64)
        examples = examples_of(shard, load)
        texts = (parse(example) for example in examples) if parse else examples
        settings = self._kernel()
        for batch in _batches(texts, _BATCH if settings else 1):
            if settings:
                encoded = [text.encode() for text in batch]
                found = np.zeros_like(counts)
                totals = counts.sum() + np.cumsum(shared_featurizer(settings).count(encoded, found))
                if limit is not None and totals[-1] > limit:
                    last = int(np.argmax(totals > limit))  # the one that passes the limit still counts
                    shared_featurizer(settings).count(encoded[: last + 1], counts)
                    break
                counts += found
            else:
                get_ngram_counts(batch[0], self.ngrams, self.num_buckets, counts, self.tokenizer)
                if limit is not None and counts.sum() > limit:
                    break
        return counts

    def _weigh(self, examples: Iterable[Example]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
        settings = self._kernel()
        if settings is None or self._overrides():
            return super()._weigh(examples)
        log_ratio = self._fitted()
        weights, lengths = [np.empty((0, *log_ratio.shape[:-1]))], [np.empty(0)]
        for batch in _batches(examples, _BATCH):
            texts = [self._raw_text(example).encode() for example in batch]
            found, num_ngrams = shared_featurizer(settings).score(texts, np.atleast_2d(log_ratio))
            weights.append(found if log_ratio.ndim == 2 else found[:, 0])
            lengths.append(self._length(num_ngrams))
        return np.concatenate(weights), np.concatenate(lengths)

    def _overrides(self) -> bool:
        """Whether a subclass, or the object, has features, weights or metadata of its own."""
        names = ("featurizer", "importance_estimator", "get_perexample_metadata")
        return any(
            name in vars(self) or getattr(type(self), name) is not getattr(HashedNgramDSIR, name) for name in names
        )


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
