import json

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import find_user_error
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.files import storage
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.ngrams.fitting import EstimatorSettings
from hir_transforms.weights.ngram_weights import ListingSettings, WriteDocumentParts
from hir_transforms.weights.parts import DocumentPart, PartReader, load_parts, part_path

TEXTS = ["alice went down", "", "the rabbit hole, the rabbit hole", "Ünïcode 兔子"]


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return Dataset("raw", (str(path),))


def score(raw, folder, fitted, settings, num_targets=1):
    """(the stages of documents and of their n-gram weights, the estimator)."""
    documents = Stage.create("documents", str(folder), ListingSettings.of(settings), [raw])
    weights = Stage.create("ngram_weights", str(folder), settings, [raw], [documents])
    counts = np.arange(1, fitted.num_buckets + 1)
    estimator = NgramEstimator.fit(fitted, counts, np.stack([np.roll(counts[::-1], by) for by in range(num_targets)]))
    stage = Stage.create("ngram", str(folder), EstimatorSettings(fitted, 0.0))
    with storage.atomic_write(stage.path("estimator.npz")) as file:
        estimator.save(file)
    stage.write_manifest({})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        estimators = pipeline | beam.Create([stage])
        tasks = pipeline | ReadTasks(raw)
        tasks | WriteDocumentParts(documents, weights, estimator=estimators, shared=Shared())
    return documents, weights, estimator


@pytest.mark.parametrize("num_targets", [1, 3])
def test_scores_are_those_of_the_featurizer(raw, tmp_path, num_targets):
    settings = NgramSettings(ngrams=3, num_buckets=50)
    documents, weights, estimator = score(raw, tmp_path / "work", settings, settings, num_targets)
    assert load_parts(documents) == load_parts(weights) == [DocumentPart(0, 4, 0)]
    table = pq.read_table(part_path(documents.folder, 0)).to_pydict()
    expected, num_ngrams = NgramFeaturizer(settings).score([text.encode() for text in TEXTS], estimator.log_ratio)
    with PartReader(part_path(documents.folder, 0), part_path(weights.folder, 0)) as reader:
        ((_, (found,)),) = reader.row_groups()
    np.testing.assert_array_equal(found, expected, strict=True)
    assert found.shape == (4, num_targets)
    assert table["num_tokens"] == ((num_ngrams + 3) // 3).tolist()
    content = (tmp_path / "raw.jsonl").read_bytes()
    for offset, length, text in zip(table["offset"], table["length"], TEXTS, strict=True):
        assert json.loads(content[offset : offset + length])["text"] == text
    assert len(set(table["text_hash"])) == 4


def test_without_an_estimator_documents_are_only_listed(raw, tmp_path):
    documents = Stage.create("documents", str(tmp_path / "work"), ListingSettings("wordpunct", 2), [raw])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tasks = pipeline | ReadTasks(raw)
        tasks | WriteDocumentParts(documents, None, estimator=None, shared=Shared())
    assert load_parts(documents) == [DocumentPart(0, 4, 0)]
    assert pq.read_table(part_path(documents.folder, 0))["num_tokens"].to_pylist()[0] == 3


@pytest.mark.parametrize(
    "other", [{"hash": "fast"}, {"ngrams": 3}, {"num_buckets": 99}, {"tokenizer": "word_tokenize"}], ids=str
)
def test_an_estimator_of_other_settings_is_an_error(raw, tmp_path, other):
    fitted = NgramSettings(**{"ngrams": 2, "num_buckets": 50} | other)
    with pytest.raises(Exception, match="was fitted with") as caught:
        score(raw, tmp_path / "work", fitted, NgramSettings(ngrams=2, num_buckets=50))
    (name,) = other
    message = find_user_error(caught.value)
    assert message.startswith(f"the n-gram estimator was fitted with {name} {other[name]}, not ")
