"""Arrow files: the formats that Arrow calls file and stream, the latter that of the datasets of Hugging Face."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from hir_transforms.files.row_groups import RowGroup, table_errors

_FILE_MAGIC = b"ARROW1"


class ArrowTable:
    """See `Table`; a row group is a record batch, and one that is not compressed is mapped, not read whole."""

    def __init__(self, path: str, local: str) -> None:
        """Opens the file of a path, which lies on the local disk, perhaps under another name."""
        self.path = path
        self._local = local
        self._rewind()

    def _rewind(self) -> None:
        self._passed = 0
        with table_errors(self.path):
            mapped = pa.memory_map(self._local)
            is_file = mapped.read(len(_FILE_MAGIC)) == _FILE_MAGIC
            mapped.seek(0)
            opened = pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)
            self.schema: pa.Schema = opened.schema
            self._batches: Iterator[pa.RecordBatch] = (
                map(opened.get_batch, range(opened.num_record_batches)) if is_file else iter(opened)
            )

    def _next(self) -> pa.RecordBatch | None:
        with table_errors(self.path):
            self._passed += 1
            return next(self._batches, None)

    def row_groups(self, columns: Sequence[str] | None = None) -> list[RowGroup]:
        """See `Table`."""
        self._rewind()
        groups: list[RowGroup] = []
        first = 0
        while (batch := self._next()) is not None:
            groups.append(RowGroup(first, len(batch), _select(batch, columns).nbytes))
            first += len(batch)
        self._rewind()
        return groups

    def batches(self, group: int, columns: Sequence[str] | None, rows: int) -> Iterator[pa.RecordBatch]:
        """See `Table`."""
        if group < self._passed:
            self._rewind()
        while self._passed < group:
            self._next()
        batch = self._next()
        if batch is not None:
            selected = _select(batch, columns)
            with table_errors(self.path):
                # Nothing else tells damage before Python reads where it points.
                selected.validate(full=True)
            yield from (selected.slice(first, rows) for first in range(0, len(selected), rows))


def _select(batch: pa.RecordBatch, columns: Sequence[str] | None) -> pa.RecordBatch:
    """The columns, of nested ones the whole column that they are in."""
    if columns is None:
        return batch
    names = batch.schema.names
    wanted = {name for column in columns for name in (column, column.split(".")[0]) if name in names}
    return batch.select([name for name in names if name in wanted])
