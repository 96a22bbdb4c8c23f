import dataclasses
import gzip
import shutil

import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import find_user_error
from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.embed import WriteEmbeddings, load_shards
from hir_transforms.embeddings.lookup import LookUpEmbeddings
from hir_transforms.embeddings.shards import read_shard
from hir_transforms.embeddings.source import find_embeddings
from tests.helpers.corpora import jsonl

DIM = 5


@pytest.fixture(params=["plain", "gzip"])
def raw(request, tmp_path):
    """A dataset of a file of several blocks, files of a few lines, and files without a document."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, count in {"a": 3, "b": 3000, "c": 0, "d": 7, "e": 1}.items():
        content = b"no json\n\n" + jsonl(f"{name} {number} " + "x" * 60 for number in range(count))
        if request.param == "gzip":
            (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{name}.jsonl").write_bytes(content)
    return Dataset("raw", (f"{folder}/*",))


NUM_DOCUMENTS = 3011
ROWS = np.random.default_rng(1).normal(size=(NUM_DOCUMENTS, DIM)).astype(np.float32)


def embed(dataset, work, source):
    stage = Stage.create("embeddings/raw", str(work), source, [dataset])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | WriteEmbeddings(stage, LookUpEmbeddings(stage, stage.settings), max_task_blocks=4)
    return stage


def given(path):
    return find_embeddings(Dataset("raw_embeddings", (str(path),)))


def rows_in(stage):
    return np.concatenate([batch.rows for shard in load_shards(stage) for batch in read_shard(shard.path)])


def error_of(*arguments):
    with pytest.raises(Exception, match=r".") as caught:
        embed(*arguments)
    return find_user_error(caught.value)


def test_each_document_gets_its_row_by_order_and_by_place(raw, tmp_path):
    (tmp_path / "given").mkdir()
    for name, part in zip("abc", np.split(ROWS, [2, 1500]), strict=True):
        np.save(tmp_path / "given" / f"{name}.npy", part)
    stage = embed(raw, tmp_path / "one", given(tmp_path / "given"))
    assert len(load_shards(stage)) > 3
    np.testing.assert_array_equal(rows_in(stage), ROWS)
    again = embed(raw, tmp_path / "two", given(stage.folder))
    np.testing.assert_array_equal(rows_in(again), ROWS)
    for shard in load_shards(stage):
        assert shard.path.replace("/one/", "/two/") in {other.path for other in load_shards(again)}


def test_shards_know_their_documents_in_a_part_of_the_dataset_moved_elsewhere(raw, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    stage = embed(raw, tmp_path / "one", given(tmp_path / "rows.npy"))
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "raw", moved)
    for path in moved.glob("a.*"):
        path.unlink()
    found = embed(Dataset("raw", (f"{moved}/*",)), tmp_path / "two", given(stage.folder))
    np.testing.assert_array_equal(rows_in(found), ROWS[3:])


def test_rows_that_are_not_finite_stay_rejected_when_shards_are_given(raw, tmp_path):
    rows = ROWS.copy()
    rows[[0, 700], 2] = np.nan, np.inf
    np.save(tmp_path / "rows.npy", rows)
    stage = embed(raw, tmp_path / "one", given(tmp_path / "rows.npy"))
    again = embed(raw, tmp_path / "two", given(stage.folder))
    for one in (stage, again):
        assert one.counts()["documents"] == NUM_DOCUMENTS - 2
        np.testing.assert_array_equal(rows_in(one), np.delete(rows, [0, 700], axis=0))
        rejects = [path.read_text() for path in (tmp_path / one.folder / "rejected").glob("raw-embedding-*")]
        assert sum(text.count("embedding is not finite") for text in rejects) == 2


@pytest.mark.parametrize("num_rows", [NUM_DOCUMENTS - 1, NUM_DOCUMENTS + 5])
def test_another_number_of_rows_is_an_error(raw, tmp_path, num_rows):
    np.save(tmp_path / "rows.npy", np.zeros((num_rows, DIM)))
    message = error_of(raw, tmp_path / "work", given(tmp_path / "rows.npy"))
    assert message.startswith(
        f"--raw_embeddings: {num_rows} rows in {tmp_path}/rows.npy, but {NUM_DOCUMENTS} documents"
    )


def test_shards_of_two_models_are_an_error(raw, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    source = given(tmp_path / "rows.npy")
    stage = embed(raw, tmp_path / "one", source)
    assert {batch.model for batch in read_shard(load_shards(stage)[0].path)} == {""}
    other = embed(raw, tmp_path / "two", dataclasses.replace(source, model="m", revision="r"))
    shutil.copy(load_shards(other)[-1].path, stage.folder)
    assert "is of the model m (r, 5 numbers a row), others of" in error_of(raw, tmp_path / "w", given(stage.folder))


def test_a_document_without_a_row_in_the_shards_is_an_error(raw, tmp_path):
    np.save(tmp_path / "rows.npy", ROWS)
    stage = embed(raw, tmp_path / "one", given(tmp_path / "rows.npy"))
    last = load_shards(stage)[-1].path
    (tmp_path / "one" / "embeddings" / "raw" / last.rpartition("/")[2]).unlink()
    assert "has rows for 0 of" in error_of(raw, tmp_path / "two", given(stage.folder))


def test_an_edited_text_gets_no_row_of_the_old_one(tmp_path):
    texts = [f"text {number}" for number in range(9)]
    path = tmp_path / "raw.jsonl"
    path.write_bytes(jsonl(texts))
    dataset = Dataset("raw", (str(path),))
    rows = ROWS[:9].copy()
    rows[7] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    stage = embed(dataset, tmp_path / "one", given(tmp_path / "rows.npy"))
    for edited in (3, 7):  # the one has a row, the other's was not finite
        path.write_bytes(jsonl([*texts[:edited], f"TEXT {edited}", *texts[edited + 1 :]]))
        message = error_of(dataset, tmp_path / f"edited-{edited}", given(stage.folder))
        offset = len(jsonl(texts[:edited]))
        assert f"has a row of another text than that at offset {offset} of {path}; embed the dataset again" in message
