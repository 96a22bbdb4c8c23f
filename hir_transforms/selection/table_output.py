"""Selected rows of tables as Parquet files, all of one schema."""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.common.errors import UserError
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.files.tables import open_table
from hir_transforms.selection.picked import PickedFile, files_of_picked

_SCHEMA = "schema.arrow"
_OPEN_FILES = 16
# What a row group of an output file holds, in memory.
_GROUP_BYTES = 64 << 20
_GROUP_ROWS = 1 << 20


def common_schema(picked: Sequence[PickedFile], known_files: KnownFiles) -> pa.Schema:
    """The columns of all files that rows were picked of, in the order in which the first file has them.

    A file without one of the columns has nulls there; metadata, such as of pandas, are those of the first file.

    Raises:
        UserError: for a column that has different types in two files.
    """
    with ThreadPoolExecutor(_OPEN_FILES) as pool:
        listed = pool.map(files_of_picked, [file.path for file in picked])
        files = sorted({file for some in listed for file in some}, key=lambda file: file.index)
        for file in files:
            known_files.require(file.path, file)
        schemas = pool.map(_schema_of, files)
        common, first = pa.schema([]), ""
        for file, schema in zip(files, schemas, strict=True):
            try:
                common = pa.unify_schemas([common, schema]) if first else schema
            except pa.ArrowException:
                name = next(name for name in schema.names if name in common.names and _differ(common, schema, name))
                raise UserError(
                    f"the column {name!r} of {file.path} is {schema.field(name).type}, in other files "
                    f"{common.field(name).type}; --output_format jsonl can write both"
                ) from None
            first = first or file.path
    check_types(common)
    return common


def check_types(schema: pa.Schema) -> None:
    """Raises `UserError` for types that Arrow has but Parquet has not."""
    for field in schema:
        try:
            pq.write_metadata(pa.schema([field]), io.BytesIO())
        except pa.ArrowException:
            raise UserError(
                f"the column {field.name!r} is {field.type}, which Parquet does not have; "
                "--output_format jsonl can write it"
            ) from None


def _differ(one: pa.Schema, other: pa.Schema, name: str) -> bool:
    try:
        pa.unify_schemas([pa.schema([one.field(name)]), pa.schema([other.field(name)])])
    except pa.ArrowException:
        return True
    return False


def _schema_of(file: SourceFile) -> pa.Schema:
    with open_table(file.path) as table:
        return table.schema


def write_schema(schema: pa.Schema, folder: str) -> None:
    """Keeps a schema in a folder."""
    storage.write_bytes(storage.join(folder, _SCHEMA), schema.serialize().to_pybytes())


def read_schema(folder: str) -> pa.Schema:
    """The schema that is kept in a folder."""
    return pa.ipc.read_schema(pa.py_buffer(storage.read_bytes(storage.join(folder, _SCHEMA))))


def write_rows(tables: Iterable[pa.Table], schema: pa.Schema, file: Any, compression: str) -> None:
    """Writes a Parquet file of the rows, in the columns of the schema."""
    with pq.ParquetWriter(file, schema, compression=compression) as writer:
        for rows in _row_groups(tables, schema):
            writer.write_table(rows, row_group_size=len(rows) or None)


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for table in tables:
        held.append(pa.concat_tables([schema.empty_table(), table], promote_options="default"))
        if sum(rows.nbytes for rows in held) >= _GROUP_BYTES or sum(map(len, held)) >= _GROUP_ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
