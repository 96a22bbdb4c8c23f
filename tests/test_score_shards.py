import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.records import SourceFile
from hir_transforms.score_shards import ScoredFile, read_parts, read_scores, rewrite_weight, write_scores

FILES = [SourceFile(index, f"/dätä/{index}.jsonl", f"{index}.jsonl", 1, 0.0) for index in (3, 4, 9)]


def columns_of(places, seed=0):
    """Columns of documents whose files are at these places of `FILES`."""
    generator = np.random.default_rng(seed)
    size = len(places)
    return {
        "file": pa.array([FILES[place].path for place in places], pa.string()),
        "offset": generator.integers(0, 2**50, size),
        "length": generator.integers(0, 2**30, size),
        "num_tokens": generator.integers(0, 2**31, size).astype(np.int32),
        "text_hash": generator.integers(0, 2**64, size, np.uint64),
        "ngram": generator.normal(size=size),
        "weight": generator.normal(size=size),
    }


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.integers(0, 100))
def test_rows_come_back_as_written(tmp_path_factory, places, seed):
    path = str(tmp_path_factory.mktemp("scores") / "part.parquet")
    columns = columns_of(places, seed)
    write_scores(path, FILES, columns)
    rows = read_scores(path)
    assert [(file.index, file.path, file.name) for file in rows.files] == [
        (file.index, file.path, file.name) for file in FILES
    ]
    assert rows.file.tolist() == places
    for name in ("offset", "length", "num_tokens"):
        np.testing.assert_array_equal(getattr(rows, name), columns[name], strict=True)
    np.testing.assert_array_equal(rows.weight, columns["weight"][:, np.newaxis], strict=True)


@pytest.mark.parametrize("num_targets", [1, 3])
def test_weights_of_several_targets_and_files_with_size_and_time(tmp_path, num_targets):
    weights = np.random.default_rng(0).normal(size=(5, num_targets))
    table = pa.table(
        {
            "file": ["/a", "/b", "/b", "/a", "/a"],
            **{name: pa.array(range(5), pa.int64()) for name in ("offset", "length", "num_tokens")},
            "weight": weights.tolist(),
        }
    ).replace_schema_metadata({"hir.files": '[[0, "/a", "a", 7, 1.5], [1, "/b", "b"]]'})
    pq.write_table(table, tmp_path / "part.parquet", row_group_size=2)
    rows = read_scores(str(tmp_path / "part.parquet"))
    np.testing.assert_array_equal(rows.weight, weights, strict=True)
    assert rows.file.tolist() == [0, 1, 1, 0, 0]
    assert rows.files == [ScoredFile(0, "/a", "a", 7, 1.5), ScoredFile(1, "/b", "b", None, None)]


def test_parts_are_read_and_weights_rewritten(tmp_path):
    source, path = str(tmp_path / "part.parquet"), str(tmp_path / "other.parquet")
    columns = columns_of([0, 2, 1])
    write_scores(source, FILES, columns)
    num_tokens, ngram, gmm = read_parts(source)
    np.testing.assert_array_equal(num_tokens, columns["num_tokens"])
    np.testing.assert_array_equal(ngram, columns["ngram"])
    assert gmm is None
    rewrite_weight(source, path, np.array([3.0, 2.0, 1.0]))
    write_scores(source, FILES, columns | {"weight": np.array([3.0, 2.0, 1.0])})
    assert (tmp_path / "part.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_infinite_weights_are_kept(tmp_path):
    path = str(tmp_path / "part.parquet")
    write_scores(path, FILES, columns_of([0, 1, 2]) | {"weight": np.array([-np.inf, np.inf, -0.0])})
    assert read_scores(path).weight.tobytes() == np.array([-np.inf, np.inf, -0.0]).tobytes()


def test_the_columns_are_those_promised(tmp_path):
    path = tmp_path / "part.parquet"
    columns = columns_of([0, 0, 2])
    write_scores(str(path), FILES, columns)
    table = pq.read_table(path)
    assert [(field.name, field.type) for field in table.schema] == [
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("num_tokens", pa.int32()),
        ("text_hash", pa.uint64()),
        ("ngram", pa.float64()),
        ("gmm", pa.float64()),
        ("weight", pa.float64()),
    ]
    assert table["file"].to_pylist() == ["/dätä/3.jsonl", "/dätä/3.jsonl", "/dätä/9.jsonl"]
    assert table["text_hash"].to_pylist() == columns["text_hash"].tolist()
    assert table["ngram"].to_pylist() == columns["ngram"].tolist()
    assert table["gmm"].null_count == 3


def test_equal_shards_are_equal_bytes(tmp_path):
    for name in ("one", "other"):
        write_scores(str(tmp_path / name), FILES, columns_of([0, 1, 1]))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_shard_of_many_row_groups(tmp_path):
    """More rows than Parquet puts into one group, whose dictionaries of files differ."""
    path = str(tmp_path / "part.parquet")
    places = np.repeat([0, 2, 1], [1 << 20, 1000, 2000])
    offsets = np.arange(len(places))
    paths = pa.DictionaryArray.from_arrays(places.astype(np.int32), [file.path for file in FILES]).cast(pa.string())
    columns = dict.fromkeys(("length", "num_tokens", "weight"), np.zeros(len(places), np.int32))
    write_scores(path, FILES, {"file": paths, "offset": offsets, **columns})
    assert pq.ParquetFile(path).num_row_groups > 1
    rows = read_scores(path)
    np.testing.assert_array_equal(rows.file, places)
    np.testing.assert_array_equal(rows.offset, offsets)


def test_a_missing_column_is_null_but_offsets_are_needed(tmp_path):
    with pytest.raises(KeyError):
        write_scores(str(tmp_path / "part.parquet"), FILES, {"weight": np.zeros(1)})


def test_shards_in_an_object_store(memory_store):
    columns = columns_of([1, 1])
    write_scores("mem://bucket/scores/part.parquet", FILES, columns)
    rows = read_scores("mem://bucket/scores/part.parquet")
    assert rows.file.tolist() == [1, 1]
    assert rows.offset.tolist() == columns["offset"].tolist()
