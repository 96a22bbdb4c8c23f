"""`FindRowStarts`: the row of a table that each group's documents begin with, as an index in files."""

import io
import itertools
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from hir_transforms.common.combining import Gather
from hir_transforms.documents.datasets import Dataset
from hir_transforms.files import storage
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.table import RowTable, TableReader, require_rows, row_table

Key = tuple[int, int]
# A task's index, and the key and the number of documents of each of its groups.
TaskCounts = tuple[int, list[tuple[Key, int]]]

_FOLDER = "row_starts"
_TASKS_PER_FILE = 64


@dataclass(frozen=True, order=True)
class IndexFile:
    """A file of the index: keys of its first and last group, its number, and how many documents its groups have."""

    first: Key
    last: Key
    number: int
    documents: int


@dataclass(frozen=True)
class Run:
    """Index files whose groups no other file's come between: key and row that they begin with, and their numbers.

    One file as a rule, several where parts of one compressed file interleave.
    """

    first: Key
    row: int
    files: tuple[int, ...]


@dataclass(frozen=True)
class RowStarts:
    """Where the documents of each group begin in a table of rows.

    Attributes:
        table: the rows.
        folder: with the index files.
        runs: what these hold, in corpus order: some 100 bytes for 64 tasks, so that it can be a side input.
    """

    table: RowTable
    folder: str
    runs: list[Run]


@dataclass(eq=False)
class FindRowStarts(beam.PTransform):
    """`TaskCounts` of all tasks of a dataset -> the one `RowStarts`.

    Attributes:
        stage_folder: the index is a folder in it.
        files: the rows, one for each document in corpus order.
        kind: what a row is.
        dataset: the documents, for messages.

    Raises:
        UserError: when run, if there is not exactly one row for each document.
    """

    stage_folder: str
    files: Dataset
    kind: RowKind
    dataset: Dataset

    def expand(self, counts: beam.PCollection[TaskCounts]) -> beam.PCollection[RowStarts]:
        """See the class."""
        folder = storage.join(self.stage_folder, _FOLDER)
        return (
            counts
            | "Arrays" >> beam.FlatMap(_to_array)
            | "Neighbours" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write, folder)
            | "Gather" >> Gather()
            | "Starts" >> beam.Map(_row_starts, folder, self.files, self.kind, self.dataset)
        )


def _to_array(counts: TaskCounts) -> list[tuple[int, np.ndarray]]:
    """The number of the index file, and int64 [N, 3]: file, block and documents of each group; none for no group."""
    task, groups = counts
    return [(task // _TASKS_PER_FILE, np.array([(*key, rows) for key, rows in groups], np.int64))] if groups else []


def _write(numbered: tuple[int, Iterable[np.ndarray]], folder: str) -> IndexFile:
    number, arrays = numbered
    groups = _in_order(arrays)
    with storage.atomic_write(_path(folder, number)) as file:
        np.save(file, groups, allow_pickle=False)
    (first, last), documents = groups[[0, -1], :2].tolist(), int(groups[:, 2].sum())
    return IndexFile(tuple(first), tuple(last), number, documents)


def _path(folder: str, number: int) -> str:
    return storage.join(folder, f"part-{number:05d}.npy")


def _in_order(arrays: Iterable[np.ndarray]) -> np.ndarray:
    groups = np.concatenate(list(arrays))
    return groups[np.lexsort((groups[:, 1], groups[:, 0]))]


def _row_starts(files: list[IndexFile], folder: str, rows: Dataset, kind: RowKind, dataset: Dataset) -> RowStarts:
    table = row_table(rows, kind)
    require_rows(table.num_rows, sum(file.documents for file in files), rows, dataset)
    runs: list[Run] = []
    row, last = 0, (-1, -1)
    for file in sorted(files):
        if file.first < last:
            runs[-1] = Run(runs[-1].first, runs[-1].row, (*runs[-1].files, file.number))
        else:
            runs.append(Run(file.first, row, (file.number,)))
        row += file.documents
        last = max(last, file.last)
    return RowStarts(table, folder, runs)


class GroupRows:
    """Reads the rows of groups of documents; quickest in corpus order, for it keeps open what was used last."""

    def __init__(self, starts: RowStarts) -> None:
        self._starts = starts
        self._table = TableReader(starts.table)
        self._run: Run | None = None
        self._rows: dict[Key, int] = {}

    def read(self, key: Key, documents: int) -> np.ndarray:
        """The rows of a group of so many documents: [documents, dim]."""
        runs = self._starts.runs
        run = runs[bisect_right(runs, key, key=lambda run: run.first) - 1]
        if run != self._run:
            self._run, self._rows = run, self._load(run)
        return self._table.read(self._rows[key], documents)

    def _load(self, run: Run) -> dict[Key, int]:
        """The first row of each group of a run."""
        contents = [storage.read_bytes(_path(self._starts.folder, number)) for number in run.files]
        groups = _in_order(np.load(io.BytesIO(content), allow_pickle=False) for content in contents)
        rows = itertools.accumulate(groups[:, 2].tolist(), initial=run.row)
        return {(file, block): row for (file, block), row in zip(groups[:, :2].tolist(), rows, strict=False)}

    def close(self) -> None:
        """Closes what is open."""
        self._table.close()
