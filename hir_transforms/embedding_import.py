"""`FindRows`: the rows of documents out of embedding files that were brought along."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from hir_transforms.datasets import Dataset
from hir_transforms.embedding_shards import iter_shard
from hir_transforms.embedding_source import EmbeddingFiles
from hir_transforms.errors import UserError
from hir_transforms.reading import DocumentReader, ReadTasks
from hir_transforms.records import DocumentBatch, DocumentGroup, ReadTask
from hir_transforms.row_files import RowKind
from hir_transforms.row_tables import RowTable, TableReader, require_rows, row_table

Key = tuple[int, int]
Found = tuple[DocumentGroup, np.ndarray]


class FindRows(beam.PTransform):
    """`DocumentGroup`s of a dataset -> (`DocumentGroup`, float32 [N, D]); the rows may hold NaN and infinities.

    Rows of .npy and Parquet files belong to the documents in corpus order: a pass over the documents counts those of
    each group, so that each group knows where its rows begin. Rows of embedding shards know their documents.

    Raises (when run):
        UserError: if there is not exactly one row for each document, or shards are not of one model.
    """

    def __init__(self, embeddings: EmbeddingFiles, dataset: Dataset) -> None:
        super().__init__()
        self._embeddings = embeddings
        self._dataset = dataset

    def expand(self, groups: beam.PCollection[DocumentGroup]) -> beam.PCollection[Found]:
        """See the class."""
        if self._embeddings.num_rows is None:
            index = (
                groups.pipeline
                | "Files" >> beam.Create([self._embeddings.dataset])
                | "Paths" >> beam.FlatMap(lambda dataset: [file.path for file in dataset.list_files()])
                | "Spread" >> beam.Reshuffle()
                | "Records" >> beam.FlatMap(_list_records)
                | "Gather" >> beam.combiners.ToList()
                | "Index" >> beam.Map(record_index, self._embeddings)
            )
            return groups | "Find" >> beam.Map(_find_by_place, beam.pvalue.AsSingleton(index), self._embeddings)
        starts = (
            groups.pipeline
            | "Tasks" >> ReadTasks(self._dataset)
            | "Count" >> beam.ParDo(_CountDoFn(self._dataset))
            | "Gather" >> beam.combiners.ToList()
            | "Starts" >> beam.Map(row_starts, self._embeddings.dataset, RowKind.EMBEDDING, self._dataset)
        )
        return groups | "Find" >> beam.ParDo(_FindByOrderDoFn(), beam.pvalue.AsSingleton(starts))


class _CountDoFn(beam.DoFn):
    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def setup(self) -> None:
        self._reader = DocumentReader(self._dataset)

    def process(self, task: ReadTask) -> Iterator[tuple[Key, int]]:
        for group in self._reader.read(task):
            yield group.key, sum(len(batch.texts) for batch in group.batches)


@dataclass(frozen=True)
class RowStarts:
    """A table of rows, and the row of it that each group's documents begin with."""

    table: RowTable
    starts: dict[Key, int]


def row_starts(counts: list[tuple[Key, int]], files: Dataset, kind: RowKind, dataset: Dataset) -> RowStarts:
    """Where each group's rows begin, from its number of documents; raises `UserError` unless all are accounted for."""
    table = row_table(files, kind)
    starts: dict[Key, int] = {}
    total = 0
    for key, count in sorted(counts):
        starts[key] = total
        total += count
    require_rows(table.num_rows, total, files, dataset)
    return RowStarts(table, starts)


class _FindByOrderDoFn(beam.DoFn):
    """Goes on with one open table: groups of one task follow each other."""

    def setup(self) -> None:
        self._reader: TableReader | None = None

    def process(self, group: DocumentGroup, rows: RowStarts) -> Iterator[Found]:
        if self._reader is None:
            self._reader = TableReader(rows.table)
        yield group, self._reader.read(rows.starts[group.key], len(group.texts))

    def teardown(self) -> None:
        if self._reader is not None:
            self._reader.close()


@dataclass(frozen=True, order=True)
class ShardRecord:
    """Where a record of an embedding shard is, and of which documents: offsets `first` to `last` of a file."""

    file: str
    first: int
    last: int
    name: str
    path: str
    dim: int
    model: str
    revision: str


def _list_records(path: str) -> Iterator[ShardRecord]:
    for batch in iter_shard(path):
        offsets = np.concatenate([batch.offsets, batch.rejected])
        yield ShardRecord(
            batch.file,
            int(offsets.min()),
            int(offsets.max()),
            batch.name,
            path,
            batch.rows.shape[1],
            batch.model,
            batch.revision,
        )


RecordIndex = dict[str, list[ShardRecord]]


def record_index(records: list[ShardRecord], embeddings: EmbeddingFiles) -> RecordIndex:
    """Records by the path of their documents' file, and by its name where no path is the same."""
    expected = (embeddings.dim, embeddings.model, embeddings.revision)
    index: RecordIndex = {}
    for record in sorted(records):
        if (record.dim, record.model, record.revision) != expected:
            raise UserError(
                f"--{embeddings.dataset.role}: {record.path} is of the model {record.model} ({record.revision}, "
                f"{record.dim} numbers a row), others of {embeddings.model} ({embeddings.revision}, {embeddings.dim})"
            )
        index.setdefault(record.file, []).append(record)
    for record in sorted(records, key=lambda record: record.first):
        if record.name != record.file:
            index.setdefault(record.name, []).append(record)
    return index


def _find_by_place(group: DocumentGroup, index: RecordIndex, embeddings: EmbeddingFiles) -> Found:
    parts = [_rows_of(batch, index, embeddings) for batch in group.batches if batch.texts]
    return group, np.concatenate(parts)


def _rows_of(batch: DocumentBatch, index: RecordIndex, embeddings: EmbeddingFiles) -> np.ndarray:
    """Rows of a block's documents, NaN for those that the shards list as not finite: float32 [N, D]."""
    wanted = batch.offsets
    records = index.get(batch.file.path) or index.get(batch.file.name, [])
    rows = np.full((len(wanted), embeddings.dim), np.nan, np.float32)
    found = np.zeros(len(wanted), bool)
    low = bisect_left(records, wanted[0], key=lambda record: record.last)
    high = bisect_right(records, wanted[-1], key=lambda record: record.first)
    for record in records[low:high]:
        for shard in iter_shard(record.path):
            if shard.file == record.file:
                _, here, there = np.intersect1d(wanted, shard.offsets, return_indices=True)
                rows[here] = shard.rows[there]
                found[here] = True
                found |= np.isin(wanted, shard.rejected)
    if not found.all():
        raise UserError(
            f"--{embeddings.dataset.role}: {', '.join(embeddings.dataset.patterns)} has rows for {found.sum()} of "
            f"{len(wanted)} documents from byte {wanted[0]} to {wanted[-1]} of {batch.file.path}; "
            "embed the dataset again"
        )
    return rows
