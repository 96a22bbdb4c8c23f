import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.shards import write_shard
from hir_transforms.embeddings.source import check_num_rows, check_sources, find_embeddings
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.table import row_table
from tests.helpers.corpora import jsonl
from tests.helpers.embeddings import group_of, rows_of


def given(*patterns):
    return Dataset("raw_embeddings", tuple(map(str, patterns)))


@pytest.fixture
def folder(tmp_path):
    for name, rows in {"b": 3, "a": 2, "c": 0}.items():
        np.save(tmp_path / f"{name}.npy", np.zeros((rows, 4), np.float32))
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "*.npy", "[ab].npy"])
def test_rows_of_several_files_follow_each_other_in_the_order_of_paths(folder, pattern):
    found = find_embeddings(given(folder / pattern))
    assert (found.suffix, found.dim, found.num_rows, found.model) == (".npy", 4, 5, "")
    table = row_table(found.dataset, RowKind.EMBEDDING)
    assert [path.rpartition("/")[2] for path in table.paths][:2] == ["a.npy", "b.npy"]
    assert table.ends[:2] == [2, 5]


def test_a_folder_of_shards_tells_the_model(tmp_path):
    group = group_of([[0, 5]])
    write_shard(str(tmp_path), group, rows_of(group), "m", "r")
    (tmp_path / "_manifest.json").write_text("{}")
    found = find_embeddings(given(tmp_path))
    assert (found.suffix, found.dim, found.num_rows, found.model, found.revision) == (".avro", 3, None, "m", "r")


def test_parquet(tmp_path):
    pq.write_table(pa.table({"e": [[1.0, 2.0]]}), tmp_path / "a.parquet")
    found = find_embeddings(given(tmp_path / "a.parquet"))
    assert (found.suffix, found.dim, found.num_rows) == (".parquet", 2, 1)


def error_of(*patterns):
    with pytest.raises(UserError) as caught:
        find_embeddings(given(*patterns))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors_name_the_flag_and_the_file(folder, tmp_path):
    assert error_of(folder / "x*.npy") == f"--raw_embeddings: no file matches {folder}/x*.npy"
    assert error_of(folder / "c.npy") == f"--raw_embeddings: no rows in {folder}/c.npy"
    np.save(folder / "d.npy", np.zeros((1, 5)))
    assert error_of(folder) == f"--raw_embeddings: rows of 4 numbers in {folder}/a.npy, but of 5 in {folder}/d.npy"
    (folder / "d.npy").unlink()
    pq.write_table(pa.table({"e": [[1.0, 2.0]]}), folder / "a.parquet")
    assert error_of(folder) == f"--raw_embeddings: the folder {folder} holds .npy and .parquet"
    assert "must all be .avro, .npy or .parquet, not .npy, .parquet" in error_of(folder / "a.*")
    (tmp_path / "empty").mkdir()
    assert error_of(tmp_path / "empty").endswith("holds no .avro, .npy or .parquet")
    (tmp_path / "a.csv").write_text("1,2")
    assert error_of(tmp_path / "a.csv").endswith("must all be .avro, .npy or .parquet, not .csv")
    (tmp_path / "empty.avro").write_bytes(b"")
    assert "empty.avro is not a complete shard of embeddings" in error_of(tmp_path / "empty.avro")


def test_raw_and_target_must_be_of_one_model(tmp_path):
    found = {}
    for name, dim, revision in (("a", 3, "1"), ("b", 3, "2"), ("c", 4, "1")):
        group = group_of([[0, 5]])
        write_shard(str(tmp_path / name), group, rows_of(group, dim), "m", revision)
        found[name] = find_embeddings(given(tmp_path / name))
    np.save(tmp_path / "d.npy", np.zeros((2, 3)))
    unknown = find_embeddings(given(tmp_path / "d.npy"))
    for raw, target in (("a", "a"), ("b", "b")):
        check_sources(found[raw], found[target])
        check_sources(unknown, found[target])
    check_sources(found["a"], EmbeddingModel("name", "hub", "1"))
    with pytest.raises(UserError, match=r"raw's are of m \(1\), the target's of m \(2\)"):
        check_sources(found["a"], found["b"])
    with pytest.raises(UserError, match=r"raw's are of name \(1\), the target's of m \(2\)"):
        check_sources(EmbeddingModel("name", "hub", "1"), found["b"])
    with pytest.raises(UserError, match="raw's rows have 4 numbers, the target's 3"):
        check_sources(found["c"], unknown)


@pytest.mark.parametrize("lines", [b"", b"\n\n", b"no json\n"])
def test_there_must_be_a_row_for_each_usable_line(folder, lines):
    raw = folder / "raw.jsonl"
    raw.write_bytes(lines + jsonl("abcde"))
    check_num_rows(find_embeddings(given(folder)), Dataset("raw", (str(raw),)))
    raw.write_bytes(lines + jsonl("abcd"))
    with pytest.raises(UserError, match=r"--raw_embeddings: 5 rows in .*/\*\.npy, but 4 documents in .*/raw\.jsonl;"):
        check_num_rows(find_embeddings(given(folder)), Dataset("raw", (str(raw),)))
