"""Files of rows of numbers, .npy and Parquet, read by ranges of rows."""

import contextlib
import enum
import itertools
from bisect import bisect_right
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from hir_transforms.files.blocks import read_fully

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_PARQUET_BATCH_ROWS = 1024
_PARQUET_BUFFER_BYTES = 1 << 20


class RowKind(enum.Enum):
    """What a row is: an embedding (float32), or weights (float64), which may be a single number."""

    EMBEDDING = np.float32
    WEIGHTS = np.float64


class RowFile(Protocol):
    """An open file of rows of numbers."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""

    @property
    def dim(self) -> int | None:
        """Numbers in a row; None in a file without rows that does not tell."""

    def read(self, first: int, count: int) -> np.ndarray:
        """Rows [first, first + count): [count, dim]. Quickest where each call goes on from the last."""

    def close(self) -> None:
        """Closes the file."""


def open_rows(path: str, kind: RowKind = RowKind.EMBEDDING) -> RowFile:
    """Opens a .npy or .parquet file of rows; raises `UserError` for one that does not hold such rows."""
    return NpyRows(path, kind) if path.endswith(".npy") else ParquetRows(path, kind)


class NpyRows:
    """A .npy file of a two-dimensional float array; of weights, also one-dimensional. Only rows asked for are read."""

    def __init__(self, path: str, kind: RowKind) -> None:
        self._path = path
        self._kind = kind
        with contextlib.ExitStack() as opened:
            self._file = opened.enter_context(storage.open_raw(path))
            self._read_header()
            opened.pop_all()

    def _read_header(self) -> None:
        path = self._path
        try:
            version = np.lib.format.read_magic(self._file)
            if version not in _HEADER_READERS:
                raise ValueError(f"version {version} of the format")
            shape, column_major, self._dtype = _HEADER_READERS[version](self._file)
        except ValueError as error:
            raise UserError(f"{path} is not a .npy file of numbers: {error}") from None
        if self._kind is RowKind.WEIGHTS and len(shape) == 1:
            shape = (*shape, 1)
        if len(shape) != 2 or not shape[1] or self._dtype.kind != "f" or self._dtype.itemsize > 8:
            raise UserError(f"{path} holds {self._dtype} {list(shape)}, not floats with one row for each document")
        if column_major and shape[0] > 1:
            raise UserError(f"{path} is stored column by column; save numpy.ascontiguousarray of it")
        self.num_rows, self.dim = int(shape[0]), int(shape[1])
        self._row_bytes = self.dim * self._dtype.itemsize
        self._start = self._file.tell()
        self._file.seek(0, 2)
        stored, needed = self._file.tell() - self._start, self.num_rows * self._row_bytes
        if stored != needed:
            raise UserError(f"{path} holds {stored} bytes of rows, not {needed}; it is not complete")

    def read(self, first: int, count: int) -> np.ndarray:
        """See `RowFile`."""
        self._file.seek(self._start + first * self._row_bytes)
        data = read_fully(self._file.read, count * self._row_bytes)
        if len(data) != count * self._row_bytes:
            raise UserError(f"{self._path} changed while it was read")
        return _convert(np.frombuffer(data, self._dtype).reshape(count, self.dim), self._kind)

    def close(self) -> None:
        """See `RowFile`."""
        self._file.close()


class ParquetRows:
    """A Parquet file with one column of lists of floats (of weights, also of floats), decoded forward."""

    def __init__(self, path: str, kind: RowKind) -> None:
        self._path = path
        self._kind = kind
        with contextlib.ExitStack() as opened:
            self._file = opened.enter_context(storage.open_raw(path))
            self._read_schema()
            opened.pop_all()

    def _read_schema(self) -> None:
        path, kind = self._path, self._kind
        try:
            self._parquet = pq.ParquetFile(self._file, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None
        schema = self._parquet.schema_arrow
        self._columns = [field.name for field in schema if _holds_rows(field.type, kind)]
        if len(self._columns) != 1:
            wanted = "lists of floats" if kind is RowKind.EMBEDDING else "floats or lists of floats"
            raise UserError(f"{path} has {len(self._columns)} columns of {wanted} ({schema.names}), not one")
        metadata = self._parquet.metadata
        self.num_rows = metadata.num_rows
        groups = (metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        self._group_starts = list(itertools.accumulate(groups, initial=0))
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first = 0  # the row that the batch at hand starts with
        self._batch: pa.Array | None = None
        self.dim = self._find_dim(schema.field(self._columns[0]).type)

    def _find_dim(self, column_type: pa.DataType) -> int | None:
        if pa.types.is_floating(column_type):
            return 1
        if pa.types.is_fixed_size_list(column_type):
            return int(column_type.list_size)
        if not self.num_rows:
            return None
        start = self._batch_with(0)
        lengths = start.value_lengths().drop_null()
        if not len(lengths) or not lengths[0].as_py():
            raise UserError(f"{self._path}: its first {len(start)} rows are null or empty")
        return int(lengths[0].as_py())

    def read(self, first: int, count: int) -> np.ndarray:
        """See `RowFile`; a null row, or a null in one, is NaN."""
        assert self.dim is not None or not count
        rows = np.empty((count, self.dim or 0), self._kind.value)
        done = 0
        while done < count:
            batch = self._batch_with(first + done)
            begin = first + done - self._first
            part = batch[begin : begin + count - done]
            rows[done : done + len(part)] = self._to_rows(part)
            done += len(part)
        return rows

    def _batch_with(self, row: int) -> pa.Array:
        """The batch that holds a row: going on from the last batch, unless the row lies before or in a later group."""
        group = bisect_right(self._group_starts, row) - 1
        if self._batch is None or row < self._first or self._group_starts[group] > self._first + len(self._batch):
            groups = range(group, len(self._group_starts) - 1)
            self._batches = self._parquet.iter_batches(
                _PARQUET_BATCH_ROWS, row_groups=groups, columns=self._columns, use_threads=False
            )
            self._first = self._group_starts[group]
            self._batch = self._next_batch()
        while row >= self._first + len(self._batch):
            self._first += len(self._batch)
            self._batch = self._next_batch()
        return self._batch

    def _next_batch(self) -> pa.Array:
        try:
            return next(self._batches).column(0)
        except (pa.ArrowException, OSError, StopIteration) as error:
            reason = (str(error).splitlines() or ["it ends early"])[0]
            raise UserError(f"cannot read {self._path}: {reason}") from None

    def _to_rows(self, lists: pa.Array) -> np.ndarray:
        if pa.types.is_floating(lists.type):
            return lists.to_numpy(zero_copy_only=False).reshape(-1, 1)
        lengths = lists.value_lengths()
        wrong = [length for length in lengths.drop_null().unique().to_pylist() if length != self.dim]
        if wrong:
            raise UserError(f"{self._path} has rows of {self.dim} numbers and rows of {wrong[0]}")
        rows = np.full((len(lists), self.dim or 0), np.nan, self._kind.value)
        valid = lists.is_valid().to_numpy(zero_copy_only=False)
        values = lists.flatten().to_numpy(zero_copy_only=False)
        rows[valid] = _convert(values.reshape(-1, self.dim), self._kind)
        return rows

    def close(self) -> None:
        """See `RowFile`."""
        self._parquet.close()
        self._file.close()


def _holds_rows(column_type: pa.DataType, kind: RowKind) -> bool:
    types = pa.types
    if kind is RowKind.WEIGHTS and types.is_floating(column_type):
        return True
    is_list = types.is_list(column_type) or types.is_large_list(column_type) or types.is_fixed_size_list(column_type)
    return is_list and types.is_floating(column_type.value_type)


def _convert(rows: np.ndarray, kind: RowKind) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is rejected as such
        return rows.astype(kind.value)
