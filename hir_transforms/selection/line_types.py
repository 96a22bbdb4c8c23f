"""Types of the fields of JSON lines, found in the values themselves, so that lines can be written as Parquet."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from hir_transforms.common.errors import UserError, one_line
from hir_transforms.documents.jsonl import parse_object

# Objects whose keys are data, not names, would make a column of each key.
_MOST_COLUMNS = 2_000


def schema_of_lines(pieces: Iterable[bytes]) -> pa.Schema:
    """The columns that hold all fields of JSON lines, in the order in which they first appear.

    Integers are int64, and double where other values of the field have fractions; what lines lack is null.
    A piece of lines at a time is in memory.

    Raises:
        UserError: for a field that holds values of different types, or more fields than a table can have.
    """
    schema = pa.schema([])
    for piece in pieces:
        records = _records(piece)
        names = dict.fromkeys(name for record in records for name in record)
        if len(names) > _MOST_COLUMNS:
            raise _too_many()
        schema = merge_schemas([schema, pa.schema([(name, _type_of(name, records)) for name in names])])
    return schema


def merge_schemas(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema for what has these; raises `UserError` as `schema_of_lines` does."""
    merged: dict[str, pa.Field] = {}
    for field in (field for schema in schemas for field in schema):
        before = merged.get(field.name, field)
        try:
            (merged[field.name],) = pa.unify_schemas(
                [pa.schema([before]), pa.schema([field])], promote_options="permissive"
            )
        except pa.ArrowException:
            raise _mixed(field.name, f"{before.type} and {field.type}") from None
        if len(merged) > _MOST_COLUMNS:
            raise _too_many()
    return pa.schema(list(merged.values()))


def tables_of_lines(pieces: Iterable[bytes], schema: pa.Schema) -> Iterator[pa.Table]:
    """JSON lines as rows, a piece at a time; raises `UserError` for a value that its column does not hold."""
    for piece in pieces:
        records = _records(piece)
        columns = [_array(field.name, [record.get(field.name) for record in records], field.type) for field in schema]
        yield pa.Table.from_arrays(columns, schema=schema)


def _records(piece: bytes) -> list[dict[str, Any]]:
    return [parse_object(line) for line in piece.split(b"\n") if line]


def _type_of(name: str, records: Sequence[dict[str, Any]]) -> pa.DataType:
    return _array(name, [record.get(name) for record in records]).type


def _array(name: str, values: list[Any], type_: pa.DataType | None = None) -> pa.Array:
    try:
        return pa.array(values, type_)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
        raise _mixed(name, one_line(error)) from None


def _mixed(name: str, what: str) -> UserError:
    return UserError(
        f"--output_format: the field {name!r} of the selected lines holds values that are not of one type ({what}); "
        "jsonl can write them"
    )


def _too_many() -> UserError:
    return UserError(
        f"--output_format: the selected lines have more than {_MOST_COLUMNS} different fields; jsonl can write them"
    )
