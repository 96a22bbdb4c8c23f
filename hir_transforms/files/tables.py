"""Tables: Parquet and Arrow files, whose rows are read by number, and a row group of Parquet never whole."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from hir_transforms.files.arrow_files import ArrowTable
from hir_transforms.files.row_groups import RowGroup, Table, table_errors

_PARQUET, _ARROW = _SUFFIXES = (".parquet", ".arrow")
_BUFFER_BYTES = 1 << 20


def is_table(path: str) -> bool:
    """Whether the path's suffix names a format of tables."""
    return path.lower().endswith(_SUFFIXES)


def is_arrow(path: str) -> bool:
    """Whether the path's suffix names Arrow's own format, of which nothing is compressed as a rule."""
    return path.lower().endswith(_ARROW)


class ParquetTable:
    """See `Table`; a row group is decoded page by page."""

    def __init__(self, path: str, raw: BinaryIO) -> None:
        self.path = path
        with table_errors(path):
            self._file = pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        self.schema: pa.Schema = self._file.schema_arrow

    def row_groups(self, columns: Sequence[str] | None = None) -> list[RowGroup]:
        """See `Table`."""
        groups = [*map(self._file.metadata.row_group, range(self._file.metadata.num_row_groups))]
        firsts = itertools.accumulate((group.num_rows for group in groups), initial=0)
        return [
            RowGroup(first, group.num_rows, _bytes(group, columns))
            for group, first in zip(groups, firsts, strict=False)
        ]

    def batches(self, group: int, columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        """See `Table`."""
        with table_errors(self.path):
            batches = self._file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)
        while True:
            with table_errors(self.path):
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
def open_table(path: str) -> Iterator[Table]:
    """The table in a file; raises `UserError` where there is none, and for one with two columns of one name."""
    with contextlib.ExitStack() as opened:
        table: Table
        if is_arrow(path):
            table = ArrowTable(path, opened.enter_context(storage.local_copy(path)))
        else:
            table = ParquetTable(path, opened.enter_context(storage.open_raw(path)))
        names = table.schema.names
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UserError(f"{path} has {names.count(twice[0])} columns of the name {twice[0]}")
        yield table
