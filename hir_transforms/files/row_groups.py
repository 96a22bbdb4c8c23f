"""Tables as row groups: what readers of Parquet and Arrow files offer, and reading rows by number from it."""

import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from hir_transforms.common.errors import UserError, one_line
from hir_transforms.files import object_stores


@dataclass(frozen=True)
class RowGroup:
    """Rows that are stored together: the number of the first in the file, how many, and their bytes uncompressed."""

    first: int
    rows: int
    bytes: int

    def rows_of(self, size: int) -> int:
        """How many rows have about `size` bytes, at least one."""
        pieces = max(1, min(self.rows, -(-self.bytes // size)))
        return max(1, -(-self.rows // pieces))


class Table(Protocol):
    """An open table.

    Attributes:
        path: of its file.
        schema: names and types of all columns.
    """

    path: str
    schema: pa.Schema

    def row_groups(self, columns: Sequence[str] | None = None) -> list[RowGroup]:
        """The row groups; their bytes are those of these columns (dotted paths of nested ones), by default of all."""

    def batches(self, group: int, columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a row group, up to `rows` at a time; raises `UserError` if they cannot be read."""


@contextlib.contextmanager
def table_errors(path: str) -> Iterator[None]:
    """What goes wrong in the block with the table of a file becomes a `UserError` that names it."""
    try:
        with object_stores.user_errors("read", path):
            yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged, or not what its suffix says: {one_line(error)}") from None


class RowReader:
    """Reads rows by number; quickest where each call goes on from the last."""

    def __init__(self, table: Table, columns: Sequence[str] | None, batch_bytes: int) -> None:
        """Reads these columns, by default all, about so many bytes at a time."""
        self._table = table
        self._columns = columns
        self._batch_bytes = batch_bytes
        self._groups = table.row_groups(columns)
        self._firsts = [group.first for group in self._groups]
        self._group = -1
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first = self._end = 0  # rows of the batch at hand

    def read(self, first: int, count: int) -> pa.Table:
        """Rows [first, first + count)."""
        parts = []
        row = first
        while row < first + count:
            batch = self._batch_with(row)
            parts.append(batch.slice(row - self._first, first + count - row))
            row = self._end
        return pa.Table.from_batches(parts)

    def take(self, rows: np.ndarray) -> Iterator[pa.Table]:
        """The rows of ascending numbers, int64 [N], some at a time."""
        done = 0
        while done < len(rows):
            batch = self._batch_with(int(rows[done]))
            stop = int(np.searchsorted(rows, self._end))
            with table_errors(self._table.path):
                yield pa.Table.from_batches([batch]).take(pa.array(rows[done:stop] - self._first))
            done = stop

    def _batch_with(self, row: int) -> pa.RecordBatch:
        group = bisect_right(self._firsts, row) - 1
        if group != self._group or row < self._first:
            of_group = self._groups[group]
            rows = of_group.rows_of(self._batch_bytes)
            self._batches = self._table.batches(group, self._columns, rows)
            self._group, self._end = group, of_group.first
        while row >= self._end:
            batch = next(self._batches, None)
            if batch is None:
                raise UserError(f"{self._table.path} is damaged: it ends before row {row}")
            self._first, self._end, self._batch = self._end, self._end + len(batch), batch
        return self._batch
