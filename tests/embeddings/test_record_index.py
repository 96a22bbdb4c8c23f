import itertools

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.records import DocumentBatch, DocumentGroup, SourceFile
from hir_transforms.embeddings.record_index import RecordIndex, WriteRecordIndex
from hir_transforms.embeddings.shards import write_shard
from hir_transforms.embeddings.source import find_embeddings

FILES = 20
BLOCKS = 3
OFFSETS = np.arange(5) * 10


def source(number, folder="/data"):
    name = f"part-{number}.jsonl"
    return SourceFile(number, f"{folder}/{name}", name, 1000, 0.0)


@pytest.fixture
def written(tmp_path):
    """A stage's folder with the index of `FILES` files of `BLOCKS` blocks, of five documents each."""
    for number, block in itertools.product(range(FILES), range(BLOCKS)):
        batch = DocumentBatch(source(number), block, OFFSETS + 100 * block, np.full(5, 9), ["text"] * 5)
        group = DocumentGroup((number, block), [batch])
        write_shard(str(tmp_path / "given"), group, np.ones((5, 2), np.float32), "model", "1")
    stage_folder = str(tmp_path / "stage")
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        embeddings = find_embeddings(Dataset("raw_embeddings", (str(tmp_path / "given"),)))
        count = pipeline | WriteRecordIndex(stage_folder, embeddings)
        # Each file is known by its path and by its name.
        assert_that(count, equal_to([2 * FILES]))
    return stage_folder


@pytest.mark.parametrize("folder", ["/data", "/moved/elsewhere"])
def test_records_are_found_by_path_else_by_name(written, folder):
    index = RecordIndex(written)
    for number in (7, 3):
        for first, last, blocks in ((0, 10**6, [0, 1, 2]), (120, 120, [1]), (30, 100, [0, 1]), (41, 99, [])):
            found = index.find(source(number, folder), first, last)
            assert [(record.file, record.first) for record in found] == [
                (f"/data/part-{number}.jsonl", 100 * block) for block in blocks
            ]


def test_files_that_share_an_index_file_are_told_apart(written, tmp_path, monkeypatch):
    monkeypatch.setattr("hir_transforms.embeddings.record_index._bucket", lambda name: 0)
    embeddings = find_embeddings(Dataset("raw_embeddings", (str(tmp_path / "given"),)))
    together = str(tmp_path / "together")
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | WriteRecordIndex(together, embeddings), equal_to([1]))
    found = RecordIndex(together).find(source(5), 0, 10**6)
    assert [(record.name, record.first) for record in found] == [("part-5.jsonl", 100 * block) for block in range(3)]


def test_a_file_that_is_not_in_it_has_no_records(written):
    assert RecordIndex(written).find(source(FILES), 0, 10**6) == []
