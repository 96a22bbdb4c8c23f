import os
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from hir_transforms.rows.files import RowKind, open_rows

ROWS = np.random.default_rng(0).normal(size=(2500, 3))


def write_npy(path, rows):
    np.save(path, rows)


def write_parquet(path, rows, *, column_type=None, **options):
    column = pa.array(list(rows), column_type or pa.list_(pa.from_numpy_dtype(rows.dtype)))
    pq.write_table(pa.table({"id": np.arange(len(rows)), "embedding": column}), path, **options)


def fixed_size(path, rows):
    write_parquet(path, rows, column_type=pa.list_(pa.from_numpy_dtype(rows.dtype), rows.shape[1]))


WRITERS = {
    "npy": ("rows.npy", write_npy),
    "parquet": ("rows.parquet", write_parquet),
    "parquet of row groups": ("rows.parquet", lambda path, rows: write_parquet(path, rows, row_group_size=700)),
    "parquet of fixed-size lists": ("rows.parquet", fixed_size),
    "parquet of large lists": (
        "rows.parquet",
        lambda path, rows: write_parquet(path, rows, column_type=pa.large_list(pa.from_numpy_dtype(rows.dtype))),
    ),
}


@pytest.fixture(scope="module", params=WRITERS)
def written(request, tmp_path_factory):
    name, write = WRITERS[request.param]
    path = tmp_path_factory.mktemp("rows") / name
    write(path, ROWS)
    return str(path)


@given(ranges=st.lists(st.tuples(st.integers(0, 2500), st.integers(0, 2500)).map(sorted), min_size=1, max_size=6))
def test_ranges_in_any_order_are_those_of_the_array(written, ranges):
    with closing(open_rows(written)) as rows:
        assert (rows.num_rows, rows.dim) == (2500, 3)
        for begin, end in ranges:
            found = rows.read(begin, end - begin)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, ROWS[begin:end].astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_every_width_of_float(tmp_path, dtype):
    np.save(tmp_path / "a.npy", ROWS.astype(dtype))
    with closing(open_rows(str(tmp_path / "a.npy"))) as rows:
        np.testing.assert_array_equal(rows.read(0, 2500), ROWS.astype(dtype).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_width_of_float_in_parquet(tmp_path, dtype):
    values = ROWS.astype(dtype)
    write_parquet(tmp_path / "a.parquet", values)
    with closing(open_rows(str(tmp_path / "a.parquet"))) as rows:
        np.testing.assert_array_equal(rows.read(7, 90), values[7:97].astype(np.float32))


def test_numbers_too_large_for_float32_become_infinite(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1e300, 1.0]]))
    with closing(open_rows(str(tmp_path / "a.npy"))) as rows:
        assert rows.read(0, 1).tolist() == [[np.inf, 1.0]]


def test_nulls_in_parquet_are_nan(tmp_path):
    column = pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"e": column}), tmp_path / "a.parquet")
    with closing(open_rows(str(tmp_path / "a.parquet"))) as rows:
        np.testing.assert_array_equal(rows.read(0, 3), [[1, 2], [np.nan, np.nan], [3, np.nan]])


@pytest.mark.parametrize("name", ["a.npy", "a.parquet"])
def test_a_file_without_rows(tmp_path, name):
    rows = np.empty((0, 3), np.float32)
    (write_npy if name.endswith("npy") else write_parquet)(tmp_path / name, rows)
    with closing(open_rows(str(tmp_path / name))) as opened:
        assert opened.num_rows == 0
        assert len(opened.read(0, 0)) == 0


def test_rows_in_an_object_store(memory_store, tmp_path):
    for name, write in {"a.npy": write_npy, "a.parquet": write_parquet}.items():
        write(tmp_path / name, ROWS)
        storage.write_bytes(f"mem://bucket/{name}", (tmp_path / name).read_bytes())
        with closing(open_rows(f"mem://bucket/{name}")) as rows:
            np.testing.assert_array_equal(rows.read(1200, 3), ROWS[1200:1203].astype(np.float32))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"holds float64 \[4\], not floats with one row for each document"),
        (np.zeros((2, 2, 2)), r"holds float64 \[2, 2, 2\]"),
        (np.zeros((2, 2), int), r"holds int64 \[2, 2\]"),
        (np.zeros((2, 0)), r"holds float64 \[2, 0\]"),
        (np.zeros((2, 2), object), r"holds object \[2, 2\]"),
        (np.asfortranarray(ROWS), "is stored column by column"),
    ],
    ids=["vector", "cube", "integers", "no columns", "pickles", "column-major"],
)
def test_an_array_of_another_kind_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=message):
        open_rows(str(tmp_path / "a.npy"))


@pytest.mark.parametrize("name", ["a.npy", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"neither one nor the other"])
def test_a_file_of_another_format_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is not a (\.npy|Parquet) file"):
        open_rows(str(tmp_path / name))


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("name", ["a.npy", "a.parquet"])
def test_a_file_that_is_refused_is_closed(tmp_path, name):
    np.save(tmp_path / "a.npy", np.zeros((2, 2), int))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    before = open_files()
    with pytest.raises(UserError) as caught:  # holds all that the failed call has left
        open_rows(str(tmp_path / name))
    assert caught.value
    assert open_files() == before


def test_a_file_that_ends_early_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    (tmp_path / "b.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(UserError, match=r"b\.npy holds 59999 bytes of rows, not 60000; it is not complete"):
        open_rows(str(tmp_path / "b.npy"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0]}, "has 0 columns of lists of floats"),
        ({"a": [[1.0]], "b": [[1.0]]}, "has 2 columns of lists of floats"),
        ({"a": pa.array([None], pa.list_(pa.float32()))}, "its first 1 rows are null or empty"),
    ],
    ids=["none", "two", "null"],
)
def test_a_table_of_another_kind_is_refused(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        open_rows(str(tmp_path / "a.parquet"))


def test_rows_of_different_lengths_in_one_table_are_refused(tmp_path):
    pq.write_table(pa.table({"a": [[1.0, 2.0], [3.0]]}), tmp_path / "a.parquet")
    message = "has rows of 2 numbers and rows of 1"
    with closing(open_rows(str(tmp_path / "a.parquet"))) as rows, pytest.raises(UserError, match=message):
        rows.read(0, 2)


def test_weights_are_float64_and_may_be_one_number_a_row(tmp_path):
    weights = np.random.default_rng(1).normal(size=2500)
    np.save(tmp_path / "flat.npy", weights)
    np.save(tmp_path / "column.npy", weights[:, np.newaxis])
    pq.write_table(pa.table({"id": np.arange(2500), "w": weights}), tmp_path / "flat.parquet", row_group_size=700)
    pq.write_table(pa.table({"w": list(weights[:, np.newaxis])}), tmp_path / "lists.parquet")
    for name in ("flat.npy", "column.npy", "flat.parquet", "lists.parquet"):
        with closing(open_rows(str(tmp_path / name), RowKind.WEIGHTS)) as rows:
            assert (rows.num_rows, rows.dim) == (2500, 1)
            np.testing.assert_array_equal(rows.read(600, 1500), weights[600:2100, np.newaxis], strict=True)
    with pytest.raises(UserError, match="one row for each document"):
        open_rows(str(tmp_path / "flat.npy"))
    with pytest.raises(UserError, match="0 columns of lists of floats"):
        open_rows(str(tmp_path / "flat.parquet"))
