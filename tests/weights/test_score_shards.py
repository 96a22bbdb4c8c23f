import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.documents.records import SourceFile
from hir_transforms.weights import parts
from hir_transforms.weights.parts import weight_column
from hir_transforms.weights.score_shards import read_scores, write_scores

FILES = [SourceFile(index, f"/dätä/{index}.jsonl", f"{index}.jsonl", 1, 0.0) for index in (3, 4, 9)]


def columns_of(places, seed=0, num_targets=1):
    """Columns of documents whose files are at these places of `FILES`."""
    generator = np.random.default_rng(seed)
    size = len(places)
    return {
        "file": pa.array([FILES[place].path for place in places], pa.string()),
        "offset": generator.integers(0, 2**50, size),
        "length": generator.integers(0, 2**30, size),
        "num_tokens": generator.integers(0, 2**31, size).astype(np.int32),
        "text_hash": generator.integers(0, 2**64, size, np.uint64),
        "ngram": weight_column(generator.normal(size=(size, num_targets))),
        "weight": weight_column(generator.normal(size=(size, num_targets))),
    }


def write(path, *groups, num_targets=1):
    with write_scores(str(path), FILES, num_targets) as writer:
        for columns in groups:
            writer.add(columns)


@pytest.mark.parametrize("num_targets", [1, 3])
@given(places=st.lists(st.integers(0, 2), min_size=1, max_size=20), seed=st.integers(0, 100))
def test_rows_come_back_as_written(tmp_path_factory, num_targets, places, seed):
    path = str(tmp_path_factory.mktemp("scores") / "part.parquet")
    columns = columns_of(places, seed, num_targets)
    write(path, columns, num_targets=num_targets)
    rows = read_scores(path)
    assert rows.files == FILES
    assert rows.file.tolist() == places
    for name in ("offset", "length", "num_tokens"):
        np.testing.assert_array_equal(getattr(rows, name), columns[name], strict=True)
    expected = np.array(columns["weight"].to_pylist()).reshape(-1, num_targets)
    np.testing.assert_array_equal(rows.weight, expected, strict=True)


def test_infinite_weights_are_kept(tmp_path):
    weights = np.array([[-np.inf], [np.inf], [-0.0]])
    write(tmp_path / "part", columns_of([0, 1, 2]) | {"weight": weight_column(weights)})
    assert read_scores(str(tmp_path / "part")).weight.tobytes() == weights.tobytes()


@pytest.mark.parametrize(("num_targets", "type_"), [(1, pa.float64()), (2, pa.list_(pa.float64()))])
def test_the_columns_are_those_promised(tmp_path, num_targets, type_):
    path = tmp_path / "part.parquet"
    columns = columns_of([0, 0, 2], num_targets=num_targets)
    write(path, columns, num_targets=num_targets)
    table = pq.read_table(path)
    assert [(field.name, field.type) for field in table.schema] == [
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("num_tokens", pa.int32()),
        ("text_hash", pa.uint64()),
        ("ngram", type_),
        ("gmm", type_),
        ("weight", type_),
    ]
    assert table["file"].to_pylist() == ["/dätä/3.jsonl", "/dätä/3.jsonl", "/dätä/9.jsonl"]
    assert table["text_hash"].to_pylist() == columns["text_hash"].tolist()
    assert table["ngram"].to_pylist() == columns["ngram"].to_pylist()
    assert table["gmm"].null_count == 3


def test_equal_shards_are_equal_bytes(tmp_path):
    for name in ("one", "other"):
        write(tmp_path / name, columns_of([0, 1, 1]))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_shard_of_many_row_groups(tmp_path, monkeypatch):
    """Row groups whose dictionaries of files differ."""
    monkeypatch.setattr(parts, "ROWS_PER_GROUP", 5)
    groups = [columns_of([place] * size, seed) for seed, (place, size) in enumerate([(0, 3), (2, 4), (1, 6), (1, 1)])]
    write(tmp_path / "part", *groups)
    assert pq.ParquetFile(tmp_path / "part").num_row_groups == 3
    rows = read_scores(str(tmp_path / "part"))
    assert rows.file.tolist() == [0] * 3 + [2] * 4 + [1] * 7
    np.testing.assert_array_equal(rows.offset, np.concatenate([columns["offset"] for columns in groups]))


def test_shards_in_an_object_store(memory_store):
    columns = columns_of([1, 1])
    write("mem://bucket/scores/part.parquet", columns)
    rows = read_scores("mem://bucket/scores/part.parquet")
    assert rows.file.tolist() == [1, 1]
    assert rows.offset.tolist() == columns["offset"].tolist()
