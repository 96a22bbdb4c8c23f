"""Transforms of texts in anyone's pipeline: `CountNgrams`, `FitNgramEstimator`."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import apache_beam as beam
import numpy as np
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms.common.combining import Chunk, Gather, SumChunks, chunks_of_bundle, from_chunks
from hir_transforms.common.side_inputs import as_side_input
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramSettings, shared_featurizer

# Texts that the kernel is given at once: its results do not depend on it.
BATCH_TEXTS = 256


@dataclass(frozen=True, eq=False)
class NgramCounts:
    """How often n-grams fall into each bucket.

    Attributes:
        settings: what the n-grams are, and the number B of buckets.
        buckets: int64 [B], n-grams in each bucket.
    """

    settings: NgramSettings
    buckets: np.ndarray


@dataclass(eq=False)
class CountNgrams(beam.PTransform):
    """Texts -> their hashed n-grams counted, one `NgramCounts`: DSIR's features (arXiv 2302.03169, section 3).

    A bundle costs one array of buckets; nothing else of a text leaves the worker. Counts are exact integers, so they
    do not depend on bundles and workers. Texts are `str` without lone surrogates.

    Attributes:
        settings: how n-grams are made.

    Raises:
        ValueError: when run, if the tokenizer needs data that is not installed.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import CountNgrams, NgramSettings
        >>> with beam.Pipeline() as pipeline:
        ...     texts = pipeline | beam.Create(["to be or", "not to be"])
        ...     counts = texts | CountNgrams(NgramSettings(ngrams=1, num_buckets=1000))
        ...     _ = counts | beam.Map(lambda counts: print(counts.buckets.sum()))
        6
    """

    settings: NgramSettings = field(default_factory=NgramSettings)

    def expand(self, texts: beam.PCollection[str]) -> beam.PCollection[NgramCounts]:
        """See the class."""
        return (
            texts
            | "Batch" >> beam.BatchElements(max_batch_size=BATCH_TEXTS)
            | "Count" >> beam.ParDo(_CountDoFn(self.settings))
            | "Sum" >> SumChunks()
            | "Gather" >> Gather()
            | "Counts" >> beam.Map(_to_counts, self.settings)
        )


@dataclass(eq=False)
class _CountDoFn(beam.DoFn):
    """Sums a bundle's counts before it emits them."""

    settings: NgramSettings

    def setup(self) -> None:
        self._featurizer = shared_featurizer(self.settings)

    def start_bundle(self) -> None:
        self._buckets: np.ndarray | None = None

    def process(self, texts: list[str]) -> None:
        if self._buckets is None:
            self._buckets = np.zeros(self.settings.num_buckets, np.int64)
        self._featurizer.count([text.encode() for text in texts], self._buckets)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._buckets is not None:
            yield from chunks_of_bundle({"buckets": self._buckets})


def _to_counts(chunks: list[Chunk], settings: NgramSettings) -> NgramCounts:
    buckets = from_chunks(chunks)["buckets"] if chunks else np.zeros(settings.num_buckets, np.int64)
    return NgramCounts(settings, buckets)


@dataclass(eq=False)
class FitNgramEstimator(beam.PTransform):
    """The `NgramCounts` of raw -> the one `NgramEstimator`: log ratios of the target's and raw's bucket probabilities.

    Attributes:
        target: the `NgramCounts` of the target, made with the same settings: a collection of one, or the counts.
        smoothing: added to every bucket of the target, n-grams of at least 0; 0 is DSIR's default.

    Raises:
        ValueError: when run, if raw or the target has no n-gram, or their counts are of different settings.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import CountNgrams, FitNgramEstimator
        >>> with beam.Pipeline() as pipeline:
        ...     raw = pipeline | "Raw" >> beam.Create(["a sea of words", "a star"]) | "CountRaw" >> CountNgrams()
        ...     target = pipeline | "Target" >> beam.Create(["a star"]) | "CountTarget" >> CountNgrams()
        ...     estimator = raw | FitNgramEstimator(target)
        ...     _ = estimator | beam.Map(lambda estimator: print(estimator.log_ratio.shape))
        (1, 10000)
    """

    target: NgramCounts | beam.PCollection[NgramCounts]
    smoothing: float = 0.0

    def expand(self, raw: beam.PCollection[NgramCounts]) -> beam.PCollection[NgramEstimator]:
        """See the class."""
        return raw | "Fit" >> beam.Map(_fit, as_side_input(self.target), self.smoothing)


def _fit(raw: NgramCounts, target: NgramCounts, smoothing: float) -> NgramEstimator:
    if raw.settings != target.settings:
        raise ValueError(f"n-grams of raw counted with {raw.settings}, those of the target with {target.settings}")
    return NgramEstimator.fit(
        raw.settings, raw.buckets, target.buckets[np.newaxis], target_laplace_smoothing=smoothing
    )
