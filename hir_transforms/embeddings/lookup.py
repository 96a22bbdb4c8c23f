"""`LookUpEmbeddings`: the rows of documents in precomputed embedding files."""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader, ReadTasks
from hir_transforms.documents.records import DocumentBatch, DocumentGroup, ReadTask
from hir_transforms.embeddings.record_index import RecordIndex, WriteRecordIndex
from hir_transforms.embeddings.shards import iter_shard
from hir_transforms.embeddings.source import EmbeddingFiles
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.starts import FindRowStarts, GroupRows, RowStarts, TaskCounts

Found = tuple[DocumentGroup, np.ndarray]


@dataclass(eq=False)
class LookUpEmbeddings(beam.PTransform):
    """`DocumentGroup`s of a dataset -> (`DocumentGroup`, float32 [N, D]); the rows may hold NaN and infinities.

    Rows of .npy and Parquet files belong to the documents in corpus order: a pass over the documents counts those of
    each group, so that each group knows where its rows begin. Rows of embedding shards know their documents. Both
    indices are files in the stage's folder, of which a worker reads those that its documents need.

    Attributes:
        stage: that the rows are for.
        embeddings: the files.

    Raises:
        UserError: when run, if there is not exactly one row for each document, or shards are not of one model.
    """

    stage: Stage
    embeddings: EmbeddingFiles

    def expand(self, groups: beam.PCollection[DocumentGroup]) -> beam.PCollection[Found]:
        """See the class."""
        embeddings, dataset, folder = self.embeddings, self.stage.dataset, self.stage.folder
        if embeddings.num_rows is None:
            written = groups.pipeline | "Index" >> WriteRecordIndex(folder, embeddings)
            do_fn = _FindByPlaceDoFn(folder, embeddings)
            return groups | "Find" >> beam.ParDo(do_fn, beam.pvalue.AsSingleton(written))
        starts = (
            groups.pipeline
            | "Tasks" >> ReadTasks(dataset)
            | "Count" >> beam.ParDo(_CountDoFn(dataset))
            | "Starts" >> FindRowStarts(folder, embeddings.dataset, RowKind.EMBEDDING, dataset)
        )
        return groups | "Find" >> beam.ParDo(_FindByOrderDoFn(), beam.pvalue.AsSingleton(starts))


@dataclass(eq=False)
class _CountDoFn(beam.DoFn):
    dataset: Dataset

    def setup(self) -> None:
        self._reader = DocumentReader(self.dataset)

    def process(self, task: ReadTask) -> Iterator[TaskCounts]:
        groups = self._reader.read(task)
        yield task.index, [(group.key, sum(len(batch.texts) for batch in group.batches)) for group in groups]


class _FindByOrderDoFn(beam.DoFn):
    """Goes on with one open table: groups of one task follow each other."""

    def setup(self) -> None:
        self._rows: GroupRows | None = None

    def process(self, group: DocumentGroup, starts: RowStarts) -> Iterator[Found]:
        if self._rows is None:
            self._rows = GroupRows(starts)
        yield group, self._rows.read(group.key, len(group.texts))

    def teardown(self) -> None:
        if self._rows is not None:
            self._rows.close()


@dataclass(eq=False)
class _FindByPlaceDoFn(beam.DoFn):
    """Looks up in a complete index, as the side input says that it is."""

    stage_folder: str
    embeddings: EmbeddingFiles

    def setup(self) -> None:
        self._index = RecordIndex(self.stage_folder)

    def process(self, group: DocumentGroup, _: int) -> Iterator[Found]:
        ends = np.cumsum([len(batch.texts) for batch in group.batches])[:-1]
        parts = [
            _rows_of(batch, hashes, self._index, self.embeddings)
            for batch, hashes in zip(group.batches, np.split(group.text_hashes, ends), strict=True)
            if batch.texts
        ]
        yield group, np.concatenate(parts)


def _rows_of(batch: DocumentBatch, hashes: np.ndarray, index: RecordIndex, embeddings: EmbeddingFiles) -> np.ndarray:
    """Rows of a block's documents, NaN for those that the shards list as not finite: float32 [N, D].

    Raises:
        UserError: for a document without a row, or with one of another text (`hashes` are the texts', uint64 [N]).
    """
    wanted = batch.offsets
    rows = np.full((len(wanted), embeddings.dim), np.nan, np.float32)
    found = np.zeros(len(wanted), bool)
    for record in index.find(batch.file, int(wanted[0]), int(wanted[-1])):
        for shard in iter_shard(record.path):
            if shard.file == record.file:
                embedded, of_texts = shard.documents
                _, here, there = np.intersect1d(wanted, embedded, return_indices=True)
                if (changed := wanted[here[hashes[here] != of_texts[there]]]).size:
                    raise UserError(
                        f"--{embeddings.dataset.role}: {record.path} has a row of another text than that at "
                        f"offset {changed[0]} of {batch.file.path}; embed the dataset again"
                    )
                found[here] = True
                _, here, there = np.intersect1d(wanted, shard.offsets, return_indices=True)
                rows[here] = shard.rows[there]
    if not found.all():
        raise UserError(
            f"--{embeddings.dataset.role}: {', '.join(embeddings.dataset.patterns)} has rows for {found.sum()} of "
            f"{len(wanted)} documents from offset {wanted[0]} to {wanted[-1]} of "
            f"{batch.file.path}; embed the dataset again"
        )
    return rows
