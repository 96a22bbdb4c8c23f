"""N-grams of a dataset counted (`WriteNgramCounts`), and the log ratios made of them (`WriteNgramEstimator`)."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common.combining import Chunk, Gather, SumChunks, chunks_of_bundle, from_chunks
from hir_transforms.common.errors import UserError
from hir_transforms.documents.reading import DocumentReader, count_read
from hir_transforms.documents.records import ReadTask, Reject
from hir_transforms.documents.rejects import LineCounts, check_rejected, write_rejects
from hir_transforms.files import storage
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.ngrams.sampling import NgramSample

_COUNTS = "counts.npy"
_ESTIMATOR = "estimator.npz"


@dataclass(frozen=True)
class CountSettings:
    """How the n-grams of a dataset are counted.

    Attributes:
        ngrams: how n-grams are made.
        num_targets: T; the files of pattern i of the dataset belong to target i, unless there is only one.
        sample: the part of the dataset that is counted; None for all.
    """

    ngrams: NgramSettings
    num_targets: int = 1
    sample: NgramSample | None = None


@dataclass(frozen=True)
class EstimatorSettings:
    """How log ratios are made: what the counts were made with, and what is added to every target bucket."""

    ngrams: NgramSettings
    target_laplace_smoothing: float


@dataclass(frozen=True)
class DatasetCounts:
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


@dataclass(eq=False)
class WriteNgramCounts(beam.PTransform):
    """`ReadTask`s of a dataset -> the stage, once it holds the n-gram counts, int64 [T, B].

    That is also known only when the share of rejected lines is one that the dataset allows.

    Attributes:
        stage: where the counts are written; says what is counted, and how.
        shared: handle of the process's `NgramFeaturizer` of these settings.

    Raises:
        UserError: when run, for a dataset, or a target, without any n-gram.
    """

    stage: Stage[CountSettings]
    _: KW_ONLY
    shared: Shared

    def expand(self, tasks: beam.PCollection[ReadTask]) -> beam.PCollection[Stage]:
        """See the class."""
        return (
            tasks
            | "Count" >> beam.ParDo(_CountDoFn(self.stage, self.shared))
            | "Sum" >> SumChunks()
            | "Gather" >> Gather()
            | "Save" >> beam.Map(_save_counts, self.stage)
            | "Manifest" >> WriteStageManifest(self.stage)
            | "CheckRejected" >> beam.Map(check_rejected, self.stage.dataset)
            | "Counted" >> beam.Map(lambda _, stage: stage, self.stage)
        )


def _save_counts(chunks: list[Chunk], stage: Stage) -> dict[str, Any]:
    """Writes the counts; returns what the manifest says of them."""
    counts, dataset = _no_counts(stage.settings), stage.dataset
    if chunks:
        sums = from_chunks(chunks)
        counts = DatasetCounts(**sums | {"buckets": sums["buckets"].reshape(counts.buckets.shape)})
    if not counts.buckets.any(axis=1).all():
        empty = int(np.argmin(counts.buckets.any(axis=1)))
        where = f" of {dataset.patterns[empty]}" if len(counts.buckets) > 1 else ""
        lines = counts.lines
        raise UserError(f"--{dataset.role}: no text in it{where} ({lines.documents} documents){lines.first_rejected}")
    with storage.atomic_write(stage.path(_COUNTS)) as file:
        np.save(file, counts.buckets, allow_pickle=False)
    return counts.summary()


def _no_counts(settings: CountSettings) -> DatasetCounts:
    return DatasetCounts(np.zeros((settings.num_targets, settings.ngrams.num_buckets), np.int64))


def load_counts(stage: Stage) -> np.ndarray:
    """The counts that a complete stage of `WriteNgramCounts` holds, int64 [T, B]."""
    return np.load(io.BytesIO(stage.load(stage.path(_COUNTS))), allow_pickle=False)


@dataclass(eq=False)
class _CountDoFn(beam.DoFn):
    """Sums a bundle's counts before it emits them: a bundle costs one array of buckets."""

    stage: Stage[CountSettings]
    shared: Shared

    def setup(self) -> None:
        self._reader = DocumentReader(self.stage.dataset)
        self._featurizer = self.shared.acquire(lambda: NgramFeaturizer(self.stage.settings.ngrams))

    def start_bundle(self) -> None:
        self._counts: DatasetCounts | None = None

    def process(self, task: ReadTask) -> None:
        if self._counts is None:
            self._counts = _no_counts(self.stage.settings)
        rejects: list[Reject] = []
        documents = num_bytes = 0
        for group in self._reader.read(task):
            target = group.target if self.stage.settings.num_targets > 1 else 0
            self._featurizer.count(group.encoded, self._counts.buckets[target])
            count_read(self.stage.name, group)
            rejects += group.rejects
            documents += len(group.encoded)
            num_bytes += sum(int(batch.lengths.sum()) for batch in group.batches)
        lines = LineCounts.of(task.index, documents, rejects)
        self._counts = replace(
            self._counts, lines=self._counts.lines.merge(lines), bytes=self._counts.bytes + num_bytes
        )
        write_rejects(self.stage.folder, self.stage.dataset.role, task.index, rejects)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._counts is not None:
            yield from chunks_of_bundle(vars(self._counts))


@dataclass(eq=False)
class WriteNgramEstimator(beam.PTransform):
    """The stage of the counts of raw -> the stage given, once it holds the `NgramEstimator`.

    Attributes:
        stage: where the estimator is written; says how it is made.
        target_counts: PCollection of the stage of the counts of the targets.
    """

    stage: Stage[EstimatorSettings]
    _: KW_ONLY
    target_counts: beam.PCollection[Stage]

    def expand(self, raw_counts: beam.PCollection[Stage]) -> beam.PCollection[Stage]:
        """See the class."""
        return (
            raw_counts
            | "Fit" >> beam.Map(_fit, beam.pvalue.AsSingleton(self.target_counts), self.stage)
            | "Manifest" >> WriteStageManifest(self.stage)
            | "Fitted" >> beam.Map(lambda _, stage: stage, self.stage)
        )


def _fit(raw_counts: Stage, target_counts: Stage, stage: Stage) -> dict[str, Any]:
    """Writes the estimator; returns what the manifest says of it."""
    estimator = NgramEstimator.fit(
        stage.settings.ngrams,
        load_counts(raw_counts)[0],
        load_counts(target_counts),
        target_laplace_smoothing=stage.settings.target_laplace_smoothing,
    )
    with storage.atomic_write(stage.path(_ESTIMATOR)) as file:
        estimator.save(file)
    return {
        "raw_ngrams": int(estimator.raw_counts.sum()),
        "target_ngrams": estimator.target_counts.sum(axis=1).tolist(),
        "target_proportions": estimator.target_proportions.tolist(),
    }


def load_estimator(stage: Stage) -> NgramEstimator:
    """The estimator that a complete stage holds; raises `UserError` for a file of another estimator."""
    path, settings = stage.path(_ESTIMATOR), stage.settings
    content = stage.load(path)
    try:
        estimator = NgramEstimator.load(io.BytesIO(content))
        estimator.require(settings.ngrams)
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: {error}; delete {stage.folder} and run again") from None
    if estimator.target_laplace_smoothing != settings.target_laplace_smoothing:
        raise UserError(f"{path} was fitted with another smoothing; delete {stage.folder} and run again")
    return estimator
