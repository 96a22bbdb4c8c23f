import datetime
import json
from decimal import Decimal

import pyarrow as pa
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.selection.json_rows import to_json_lines

DAY = datetime.datetime(2020, 1, 31, 12)
NANOSECONDS = 1_580_472_000_123_456_789


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array(["é"]), "é"),
        (pa.array([2**63 - 1]), 2**63 - 1),
        (pa.array([float("nan")]), None),
        (pa.array([None], pa.null()), None),
        (pa.array([True]), True),
        (pa.array([b"\xff"]), "/w=="),
        (pa.array([DAY], pa.timestamp("s")), "2020-01-31 12:00:00"),
        (pa.array([NANOSECONDS], pa.timestamp("ns")), "2020-01-31 12:00:00.123456789"),
        (pa.array([DAY], pa.timestamp("s", tz="UTC")), "2020-01-31 12:00:00Z"),
        (pa.array([DAY.date()]), "2020-01-31"),
        (pa.array([1], pa.time64("ns")), "00:00:00.000000001"),
        (pa.array([1001], pa.duration("ns")), 1001),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([DAY]).dictionary_encode(), "2020-01-31 12:00:00.000000"),
        (
            pa.array([[{"t": DAY, "u": [DAY]}]]),
            [{"t": "2020-01-31 12:00:00.000000", "u": ["2020-01-31 12:00:00.000000"]}],
        ),
        (pa.array([[NANOSECONDS]], pa.large_list(pa.timestamp("ns"))), ["2020-01-31 12:00:00.123456789"]),
        (pa.array([[1, 2]], pa.list_(pa.time64("ns"), 2)), ["00:00:00.000000001", "00:00:00.000000002"]),
        (pa.array([[("k", DAY)]], pa.map_(pa.string(), pa.timestamp("s"))), [["k", "2020-01-31 12:00:00"]]),
    ],
)
def test_values_of_each_type(column, expected):
    (line,) = to_json_lines(pa.table({"x": column, "y": [1]}), "a.parquet").splitlines()
    assert json.loads(line) == {"x": expected, "y": 1}
    assert json.loads(to_json_lines(pa.table({"x": pa.nulls(1, column.type)}), "a.parquet")) == {"x": None}


def test_decimals_keep_their_digits():
    assert (
        to_json_lines(pa.table({"x": [Decimal("12345678901234567890.10")]}), "") == b'{"x":12345678901234567890.10}\n'
    )


def test_a_text_that_is_not_utf8_is_told():
    rows = pa.table({"x": pa.array([b"\xff"]).view(pa.string())})
    with pytest.raises(UserError, match=r"^a\.parquet: a selected row has a text that is not UTF-8"):
        to_json_lines(rows, "a.parquet")
