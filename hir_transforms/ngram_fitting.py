"""Hashed n-grams of a dataset counted (`CountNgrams`), and the log ratios made of the counts (`FitNgramEstimator`)."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms import storage
from hir_transforms.combining import Chunk, Gather, SumChunks, from_chunks, to_chunks
from hir_transforms.datasets import Dataset
from hir_transforms.errors import UserError
from hir_transforms.numerics.ngram_estimator import NgramEstimator
from hir_transforms.numerics.ngrams import NgramFeaturizer, NgramSettings
from hir_transforms.reading import DocumentReader
from hir_transforms.records import ReadTask, Reject
from hir_transforms.rejecting import LineCounts, check_rejected, write_rejects
from hir_transforms.stages import Stage, WriteStageManifest

_COUNTS = "counts.npy"
_ESTIMATOR = "estimator.npz"


@dataclass(frozen=True)
class NgramCounts:
    """What was read of a dataset.

    Attributes:
        buckets: int64 [T, B], n-grams of each target (raw: of all, T = 1) in each bucket.
        lines: documents and rejected lines.
        bytes: of the documents' lines.
    """

    buckets: np.ndarray
    lines: LineCounts = field(default_factory=LineCounts)
    bytes: int = 0

    def summary(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            **self.lines.summary(),
            "documents": self.lines.documents,
            "bytes": self.bytes,
            "ngrams": self.buckets.sum(axis=1).tolist(),
        }


class CountNgrams(beam.PTransform):
    """`ReadTask`s of a dataset -> the path of its n-gram counts, int64 [T, B], in the stage's folder.

    Args:
        stage: where the counts are written.
        dataset: what is counted.
        settings: how n-grams are made.
        num_targets: T; the files of pattern i of the dataset belong to target i, unless there is only one.
        shared: handle of the process's `NgramFeaturizer` of these settings.

    Raises (when run):
        UserError: for a dataset, or a target, without any n-gram.
    """

    def __init__(
        self,
        stage: Stage,
        dataset: Dataset,
        settings: NgramSettings,
        *,
        num_targets: int = 1,
        shared: Shared,
    ) -> None:
        super().__init__()
        self._stage = stage
        self._dataset = dataset
        self._do_fn = _CountNgramsDoFn(dataset, settings, num_targets, stage.folder, shared)
        self._shape = (num_targets, settings.num_buckets)

    def expand(self, tasks: beam.PCollection[ReadTask]) -> beam.PCollection[str]:
        """See the class."""
        path = counts_path(self._stage)
        summary = (
            tasks
            | "Count" >> beam.ParDo(self._do_fn)
            | "Sum" >> SumChunks()
            | "Gather" >> Gather()
            | "Save" >> beam.Map(_save_counts, self._shape, self._dataset, path)
        )
        (
            summary
            | "Manifest" >> WriteStageManifest(self._stage)
            | "CheckRejected" >> beam.Map(check_rejected, self._dataset)
        )
        return summary | "Path" >> beam.Map(lambda _, path: path, path)


def counts_path(stage: Stage) -> str:
    """Path of the counts of a stage of `CountNgrams`."""
    return stage.path(_COUNTS)


def _save_counts(chunks: list[Chunk], shape: tuple[int, int], dataset: Dataset, path: str) -> dict[str, Any]:
    """Writes the counts; returns what the manifest says of them."""
    counts = NgramCounts(np.zeros(shape, np.int64))
    if chunks:
        sums = from_chunks(chunks)
        counts = NgramCounts(**sums | {"buckets": sums["buckets"].reshape(shape)})
    if not counts.buckets.any(axis=1).all():
        empty = int(np.argmin(counts.buckets.any(axis=1)))
        where = f" of {dataset.patterns[empty]}" if len(counts.buckets) > 1 else ""
        lines = counts.lines
        raise UserError(f"--{dataset.role}: no text in it{where} ({lines.documents} documents){lines.first_rejected}")
    with storage.atomic_write(path) as file:
        np.save(file, counts.buckets, allow_pickle=False)
    return counts.summary()


def load_counts(path: str) -> np.ndarray:
    """The counts that `CountNgrams` wrote, int64 [T, B]."""
    return np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)


class _CountNgramsDoFn(beam.DoFn):
    """Sums a bundle's counts before it emits them: a bundle costs one array of buckets."""

    def __init__(
        self, dataset: Dataset, settings: NgramSettings, num_targets: int, folder: str, shared: Shared
    ) -> None:
        self._dataset = dataset
        self._settings = settings
        self._num_targets = num_targets
        self._folder = folder
        self._shared = shared

    def setup(self) -> None:
        self._reader = DocumentReader(self._dataset)
        self._featurizer = self._shared.acquire(lambda: NgramFeaturizer(self._settings))

    def start_bundle(self) -> None:
        self._counts: NgramCounts | None = None

    def process(self, task: ReadTask) -> None:
        if self._counts is None:
            self._counts = NgramCounts(np.zeros((self._num_targets, self._settings.num_buckets), np.int64))
        rejects: list[Reject] = []
        documents = num_bytes = 0
        for group in self._reader.read(task):
            target = group.target if self._num_targets > 1 else 0
            self._featurizer.count(group.encoded, self._counts.buckets[target])
            rejects += group.rejects
            documents += len(group.encoded)
            num_bytes += sum(int(batch.lengths.sum()) for batch in group.batches)
        lines = LineCounts.of(task.index, documents, rejects)
        self._counts = replace(
            self._counts, lines=self._counts.lines.merge(lines), bytes=self._counts.bytes + num_bytes
        )
        write_rejects(self._folder, self._dataset.role, task.index, rejects)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._counts is not None:
            window = GlobalWindow()
            for chunk in to_chunks(vars(self._counts)):
                yield WindowedValue(chunk, window.max_timestamp(), (window,))


class FitNgramEstimator(beam.PTransform):
    """The path of the counts of raw -> the path of the `NgramEstimator`, which is written to the stage's folder.

    Args:
        stage: where the estimator is written.
        settings: what the counts were made with.
        target_counts: PCollection of the path of the counts of the targets.
        target_laplace_smoothing: added to every target bucket.
    """

    def __init__(
        self,
        stage: Stage,
        settings: NgramSettings,
        *,
        target_counts: beam.PCollection[str],
        target_laplace_smoothing: float,
    ) -> None:
        super().__init__()
        self._stage = stage
        self._settings = settings
        self._target_counts = beam.pvalue.AsSingleton(target_counts)
        self._smoothing = target_laplace_smoothing

    def expand(self, raw_counts: beam.PCollection[str]) -> beam.PCollection[str]:
        """See the class."""
        path = estimator_path(self._stage)
        described = raw_counts | "Fit" >> beam.Map(_fit, self._target_counts, self._settings, self._smoothing, path)
        described | "Manifest" >> WriteStageManifest(self._stage)
        return described | "Path" >> beam.Map(lambda _, path: path, path)


def _fit(raw_counts: str, target_counts: str, settings: NgramSettings, smoothing: float, path: str) -> dict[str, Any]:
    """Writes the estimator; returns what the manifest says of it."""
    estimator = NgramEstimator.fit(
        settings, load_counts(raw_counts)[0], load_counts(target_counts), target_laplace_smoothing=smoothing
    )
    with storage.atomic_write(path) as file:
        estimator.save(file)
    return {
        "raw_ngrams": int(estimator.raw_counts.sum()),
        "target_ngrams": estimator.target_counts.sum(axis=1).tolist(),
        "target_proportions": estimator.target_proportions.tolist(),
    }


def estimator_path(stage: Stage) -> str:
    """Path of a stage's estimator."""
    return stage.path(_ESTIMATOR)


def load_estimator(path: str) -> NgramEstimator:
    """The estimator that `FitNgramEstimator` wrote."""
    return NgramEstimator.load(io.BytesIO(storage.read_bytes(path)))
