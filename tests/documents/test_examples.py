import datetime
import decimal
import json
from pathlib import Path

import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.common.user_functions import user_function
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleLoader, ExampleParser, LoadedLines, line_parser, to_line
from hir_transforms.documents.jsonl import BadLineError, TextParser

RECORDS = [{"text": "a", "number": number} for number in range(3)]


def of_two(path):
    yield from RECORDS[:2]
    raise OSError("the disk\nis gone")


def loaded(function, path="/a"):
    return [*ExampleLoader(user_function(function), "raw").load(path)]


def parser_of(function):
    return ExampleParser(Dataset("raw", (), parse_example_fn=user_function(function)))


def test_records_are_those_of_the_function():
    assert loaded(lambda path: (record | {"path": path} for record in RECORDS), "/x")[2] == RECORDS[2] | {"path": "/x"}
    assert loaded(lambda path: RECORDS) == RECORDS
    assert loaded(lambda path: []) == []


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda path: Path(path, "none").read_text(), r"raised NotADirectoryError: .*none', for /"),
        (lambda path: 3, r"raised TypeError: 'int' object is not iterable, for /"),
        (of_two, r"raised OSError: the disk is gone, at record 2 of /"),
        (lambda path: [{}, "a"], r"gave no dict but str as record 1 of /"),
        (lambda path: {"text": "a"}, r"gave no dict but str as record 0 of /"),
        (lambda: [], r"raised TypeError: .* takes 0 positional arguments but 1 was given, for /"),
    ],
)
def test_what_loads_no_records_is_one_line(tmp_path, function, message):
    path = tmp_path / "a"
    path.touch()
    with pytest.raises(UserError, match=rf"^--raw: \S+( \w+)? {message}") as caught:
        loaded(function, str(path))
    assert "\n" not in str(caught.value)


def test_texts_are_those_of_the_function_or_of_the_fields():
    assert parser_of(lambda example: example["a"] * 2).parse({"a": "b"}) == "bb"
    fields = ExampleParser(Dataset("raw", (), text_field="title,doc.text"))
    assert fields.parse({"title": "t", "doc": {"text": "b"}}) == "t\nb"
    with pytest.raises(BadLineError, match=r"^no field 'doc.text'$"):
        fields.parse({"title": "t"})


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda example: example["a"], r"\S+ \w+ raised KeyError: 'a'"),
        (lambda example: 1 / 0, r"\S+ \w+ raised ZeroDivisionError: division by zero"),
        (lambda example: 5, r"\S+ \w+ gave no text but int"),
        (lambda example: "\ud800", r"the text that \S+ \w+ gave has a lone surrogate"),
    ],
)
def test_a_record_without_a_text_has_a_reason(function, reason):
    with pytest.raises(BadLineError, match=f"^{reason}$"):
        parser_of(function).parse({})


def test_reasons_are_short():
    with pytest.raises(BadLineError) as caught:
        parser_of(lambda example: example["a" * 1000]).parse({})
    assert len(str(caught.value)) == 200


def test_lines_are_parsed_by_the_function_of_their_dataset():
    parser = line_parser(Dataset("raw", (), parse_example_fn=user_function(lambda example: example["n"] * "ab")))
    assert parser.parse(b'\xef\xbb\xbf{"n": 2}') == "abab"
    assert parser.parse_all(b'{"n": 2}', 1) is None
    for line, reason in ((b"{", "not JSON"), (b"[]", "not a JSON object"), (b"[" * 901, "nested deeper")):
        with pytest.raises(BadLineError, match=reason):
            parser.parse(line)
    assert isinstance(line_parser(Dataset("raw", ())), TextParser)


def test_a_line_holds_the_values_of_a_record():
    record = {
        "text": "ä\n",
        "day": datetime.date(2020, 1, 31),
        "price": decimal.Decimal("1.10"),
        "array": np.arange(2),
        "number": np.float32(0.5),
        "tuple": (1, None),
        "bytes": b"ab",
        "nan": float("nan"),
    }
    line = to_line(record)
    assert b"\n" not in line
    plain = {"text": "ä\n", "day": "2020-01-31", "price": 1.1, "array": [0, 1], "number": 0.5}
    assert json.loads(line) == plain | {"tuple": [1, None], "bytes": "YWI=", "nan": None}
    assert b'"price":1.10' in line


@pytest.mark.parametrize("value", [object(), "\ud800", {(1, 2): 3}])
def test_a_value_that_json_has_not_is_a_reason(value):
    with pytest.raises(BadLineError, match=r"^no JSON can be made of the record: "):
        to_line({"a": value})


def test_lines_are_read_again_by_their_numbers():
    lines = LoadedLines(ExampleLoader(user_function(lambda path: RECORDS), "raw"), "/a")
    assert [json.loads(lines.line(number, 23))["number"] for number in (0, 2, 1, 1)] == [0, 2, 1, 1]
    with pytest.raises(UserError, match=r"^/a gives another record 1 than when it was scored; score it again$"):
        lines.line(1, 22)
    with pytest.raises(UserError, match=r"^/a gives 3 records, fewer than when it was scored; score it again$"):
        lines.line(3, 23)
