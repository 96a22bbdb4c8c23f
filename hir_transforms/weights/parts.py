"""Document parts: Parquet files that list the documents of raw, one file a read task; and columns of weights beside.

All files of a part have the same rows in the same row groups, so that they are read together a row group at a time.
A row group holds whole groups of documents.
"""

import contextlib
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import DocumentGroup, SourceFile
from hir_transforms.documents.rejects import LineCounts
from hir_transforms.files import storage

Key = tuple[int, int]

ROWS_PER_GROUP = 1 << 16
DOCUMENT_FIELDS = (
    pa.field("file", pa.string()),
    pa.field("offset", pa.int64()),
    pa.field("length", pa.int64()),
    pa.field("num_tokens", pa.int32()),
    pa.field("text_hash", pa.uint64()),
)
ID_FIELD = pa.field("id", pa.string())  # after these, where the documents' ids are kept
_FILES_KEY = "hir.files"
_GROUPS_KEY = "hir.groups"


@dataclass(frozen=True, order=True)
class DocumentPart:
    """The documents of one read task of raw.

    Attributes:
        index: of the task.
        rows: how many there are.
        rejected: number of rejected lines.
        lines: what was read; told by the task alone, not by a manifest.
    """

    index: int
    rows: int
    rejected: int
    lines: LineCounts = field(default_factory=LineCounts, compare=False)


def part_path(folder: str, index: int) -> str:
    """Path of a part's file in a stage's folder."""
    return storage.join(folder, f"part-{index:05d}.parquet")


class OfTask(Protocol):
    """What is written of one read task: the index of the task, the rows, and the number of rejected lines."""

    @property
    def index(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def rejected(self) -> int: ...


def count_rows(name: str, written: Sequence[OfTask]) -> dict[str, Any]:
    """Counts for the manifest of a stage; under `name`, [index, rows, rejected] of what is written of each task."""
    rejected = sum(one.rejected for one in written)
    return {
        "read": sum(one.rows for one in written) + rejected,
        "rejected": rejected,
        name: sorted([one.index, one.rows, one.rejected] for one in written),
    }


def count_parts(parts: Sequence[DocumentPart]) -> dict[str, Any]:
    """Counts for the manifest of a stage of parts, which `load_parts` reads."""
    return count_rows("parts", parts)


def count_lines(parts: Sequence[DocumentPart]) -> dict[str, Any]:
    """The counts of `count_parts`, and which lines were rejected, of parts that were read just now."""
    lines = functools.reduce(LineCounts.merge, (part.lines for part in parts), LineCounts())
    return {**lines.summary(), **count_parts(parts)}


def load_parts(stage: Stage) -> list[DocumentPart]:
    """The parts of a complete stage, as its manifest lists them."""
    return [DocumentPart(*part) for part in stage.counts()["parts"]]


def document_schema(*more: pa.Field, with_ids: bool) -> pa.Schema:
    """The columns of documents, their ids perhaps, and `more`."""
    return pa.schema([*DOCUMENT_FIELDS, *([ID_FIELD] if with_ids else []), *more])


def files_metadata(files: Iterable[SourceFile]) -> dict[str, str]:
    """Metadata of a Parquet file that tell the source files of its rows."""
    return {_FILES_KEY: msgspec.json.encode(list(files)).decode()}


def files_of(metadata: Mapping[bytes, bytes]) -> list[SourceFile]:
    """The source files that the metadata of a Parquet file tell."""
    return msgspec.json.decode(metadata[_FILES_KEY.encode()], type=list[SourceFile])


def weight_type(num_targets: int) -> pa.DataType:
    """Type of a column of weights: one number, or a list of one per target."""
    return pa.float64() if num_targets == 1 else pa.list_(pa.float64())


def weight_column(weights: np.ndarray) -> pa.Array:
    """Weights, float64 [N, T], as a column."""
    values = pa.array(np.ascontiguousarray(weights, np.float64).reshape(-1))
    if weights.shape[1] == 1:
        return values
    # Not lists of a fixed size: pyarrow cannot read those back from Parquet where they are null.
    offsets = np.arange(0, len(values) + 1, weights.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, values)


def weight_array(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of weights without nulls as float64 [N, T]."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if not pa.types.is_list(column.type):
        return column.to_numpy(zero_copy_only=False).reshape(-1, 1)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


class ColumnWriter:
    """Writes a file of one part; columns come group by group, and full row groups go out as they fill.

    Files that are given the same numbers of rows in the same order get the same row groups.
    """

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0

    def add(self, columns: Mapping[str, pa.Array | np.ndarray]) -> None:
        """Adds the rows of a group of documents; a column that is not given is all null."""
        rows = len(next(iter(columns.values())))
        arrays = [_to_arrow(columns.get(field.name), field.type, rows) for field in self._schema]
        self._pending.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._pending_rows += rows
        if self._pending_rows >= ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending_rows:
            table = pa.Table.from_batches(self._pending, self._schema)
            self._writer.write_table(table, row_group_size=self._pending_rows)
            self._pending, self._pending_rows = [], 0

    def close(self, metadata: Mapping[str, str] | None = None) -> None:
        """Ends the file; `metadata` is kept with it."""
        self._flush()
        if metadata:
            self._writer.add_key_value_metadata(metadata)
        self._writer.close()


def _to_arrow(column: pa.Array | np.ndarray | None, type_: pa.DataType, rows: int) -> pa.Array:
    if column is None:
        return pa.nulls(rows, type_)
    return pa.array(column, type_) if isinstance(column, np.ndarray) else column.cast(type_)


@contextlib.contextmanager
def write_columns(path: str, schema: pa.Schema) -> Iterator[ColumnWriter]:
    """A file of one part; it appears when the block ends without an error."""
    with storage.atomic_write(path) as file:
        writer = ColumnWriter(file, schema)
        try:
            yield writer
        finally:  # also after an error: the file must be open while its writer closes
            writer.close()


def write_weights(path: str, num_targets: int) -> contextlib.AbstractContextManager[ColumnWriter]:
    """A file with the one column `weight`."""
    return write_columns(path, pa.schema([("weight", weight_type(num_targets))]))


class DocumentWriter:
    """Writes the documents of a part, and with them what their files and groups are."""

    def __init__(self, file: BinaryIO, *, with_ids: bool) -> None:
        self._with_ids = with_ids
        self._columns = ColumnWriter(file, document_schema(with_ids=with_ids))
        self._files: dict[str, SourceFile] = {}
        self._groups: list[tuple[Key, int]] = []

    def add(self, group: DocumentGroup, num_tokens: np.ndarray) -> None:
        """Adds the documents of a group; `num_tokens` are their lengths, int64 [N]."""
        batches = group.batches
        self._files |= {batch.file.path: batch.file for batch in batches}
        self._groups.append((group.key, len(num_tokens)))
        places = np.repeat(np.arange(len(batches), dtype=np.int32), [len(batch.texts) for batch in batches])
        self._columns.add(
            {
                "file": pa.DictionaryArray.from_arrays(places, [batch.file.path for batch in batches]),
                "offset": np.concatenate([batch.offsets for batch in batches]),
                "length": np.concatenate([batch.lengths for batch in batches]),
                "num_tokens": num_tokens,
                "text_hash": group.text_hashes,
                **({"id": pa.array([id_ for batch in batches for id_ in batch.ids or ()])} if self._with_ids else {}),
            }
        )

    def close(self) -> None:
        """Ends the file."""
        self._columns.close({**files_metadata(self._files.values()), _GROUPS_KEY: json.dumps(self._groups)})


@contextlib.contextmanager
def write_documents(path: str, *, with_ids: bool = False) -> Iterator[DocumentWriter]:
    """A file of documents, with or without their ids; it appears when the block ends without an error."""
    with storage.atomic_write(path) as file:
        writer = DocumentWriter(file, with_ids=with_ids)
        try:
            yield writer
        finally:
            writer.close()


class PartReader:
    """Reads a part's file of documents, and files of weights beside it, a row group at a time."""

    def __init__(self, documents: str, *weights: str) -> None:
        """Opens the files; raises `UserError` if one of them has other rows."""
        with contextlib.ExitStack() as opened:
            paths = (documents, *weights)
            files = [pq.ParquetFile(opened.enter_context(storage.open_raw(path))) for path in paths]
            self._documents, *self._weights = files
            self._read_metadata(paths)
            self._opened = opened.pop_all()

    def _read_metadata(self, paths: Sequence[str]) -> None:
        documents, *weights = paths
        metadata = self._documents.metadata.metadata
        self.files = files_of(metadata)
        self.groups: list[tuple[Key, int]] = [
            ((file, block), rows) for (file, block), rows in json.loads(metadata[_GROUPS_KEY.encode()])
        ]
        for path, file in zip(weights, self._weights, strict=True):
            if _group_rows(file) != _group_rows(self._documents):
                raise UserError(f"{path} and {documents} have different rows; delete both folders and run again")

    @property
    def has_ids(self) -> bool:
        """Whether the documents' ids are kept."""
        return ID_FIELD.name in self._documents.schema_arrow.names

    def __enter__(self) -> "PartReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def row_groups(self, columns: Sequence[str] | None = None) -> Iterator[tuple[pa.Table, list[np.ndarray]]]:
        """Each row group: the documents (all columns, or those named), and each file's weights, float64 [N, T]."""
        for number in range(self._documents.num_row_groups):
            documents = self._documents.read_row_group(
                number, columns=None if columns is None else list(columns), use_threads=False
            )
            yield documents, [weight_array(file.read_row_group(number)["weight"]) for file in self._weights]

    def document_groups(self) -> Iterator[tuple[Key, pa.Table]]:
        """Each group's key, and the `file`, `offset`, `length` and `text_hash` of its documents."""
        groups = iter(self.groups)
        for table, _ in self.row_groups(("file", "offset", "length", "text_hash")):
            start = 0
            while start < len(table):
                key, rows = next(groups)
                yield key, table.slice(start, rows)
                start += rows


def _group_rows(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
