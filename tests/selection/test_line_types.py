import json
from typing import Any

import pyarrow as pa
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.selection.line_types import merge_schemas, schema_of_lines, tables_of_lines

RECORDS: list[dict[str, Any]] = [
    {"text": "a", "n": 1, "doc": {"b": 1}, "tags": [], "gone": None},
    {"n": 2.5, "text": "b", "doc": {"a": ["x"], "b": None}, "more": True},
    {"text": "c", "tags": [{"k": 1}], "day": "2020-01-31T12:00:00"},
]
TYPES = {
    "text": pa.string(),
    "n": pa.float64(),
    "doc": pa.struct([("b", pa.int64()), ("a", pa.list_(pa.string()))]),
    "tags": pa.list_(pa.struct([("k", pa.int64())])),
    "gone": pa.null(),
    "more": pa.bool_(),
    "day": pa.string(),
}


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


@pytest.mark.parametrize("pieces", [[lines(*RECORDS)], [lines(record) for record in RECORDS]], ids=["one", "many"])
def test_the_types_are_those_of_all_values_however_lines_are_cut(pieces):
    schema = schema_of_lines(pieces)
    assert schema == pa.schema([*TYPES.items()])
    table = pa.concat_tables(tables_of_lines(pieces, schema))
    expected = pa.Table.from_pylist([{name: record.get(name) for name in TYPES} for record in RECORDS], schema=schema)
    assert table == expected
    assert merge_schemas(schema_of_lines([piece]) for piece in pieces) == schema


def test_the_types_of_shards_are_merged_in_order():
    assert merge_schemas(
        [pa.schema([("b", pa.null())]), pa.schema([("a", pa.int64()), ("b", pa.string())])]
    ) == pa.schema([("b", pa.string()), ("a", pa.int64())])
    assert merge_schemas([]) == pa.schema([])


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([1, "a"], "Could not convert 'a'|int64 and string"),
        ([True, 1], "Could not convert 1 |bool and int64"),
        ([[1], {"a": 1}], "cannot mix|list<item: int64> and struct"),
        ([2**70], "int too large"),
        (["\ud800"], "surrogates not allowed"),
    ],
)
def test_values_of_several_types_are_one_line(values, what):
    message = (
        rf"^--output_format: the field 'x' of the selected lines holds .* not of one type \(.*({what}).*\); jsonl can"
    )
    for pieces in ([lines(*({"x": value} for value in values))], [lines({"x": value}) for value in values]):
        with pytest.raises(UserError, match=message):
            schema_of_lines(pieces)


def test_a_number_that_a_column_does_not_hold_is_one_line():
    pieces = [lines({"x": 2**60 + 1}), lines({"x": 0.5})]
    schema = schema_of_lines(pieces)
    with pytest.raises(UserError, match=r"the field 'x' of the selected lines holds .* outside of the range exactly"):
        list(tables_of_lines(pieces, schema))


def test_keys_that_are_data_are_no_columns():
    for pieces in ([lines({str(number): 1 for number in range(2001)})], [lines({str(n): 1}) for n in range(2001)]):
        with pytest.raises(UserError, match=r"more than 2000 different fields; jsonl can write them$"):
            schema_of_lines(pieces)
