import gzip
import json

import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import Block, ReadTask
from hir_transforms.documents.rejects import list_rejects
from hir_transforms.files import storage
from hir_transforms.weights.given import GivenWeights, ImportWeights, find_weights
from hir_transforms.weights.parts import DocumentPart, PartReader, load_parts, part_path, write_documents
from tests.helpers.corpora import jsonl, source_file

TEXTS = [f"text {number}" for number in range(20)]
BLOCK_BYTES = 64


def weights_files(folder, *parts):
    for number, rows in enumerate(parts):
        np.save(folder / f"weights-{number}.npy", rows)
    return Dataset("ngram_weights", (f"{folder}/weights-*.npy",))


def give(folder, files, suffix="", dataset=None):
    """Gives weights to `TEXTS`, in two parts of several groups, or of another dataset; returns the stage."""
    path = folder / f"raw.jsonl{suffix}"
    path.write_bytes(gzip.compress(jsonl(TEXTS)) if suffix else jsonl(TEXTS))
    raw, file = Dataset("raw", (str(path),)), source_file(path)
    blocks = [Block(file, number) for number in range(-(-len(jsonl(TEXTS)) // BLOCK_BYTES))]
    parts = []
    for index, of_part in enumerate((blocks[:2], blocks[2:])):
        task = ReadTask(index, BLOCK_BYTES, tuple((block,) for block in of_part))
        with write_documents(part_path(str(folder / "documents"), index)) as writer:
            groups = [group for group in DocumentReader(raw).read(task) if group.texts]
            for group in groups:
                writer.add(group, np.zeros(len(group.texts), np.int64))
        parts.append(DocumentPart(index, sum(len(group.texts) for group in groups), 0))
    documents = Stage.create("documents", str(folder), None, [dataset or raw])
    stage = Stage.create(files.role, str(folder), GivenWeights(1), [files], [documents])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        given = pipeline | beam.Create([*parts, DocumentPart(2, 0, 3)])
        given | ImportWeights(stage)
    assert load_parts(stage) == [*parts, DocumentPart(2, 0, 3)]
    return stage


def read_weights(folder, stage):
    paths = ((part_path(str(folder / "documents"), index), part_path(stage.folder, index)) for index in (0, 1))
    found = []
    for documents, weights in paths:
        with PartReader(documents, weights) as reader:
            found += [rows for _, (rows,) in reader.row_groups()]
    return np.concatenate(found)


@pytest.mark.parametrize("num_targets", [1, 2])
def test_rows_belong_to_the_documents_in_corpus_order(tmp_path, num_targets):
    weights = np.random.default_rng(0).normal(size=(len(TEXTS), num_targets))
    files = find_weights(weights_files(tmp_path, weights[:3], weights[3:17], weights[17:]), num_targets)
    np.testing.assert_array_equal(read_weights(tmp_path, give(tmp_path, files)), weights)


def test_a_document_whose_weight_is_nan_is_rejected(tmp_path):
    weights = np.arange(float(len(TEXTS)))
    weights[[0, 19]] = np.nan
    stage = give(tmp_path, weights_files(tmp_path, weights))
    np.testing.assert_array_equal(read_weights(tmp_path, stage)[:, 0], weights)
    first, last = (json.loads(storage.read_bytes(path)) for path in list_rejects(stage.folder, "raw-ngram_weights-"))
    lines = jsonl(TEXTS).decode().splitlines()
    assert [first["excerpt"], last["excerpt"]] == [lines[0], lines[19]]
    assert first == {
        "file": str(tmp_path / "raw.jsonl"),
        "offset": 0,
        "reason": "--ngram_weights is not a number",
        "excerpt": lines[0],
    }


def test_rejected_documents_are_read_in_one_pass_over_their_file(tmp_path, monkeypatch):
    opened = []
    open_blocks = storage.open_blocks

    def counted(path):
        opened.append(path)
        return open_blocks(path)

    monkeypatch.setattr(storage, "open_blocks", counted)
    weights = np.full(len(TEXTS), np.nan)
    weights[10] = 1
    stage = give(tmp_path, weights_files(tmp_path, weights), ".gz")
    rejects = [
        json.loads(line)["excerpt"]
        for path in list_rejects(stage.folder, "raw-ngram_weights-")
        for line in storage.read_bytes(path).splitlines()
    ]
    lines = jsonl(TEXTS).decode().splitlines()
    assert rejects == lines[:10] + lines[11:]
    # Each of the two parts is written once, and its rejects are read once.
    assert opened == [str(tmp_path / "raw.jsonl.gz")] * 4


@pytest.mark.parametrize("num_rows", [19, 21])
def test_there_must_be_a_row_for_each_document(tmp_path, num_rows):
    with pytest.raises(Exception, match=f"--ngram_weights: {num_rows} rows in .*, but 20 documents in "):
        give(tmp_path, weights_files(tmp_path, np.zeros(num_rows)))


def test_a_row_must_have_a_number_for_each_target(tmp_path):
    files = weights_files(tmp_path, np.zeros((20, 2)))
    with pytest.raises(UserError, match=r"^--ngram_weights: 2 weights a document in .*weights-0.npy, but 1 target "):
        find_weights(files, 1)
    with pytest.raises(UserError, match=r", but 3 targets \(see --separate_targets\)$"):
        find_weights(files, 3)


def test_no_line_of_a_file_that_is_not_in_the_dataset_is_read(tmp_path):
    (tmp_path / "other.jsonl").write_bytes(jsonl(TEXTS))
    weights = np.full(len(TEXTS), np.nan)
    with pytest.raises(Exception, match=r"the work folder names the file .*raw\.jsonl, which is not"):
        give(tmp_path, weights_files(tmp_path, weights), dataset=Dataset("raw", (str(tmp_path / "other.jsonl"),)))
