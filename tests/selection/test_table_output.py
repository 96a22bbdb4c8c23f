import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.selection.picked import PickedFile
from hir_transforms.selection.table_output import common_schema, read_schema, write_rows, write_schema
from hir_transforms.weights.parts import files_metadata
from tests.helpers.corpora import source_file


def picked(folder, *tables):
    """A picked file of rows of tables, and these as known files."""
    files = []
    for index, table in enumerate(tables):
        pq.write_table(table, folder / f"{index}.parquet")
        files.append(source_file(folder / f"{index}.parquet", index))
    path = folder / "picked"
    pq.write_table(pa.table({"file": ["x"]}).replace_schema_metadata(files_metadata(files)), path)
    return [PickedFile(0, 0, str(path), 0, (1,), (1,))], KnownFiles(files)


ONE = pa.table({"text": ["a"], "n": pa.array([1], pa.int32())}).replace_schema_metadata({"huggingface": "{}"})
OTHER = pa.table({"n": pa.array([None], pa.null()), "more": [[1.5]], "text": ["b"]})


def test_files_of_several_schemas_are_written_in_one(tmp_path):
    schema = common_schema(*picked(tmp_path, ONE, OTHER))
    assert schema.names == ["text", "n", "more"]
    assert schema.types == [pa.string(), pa.int32(), pa.list_(pa.float64())]
    assert schema.metadata == {b"huggingface": b"{}"}
    write_schema(schema, str(tmp_path))
    assert read_schema(str(tmp_path)).equals(schema, check_metadata=True)
    written = io.BytesIO()
    write_rows([OTHER, ONE], schema, written, "zstd")
    table = pq.read_table(written)
    assert table.to_pydict() == {"text": ["b", "a"], "n": [None, 1], "more": [[1.5], None]}
    assert table.schema.equals(schema)
    assert json.loads(table.schema.metadata[b"huggingface"]) == {}


def test_a_column_of_two_types_is_one_clear_line(tmp_path):
    wanted = r"^the column 'n' of .*1\.parquet is string, in other files int32; --output_format jsonl can write both$"
    with pytest.raises(UserError, match=wanted):
        common_schema(*picked(tmp_path, ONE, pa.table({"text": ["b"], "n": ["1"]})))


def test_only_files_that_were_scored_are_opened(tmp_path):
    files, _ = picked(tmp_path, ONE)
    with pytest.raises(UserError, match="is not as such one of the dataset"):
        common_schema(files, KnownFiles([]))


def test_row_groups_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("hir_transforms.selection.table_output._GROUP_ROWS", 10)
    written = io.BytesIO()
    write_rows([ONE] * 25, ONE.schema, written, "none")
    metadata = pq.read_metadata(written)
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [10, 10, 5]
