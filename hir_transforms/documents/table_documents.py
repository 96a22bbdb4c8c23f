"""Rows of tables to documents: a row of a Parquet or an Arrow file is one, as a line of a JSON lines file is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleParser
from hir_transforms.documents.jsonl import EXCERPT_CHARACTERS, BadLineError
from hir_transforms.documents.records import Block, DocumentBatch, Reject, SourceFile
from hir_transforms.documents.text_fields import SEPARATOR, field_names
from hir_transforms.files.row_groups import RowGroup, RowReader, Table
from hir_transforms.files.tables import open_table

# Each part of a row group decodes all of it up to its own end, many times faster than anything is done with the text.
_PARTS_OF_ROW_GROUP = 4


class TableDocuments:
    """Reads the documents of tables, with the ids in `id_field` if that is given."""

    def __init__(self, dataset: Dataset, id_field: str | None = None) -> None:
        self._dataset = dataset
        self._names = field_names(dataset.text_field)
        self._parser = ExampleParser(dataset) if dataset.parse_example_fn else None
        self._id_field = id_field

    def read(
        self, file: SourceFile, part: int, parts: int, block_size: int, keeps: Callable[[Block], bool]
    ) -> Iterator[tuple[DocumentBatch, list[Reject]]]:
        """The documents of each block in a part of a file that `keeps` accepts, and its rejected rows.

        A block is rows of one row group, with about `block_size` bytes of text.
        """
        with open_table(file.path) as table:
            columns = self._columns(table)
            reader = RowReader(table, columns, block_size)
            for number, first, rows in _blocks_of(table.row_groups(columns), part, parts, block_size):
                block = Block(file, number)
                if keeps(block):
                    yield self._documents(block, first, reader.read(first, rows))

    def reader(self, table: Table, batch_bytes: int) -> RowReader:
        """Reads what `excerpt` takes."""
        return RowReader(table, self._columns(table), batch_bytes)

    def excerpt(self, rows: pa.Table, row: int) -> str:
        """The first characters of a row's text; of all of it, where a function makes the text."""
        if self._parser:
            return str(_example(rows.slice(row, 1)) or rows.schema.names)[:EXCERPT_CHARACTERS]
        return SEPARATOR.join(_shown(_column(rows, name), row) for name in self._names)[:EXCERPT_CHARACTERS]

    def text(self, rows: pa.Table, row: int) -> str | None:
        """A row's text, None for a row that has none; raises `BadLineError` where a function makes none of it."""
        if self._parser:
            example = _example(rows.slice(row, 1))
            return None if example is None else self._parser.parse(example)
        return _join(tuple(_to_list(_as_strings(_column(rows, name).slice(row, 1)))[0] for name in self._names))

    def id(self, rows: pa.Table, row: int) -> str | None:
        """A row's id; None for a row that has none."""
        return self._ids(rows.slice(row, 1))[0]

    def _columns(self, table: Table) -> list[str] | None:
        """The columns to read, None for all; raises `UserError` where one of the text is missing."""
        if self._parser:
            return None
        for name in self._names:
            if not _has_column(table.schema, name):
                names = ", ".join(table.schema.names)
                raise UserError(
                    f"{table.path} has no column {name!r} but {names}; --text_field names that of the text, and "
                    "--target_text_field that of the target's"
                )
        has_id = self._id_field in table.schema.names
        return list(dict.fromkeys([*self._names, *([self._id_field] if self._id_field and has_id else [])]))

    def _documents(self, block: Block, first: int, rows: pa.Table) -> tuple[DocumentBatch, list[Reject]]:
        if self._parser:
            return self._parsed(self._parser, block, first, rows)
        columns = [_as_strings(_column(rows, name)) for name in self._names]
        values = [_to_list(column) for column in columns]
        texts = values[0] if len(values) == 1 else [*map(_join, zip(*values, strict=True))]
        lengths = sum(pc.fill_null(pc.binary_length(column), 0).to_numpy().astype(np.int64) for column in columns)
        lengths += len(SEPARATOR) * (len(columns) - 1)
        offsets = np.arange(first, first + len(texts), dtype=np.int64)
        ids = self._ids(rows) if self._id_field else None
        good = lengths <= self._dataset.max_document_bytes
        if None in texts:
            good &= [text is not None for text in texts]
        kept = [text for text, is_good in zip(texts, good.tolist(), strict=True) if text is not None and is_good]
        kept_ids = [ids[row] for row in np.flatnonzero(good)] if ids else ids
        rejects = [
            self._reject(block, first, rows, row, self._reason(columns, values, row))
            for row in np.flatnonzero(~good).tolist()
        ]
        return DocumentBatch(block.file, block.number, offsets[good], lengths[good], kept, kept_ids), rejects

    def _parsed(
        self, parser: ExampleParser, block: Block, first: int, rows: pa.Table
    ) -> tuple[DocumentBatch, list[Reject]]:
        """The documents whose texts a function makes of rows."""
        texts: dict[int, str] = {}
        lengths: list[int] = []
        rejects: list[Reject] = []
        for row, example in enumerate(_examples(rows)):
            try:
                if example is None:
                    raise BadLineError("a value that Python has no type for")
                text = parser.parse(example)
                length = len(text.encode())
                if length > self._dataset.max_document_bytes:
                    raise BadLineError(f"longer than {self._dataset.max_document_bytes} bytes")
                texts[row] = text
                lengths.append(length)
            except BadLineError as error:
                rejects.append(self._reject(block, first, rows, row, str(error)))
        ids = self._ids(rows) if self._id_field else None
        offsets = np.array([first + row for row in texts], np.int64)
        kept_ids = [ids[row] for row in texts] if ids else ids
        kept = [*texts.values()]
        return DocumentBatch(block.file, block.number, offsets, np.array(lengths, np.int64), kept, kept_ids), rejects

    def _reject(self, block: Block, first: int, rows: pa.Table, row: int, reason: str) -> Reject:
        return Reject(block.file.path, first + row, reason, self.excerpt(rows, row), unit="row")

    def _reason(self, columns: Sequence[pa.ChunkedArray], values: Sequence[list[str | None]], row: int) -> str:
        for name, column, strings in zip(self._names, columns, values, strict=True):
            if strings[row] is None:
                return "invalid UTF-8" if column[row].is_valid else f"field {name!r} is not a string"
        return f"longer than {self._dataset.max_document_bytes} bytes"

    def _ids(self, rows: pa.Table) -> list[str | None]:
        if self._id_field not in rows.column_names:
            return [None] * len(rows)
        column = rows[self._id_field]
        types = pa.types
        if types.is_integer(column.type) or types.is_floating(column.type) or types.is_decimal(column.type):
            column = column.cast(pa.string())
        return _to_list(_as_strings(column))


def _blocks_of(groups: Sequence[RowGroup], part: int, parts: int, block_size: int) -> Iterator[tuple[int, int, int]]:
    """Number in the file, first row and number of rows of each block in one of so many parts of a file.

    A part is whole row groups, or where there are fewer of these than parts, a share of one; further parts are empty.
    """
    number = 0
    shares = min(_PARTS_OF_ROW_GROUP, parts // max(1, len(groups)))
    for place, group in enumerate(groups):
        rows = group.rows_of(block_size)
        count = -(-group.rows // rows)
        if shares:
            share = part - place * shares
            mine = range(share * count // shares, (share + 1) * count // shares) if 0 <= share < shares else range(0)
        else:
            own = part * len(groups) // parts <= place < (part + 1) * len(groups) // parts
            mine = range(count if own else 0)
        for of_group in mine:
            first = of_group * rows
            yield number + of_group, group.first + first, min(rows, group.rows - first)
        number += count


def _examples(rows: pa.Table) -> list[dict[str, Any] | None]:
    """Rows as dicts; None for those with a text that is not UTF-8, or another value that Python has no type for."""
    try:
        return rows.to_pylist()
    except ValueError:
        return [_example(rows.slice(row, 1)) for row in range(len(rows))]


def _example(row: pa.Table) -> dict[str, Any] | None:
    try:
        return row.to_pylist()[0]
    except ValueError:
        return None


def _has_column(schema: pa.Schema, name: str) -> bool:
    if name in schema.names:
        return True
    fields: pa.Schema | pa.StructType = schema
    *outer, last = name.split(".")
    for part in outer:
        if fields.get_field_index(part) < 0 or not pa.types.is_struct(fields.field(part).type):
            return False
        fields = fields.field(part).type
    return fields.get_field_index(last) >= 0


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray:
    """The column of a field, by the same rule as in JSON lines: that of just this name, else a nested one."""
    if name in rows.column_names:
        return rows[name]
    first, *parts = name.split(".")
    column = rows[first]
    for part in parts:
        column = pc.struct_field(column, part)
    return column


def _as_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The strings of a column, of nulls alone where its type is another."""
    types = pa.types
    of = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_string(of) or types.is_large_string(of) or types.is_string_view(of):
        return column if column.type == of and not types.is_string_view(of) else column.cast(pa.large_string())
    return pa.chunked_array([pa.nulls(len(column), pa.string())])


def _to_list(strings: pa.ChunkedArray) -> list[str | None]:
    """The strings; None for null and for invalid UTF-8."""
    try:
        return strings.to_pylist()
    except UnicodeDecodeError:
        return [*map(_decoded, strings.cast(pa.large_binary()).to_pylist())]


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _join(values: tuple[str | None, ...]) -> str | None:
    texts = [value for value in values if value is not None]
    return SEPARATOR.join(texts) if len(texts) == len(values) else None


def _shown(column: pa.ChunkedArray, row: int) -> str:
    value = _as_strings(column.slice(row, 1)).cast(pa.large_binary())[0]
    if value.is_valid:
        return value.as_py()[: 4 * EXCERPT_CHARACTERS].decode(errors="replace")
    try:
        return str(column[row].as_py())
    except ValueError:  # what Python has no type for
        return str(column.type)
