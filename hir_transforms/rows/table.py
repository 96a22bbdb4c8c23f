"""Tables of rows in corpus order: .npy or Parquet files, one after the other, read by ranges of rows."""

from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.rows.files import RowFile, RowKind, open_rows

_OPEN_FILES = 16


@dataclass(frozen=True)
class RowTable:
    """The rows of .npy or Parquet files, one file after the other.

    Attributes:
        kind: what a row is.
        paths: of the files.
        ends: number of rows up to the end of each file.
        dim: numbers in a row.
    """

    kind: RowKind
    paths: list[str]
    ends: list[int]
    dim: int

    @property
    def num_rows(self) -> int:
        """Of all files."""
        return self.ends[-1]


def row_table(dataset: Dataset, kind: RowKind) -> RowTable:
    """The table of .npy or Parquet files; raises `UserError` for rows of different lengths, or none."""
    paths = [file.path for file in dataset.list_files()]
    with ThreadPoolExecutor(_OPEN_FILES) as pool:
        shapes = list(pool.map(partial(_shape, kind=kind), paths))
    dims = [(dim, path) for (_, dim), path in zip(shapes, paths, strict=True) if dim is not None]
    for dim, path in dims:
        if dim != dims[0][0]:
            raise UserError(f"--{dataset.role}: rows of {dims[0][0]} numbers in {dims[0][1]}, but of {dim} in {path}")
    ends = list(accumulate(rows for rows, _ in shapes))
    if not ends[-1]:
        raise UserError(f"--{dataset.role}: no rows in {', '.join(dataset.patterns)}")
    return RowTable(kind, paths, ends, dims[0][0])


def _shape(path: str, kind: RowKind) -> tuple[int, int | None]:
    with closing(open_rows(path, kind)) as rows:
        return rows.num_rows, rows.dim


class TableReader:
    """Reads rows of a table; keeps the last file open, so reading on in order is quickest."""

    def __init__(self, table: RowTable) -> None:
        self._table = table
        self._path = ""
        self._file: RowFile | None = None

    def read(self, first: int, count: int) -> np.ndarray:
        """Rows [first, first + count): [count, dim]."""
        ends = self._table.ends
        parts = []
        row = first
        while row < first + count:
            number = bisect_right(ends, row)
            begin = ends[number - 1] if number else 0
            stop = min(first + count, ends[number])
            parts.append(self._open(self._table.paths[number]).read(row - begin, stop - row))
            row = stop
        return np.concatenate(parts)

    def _open(self, path: str) -> RowFile:
        if self._file is None or path != self._path:
            self.close()
            self._path, self._file = path, open_rows(path, self._table.kind)
        return self._file

    def close(self) -> None:
        """Closes what is open."""
        if self._file is not None:
            self._file.close()


def require_rows(rows: int, documents: int, table: Dataset, dataset: Dataset) -> None:
    """Raises `UserError` unless there is a row for each document."""
    if rows != documents:
        raise UserError(
            f"--{table.role}: {rows} rows in {', '.join(table.patterns)}, but {documents} documents in "
            f"{', '.join(dataset.patterns)}; there must be a row for each line that can be used, in corpus order "
            "(blank and rejected lines have none)"
        )
