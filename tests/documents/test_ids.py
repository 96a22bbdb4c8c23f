import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.common.errors import UserError
from hir_transforms.documents.ids import IdParser

# `msgspec` refuses a line with one of these; then `json` parses it.
OTHER_FIELDS = st.sampled_from(["", ',"x":NaN', ',"x":"\\ud800"', ',"x":[-Infinity]'])


def id_of(line, field="id"):
    return IdParser(field).parse(line.encode())


@given(st.text(), OTHER_FIELDS, st.booleans())
def test_strings_are_themselves(text, other, ascii_only):
    assert id_of(f'{{"id":{json.dumps(text, ensure_ascii=ascii_only)}{other}}}') == text


@pytest.mark.parametrize("other", ["", ',"x":NaN'])
@pytest.mark.parametrize("number", ["0", "-1", "1.50", "1e5", "1E+400", "12345678901234567890123", "9" * 5000])
def test_numbers_are_as_they_are_written(number, other):
    assert id_of(f'{{"text":"a", "id" : {number} {other}}}') == number


@pytest.mark.parametrize("other", ["", ',"x":NaN'])
@pytest.mark.parametrize("value", ["null", "true", "[1]", '{"a":1}', '"\\ud800"'])
def test_everything_else_is_no_id(value, other):
    assert id_of(f'{{"id":{value}{other}}}') is None
    assert id_of(f'{{"text":"a"{other}}}') is None


def test_other_ways_to_write_a_line():
    assert id_of('\ufeff{"id":"a"}') == "a"
    assert id_of(' {"\\u0069d":"a","id":"b"}\r') == "b"
    assert id_of('{"doc id":3}', "doc id") == "3"


def test_a_field_that_cannot_be_looked_for_is_an_error():
    with pytest.raises(UserError, match=r"^--id_field: 'a\"b' holds"):
        IdParser('a"b')
