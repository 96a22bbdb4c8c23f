"""`FitNgramEstimator`: bucket counts of raw and target, summed, to the log ratios that score documents."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms import storage
from hir_transforms.combining import MergeCombineFn
from hir_transforms.datasets import Dataset
from hir_transforms.errors import UserError
from hir_transforms.featurizers import shared_featurizer
from hir_transforms.ngram_sampling import NgramSample, ReadSampledTasks
from hir_transforms.numerics.ngram_estimator import NgramEstimator
from hir_transforms.numerics.ngrams import NgramSettings
from hir_transforms.reading import DocumentReader, ReadTasks
from hir_transforms.records import ReadTask
from hir_transforms.rejecting import write_rejects
from hir_transforms.stages import Stage, WriteStageManifest

ESTIMATOR = "estimator.npz"


@dataclass(frozen=True)
class NgramCounts:
    """What was read of a dataset: n-grams in each bucket (int64 [B]), documents, rejected lines, bytes of lines."""

    buckets: np.ndarray
    documents: int = 0
    rejected: int = 0
    bytes: int = 0

    def merge(self, other: "NgramCounts") -> "NgramCounts":
        """Counts of both; integers, so the order does not matter."""
        return NgramCounts(
            self.buckets + other.buckets,
            self.documents + other.documents,
            self.rejected + other.rejected,
            self.bytes + other.bytes,
        )

    def summary(self) -> dict[str, int]:
        """For the manifest."""
        return {
            "documents": self.documents,
            "rejected": self.rejected,
            "bytes": self.bytes,
            "ngrams": int(self.buckets.sum()),
        }


class FitNgramEstimator(beam.PTransform):
    """PBegin -> the `NgramEstimator`, also written to the stage's folder.

    Args:
        stage: where the estimator is written.
        raw, target: the datasets; all of the target is always read.
        settings: how n-grams are made.
        sample: which part of raw to count; None for all.
        target_laplace_smoothing: added to every target bucket.
    """

    def __init__(
        self,
        stage: Stage,
        raw: Dataset,
        target: Dataset,
        settings: NgramSettings,
        *,
        sample: NgramSample | None,
        target_laplace_smoothing: float,
    ) -> None:
        super().__init__()
        self._stage = stage
        self._raw = raw
        self._target = target
        self._settings = settings
        self._sample = sample
        self._smoothing = target_laplace_smoothing

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[NgramEstimator]:
        """See the class."""
        read_raw: beam.PTransform = ReadTasks(self._raw)
        if self._sample is not None:
            read_raw = ReadSampledTasks(self._raw, self._settings, self._sample)
        raw = pipeline | "ReadRaw" >> read_raw | "CountRaw" >> self._count(self._raw)
        target = pipeline | "ReadTarget" >> ReadTasks(self._target) | "CountTarget" >> self._count(self._target)
        fitted = raw | "Fit" >> beam.Map(
            _fit,
            beam.pvalue.AsSingleton(target),
            settings=self._settings,
            smoothing=self._smoothing,
            path=self._stage.path(ESTIMATOR),
        )
        fitted | "Counts" >> beam.Map(lambda pair: pair[1]) | "Manifest" >> WriteStageManifest(self._stage)
        return fitted | "Estimator" >> beam.Map(lambda pair: pair[0])

    def _count(self, dataset: Dataset) -> "CountNgrams":
        return CountNgrams(dataset, self._settings, self._stage.folder)


def _fit(
    raw: NgramCounts, target: NgramCounts, *, settings: NgramSettings, smoothing: float, path: str
) -> tuple[NgramEstimator, dict[str, Any]]:
    for role, counts in (("raw", raw), ("target", target)):
        if not counts.buckets.any():
            raise UserError(
                f"--{role}: no text in it ({counts.documents} documents, {counts.rejected} rejected lines)"
            )
    estimator = NgramEstimator.fit(
        settings, raw.buckets, target.buckets[np.newaxis], target_laplace_smoothing=smoothing
    )
    with storage.atomic_write(path) as file:
        estimator.save(file)
    return estimator, {"raw": raw.summary(), "target": target.summary()}


def load_estimator(stage: Stage) -> NgramEstimator:
    """The estimator that a complete stage holds."""
    return NgramEstimator.load(io.BytesIO(storage.read_bytes(stage.path(ESTIMATOR))))


class CountNgrams(beam.PTransform):
    """`ReadTask`s -> their `NgramCounts`, a single element."""

    def __init__(self, dataset: Dataset, settings: NgramSettings, folder: str) -> None:
        super().__init__()
        self._do_fn = _CountNgramsDoFn(dataset, settings, folder)
        self._nothing = NgramCounts(np.zeros(settings.num_buckets, np.int64))

    def expand(self, tasks: beam.PCollection[ReadTask]) -> beam.PCollection[NgramCounts]:
        """See the class."""
        return (
            tasks
            | "Count" >> beam.ParDo(self._do_fn)
            | "Sum" >> beam.CombineGlobally(MergeCombineFn(NgramCounts.merge))
            | "OrNothing" >> beam.Map(lambda counts, nothing: counts or nothing, self._nothing)
        )


class _CountNgramsDoFn(beam.DoFn):
    """Sums a bundle's counts before it emits them: a bundle costs one array of buckets."""

    def __init__(self, dataset: Dataset, settings: NgramSettings, folder: str) -> None:
        self._dataset = dataset
        self._settings = settings
        self._folder = folder

    def setup(self) -> None:
        self._reader = DocumentReader(self._dataset)
        self._featurizer = shared_featurizer(self._settings)

    def start_bundle(self) -> None:
        self._counts: NgramCounts | None = None

    def process(self, task: ReadTask) -> None:
        if self._counts is None:
            self._counts = NgramCounts(np.zeros(self._settings.num_buckets, np.int64))
        rejects = []
        for group in self._reader.read(task):
            self._featurizer.count(group.texts, self._counts.buckets)
            rejects += group.rejects
            self._counts = replace(
                self._counts,
                documents=self._counts.documents + len(group.texts),
                rejected=self._counts.rejected + len(group.rejects),
                bytes=self._counts.bytes + sum(int(batch.lengths.sum()) for batch in group.batches),
            )
        write_rejects(self._folder, self._dataset.role, task.index, rejects)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._counts is not None:
            window = GlobalWindow()
            yield WindowedValue(self._counts, window.max_timestamp(), (window,))
