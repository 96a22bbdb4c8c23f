"""Tables: Parquet files, whose rows are read by number, and a row group never whole."""

import contextlib
import itertools
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.common.errors import UserError
from hir_transforms.files import object_stores, storage

_SUFFIX = ".parquet"
_BUFFER_BYTES = 1 << 20


def is_table(path: str) -> bool:
    """Whether the path's suffix names a format of tables."""
    return path.lower().endswith(_SUFFIX)


def place_kind(path: str) -> str:
    """What an offset in a file counts, for messages."""
    return "row" if is_table(path) else "byte"


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


class Table:
    """An open Parquet file."""

    def __init__(self, path: str, file: pq.ParquetFile) -> None:
        self.path = path
        self._file = file
        self.schema: pa.Schema = file.schema_arrow
        """Names and types of all columns."""

    def row_groups(self, columns: Sequence[str] | None = None) -> list[RowGroup]:
        """The row groups; their bytes are those of these columns (dotted paths of nested ones), by default of all."""
        groups = [*map(self._file.metadata.row_group, range(self._file.metadata.num_row_groups))]
        firsts = itertools.accumulate((group.num_rows for group in groups), initial=0)
        return [
            RowGroup(first, group.num_rows, _bytes(group, columns))
            for group, first in zip(groups, firsts, strict=False)
        ]

    def batches(self, group: int, columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a row group, up to `rows` at a time; raises `UserError` if they cannot be read."""
        with _table_errors(self.path):
            batches = self._file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
        while True:
            with _table_errors(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


def _bytes(metadata: pq.RowGroupMetaData, columns: Sequence[str] | None) -> int:
    chunks = (metadata.column(number) for number in range(metadata.num_columns))
    return sum(
        chunk.total_uncompressed_size
        for chunk in chunks
        if columns is None or any(f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in columns)
    )


@contextlib.contextmanager
def _table_errors(path: str) -> Iterator[None]:
    try:
        with object_stores.user_errors("read", path):
            yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a Parquet file, or a damaged one: {object_stores.one_line(error)}") from None


@contextlib.contextmanager
def open_table(path: str) -> Iterator[Table]:
    """The table in a file; raises `UserError` where there is none, and for one with two columns of one name."""
    with storage.open_raw(path) as raw:
        with _table_errors(path):
            table = Table(path, pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False))
        names = table.schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"{path} has {names.count(twice[0])} columns of the name {twice[0]}")
        yield table


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
            with _table_errors(self._table.path):
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
