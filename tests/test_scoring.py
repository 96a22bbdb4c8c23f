import json

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest

from hir_transforms.datasets import Dataset
from hir_transforms.errors import find_user_error
from hir_transforms.numerics.ngram_estimator import NgramEstimator
from hir_transforms.numerics.ngrams import NgramFeaturizer, NgramSettings
from hir_transforms.scoring import ScoreDocuments, load_score_shards
from hir_transforms.stages import Stage

TEXTS = ["alice went down", "", "the rabbit hole, the rabbit hole", "Ünïcode 兔子"]


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return Dataset("raw", (str(path),))


def score(raw, folder, fitted, settings):
    stage = Stage.create("scores", str(folder), {}, [raw])
    counts = np.arange(1, fitted.num_buckets + 1)
    estimator = NgramEstimator.fit(fitted, counts, counts[np.newaxis, ::-1])
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        estimators = pipeline | beam.Create([estimator])
        pipeline | ScoreDocuments(stage, raw, settings, 1.0, estimator=estimators, mixtures=None)
    return stage, estimator


def test_scores_are_those_of_the_featurizer(raw, tmp_path):
    settings = NgramSettings(ngrams=3, num_buckets=50)
    stage, estimator = score(raw, tmp_path / "work", settings, settings)
    (shard,) = load_score_shards(stage)
    assert (shard.rows, shard.rejected) == (4, 0)
    table = pq.read_table(shard.path).to_pydict()
    weights, num_ngrams = NgramFeaturizer(settings).score(TEXTS, estimator.log_ratio)
    assert table["weight"] == table["ngram"] == weights[:, 0].tolist()
    assert table["num_tokens"] == ((num_ngrams + 3) // 3).tolist()
    assert table["gmm"] == [None] * 4
    content = (tmp_path / "raw.jsonl").read_bytes()
    for offset, length, text in zip(table["offset"], table["length"], TEXTS, strict=True):
        assert json.loads(content[offset : offset + length])["text"] == text
    assert len(set(table["text_hash"])) == 4


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
