"""`CountDocuments`: the n-grams of single documents, counted, in files."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.utils.shared import Shared
from scipy import sparse

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.classifiers.logistic import folds_of
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.reading import DocumentReader, count_read
from hir_transforms.documents.records import DocumentGroup, ReadTask, Reject
from hir_transforms.documents.rejects import LineCounts, check_rejected, write_rejects
from hir_transforms.files import storage
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings

FOLDER = "documents"


def document_hashes(seed: int, name: str, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """The hashes of a file's documents, uint64 [N], of which the smallest make a sample.

    Args:
        seed: of the sample.
        name: the file's path relative to its dataset's folder.
        offsets: int64 [N], byte offsets of the documents' lines.
    """
    return identity_hash(seed, name, offsets, purpose="classifier")


@dataclass(frozen=True)
class CountedFile:
    """The documents of one read task, and where they are counted.

    Attributes:
        role: "raw" or "target".
        index: of the task.
        path: of the file; None where no document has an n-gram.
        lines: what was read.
        fraction: the share of the dataset's blocks that such tasks read; 1 for all.
    """

    role: str
    index: int
    path: str | None
    lines: LineCounts
    fraction: float


@dataclass(frozen=True, eq=False)
class CountedDocuments:
    """Documents that have n-grams.

    Attributes:
        hashes: uint64 [N], which decide what belongs to a sample.
        folds: int64 [N].
        targets: int64 [N], the target whose documents they are.
        bounds: int64 [N + 1], where each document's buckets begin in `buckets`, and the last one's end.
        buckets: uint32 [M], distinct ones of each document.
        counts: uint32 [M], n-grams in each.
    """

    hashes: np.ndarray
    folds: np.ndarray
    targets: np.ndarray
    bounds: np.ndarray
    buckets: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, group: DocumentGroup, featurizer: NgramFeaturizer, seed: int, target: int) -> "CountedDocuments":
        """Those of a group, which all belong to a target; 0 for raw's."""
        places = [(batch.file, batch.offsets) for batch in group.batches]
        hashes = [document_hashes(seed, file.name, offsets) for file, offsets in places]
        folds = [folds_of(seed, file.name, offsets) for file, offsets in places]
        return cls.of_texts(group.encoded, featurizer, np.concatenate(hashes), np.concatenate(folds), target)

    @classmethod
    def of_texts(
        cls,
        texts: Sequence[bytes],
        featurizer: NgramFeaturizer,
        hashes: np.ndarray,
        folds: np.ndarray,
        target: int = 0,
    ) -> "CountedDocuments":
        """Those of texts in UTF-8, with their hashes and folds."""
        bounds, buckets, counts = featurizer.list_counts(texts)
        sizes = np.diff(bounds)
        kept = sizes > 0
        return cls(
            hashes[kept],
            folds[kept],
            np.full(kept.sum(), target, np.int64),
            np.concatenate([[0], np.cumsum(sizes[kept])]),
            buckets.astype(np.uint32),
            counts.astype(np.uint32),
        )

    @classmethod
    def join(cls, parts: Sequence["CountedDocuments"]) -> "CountedDocuments":
        """Those of several groups, at least one."""
        sizes = np.concatenate([np.diff(part.bounds) for part in parts])
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("hashes", "folds", "targets", "buckets", "counts")
        }
        return cls(bounds=np.concatenate([[0], np.cumsum(sizes)]), **joined)

    def matrix(self, num_buckets: int) -> sparse.csr_matrix:
        """The counts, int64 CSR [N, B]."""
        entries = self.counts.astype(np.int64), self.buckets.astype(np.int32), self.bounds
        return sparse.csr_matrix(entries, shape=(len(self.hashes), num_buckets))

    def save(self, path: str) -> None:
        """Writes them as an npz file without pickled objects."""
        with storage.atomic_write(path) as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: str) -> "CountedDocuments":
        """Reads what `save` wrote."""
        with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as arrays:
            return cls(**arrays)


@dataclass(eq=False)
class CountDocuments(beam.PTransform):
    """`ReadTask`s of a dataset -> a `CountedFile` of each, in the folder "documents" of a stage.

    Lines of a target that are rejected are written to the stage's folder; raw's are kept with the list of its
    documents.

    Attributes:
        stage: in whose folder the files are written; `EndFit` removes them.
        dataset: what the tasks are of.
        settings: what n-grams are.
        seed: of the hashes and the folds.
        shared: handle of the process's `NgramFeaturizer` of these settings.
        by_target: whether the files of each pattern belong to a target of their own.
    """

    stage: Stage
    dataset: Dataset
    settings: NgramSettings
    seed: int
    shared: Shared
    _: KW_ONLY
    by_target: bool = False

    def expand(self, tasks: beam.PCollection[ReadTask]) -> beam.PCollection[CountedFile]:
        """See the class."""
        return tasks | beam.ParDo(
            _CountDoFn(self.stage, self.dataset, self.settings, self.seed, self.shared, self.by_target)
        )


@dataclass(eq=False)
class _CountDoFn(beam.DoFn):
    stage: Stage
    dataset: Dataset
    settings: NgramSettings
    seed: int
    shared: Shared
    by_target: bool

    def setup(self) -> None:
        self._reader = DocumentReader(self.dataset)
        self._featurizer = self.shared.acquire(lambda: NgramFeaturizer(self.settings))

    def process(self, task: ReadTask) -> Iterator[CountedFile]:
        role = self.dataset.role
        parts: list[CountedDocuments] = []
        rejects: list[Reject] = []
        documents = 0
        for group in self._reader.read(task):
            count_read(self.stage.name, group)
            rejects += group.rejects
            documents += len(group.encoded)
            if group.encoded:
                target = group.target if self.by_target else 0
                parts.append(CountedDocuments.of(group, self._featurizer, self.seed, target))
        path = self.stage.path(FOLDER, f"{role}-{task.index:05d}.npz")
        has_ngrams = any(len(part.hashes) for part in parts)
        if has_ngrams:
            CountedDocuments.join(parts).save(path)
        if role == "target":
            write_rejects(self.stage.folder, role, task.index, rejects)
        lines = LineCounts.of(task.index, documents, rejects)
        fraction = task.sample.fraction if task.sample else 1.0
        yield CountedFile(role, task.index, path if has_ngrams else None, lines, fraction)


@dataclass(eq=False)
class EndFit(beam.PTransform):
    """What the manifest tells, a single element -> the stage, complete and without the files of `CountDocuments`.

    Attributes:
        stage: its first dataset is the one whose rejected lines are counted in the manifest.

    Raises:
        UserError: when run, for too large a share of rejected lines.
    """

    stage: Stage

    def expand(self, counts: beam.PCollection[dict[str, Any]]) -> beam.PCollection[Stage]:
        """See the class."""
        written = counts | "Manifest" >> WriteStageManifest(self.stage)
        # After a shuffle, so that no other attempt to fit can come later.
        written | "Written" >> beam.Reshuffle() | "RemoveCounts" >> beam.Map(_remove, self.stage.path(FOLDER))
        return (
            written
            | "CheckRejected" >> beam.Map(check_rejected, self.stage.dataset)
            | "Stage" >> beam.Map(lambda _, stage: stage, self.stage)
        )


def _remove(_: Any, folder: str) -> None:
    storage.remove_folder(folder)
