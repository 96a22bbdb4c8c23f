import json

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.records import SourceFile
from hir_transforms.scaling import ScaleWeights
from hir_transforms.score_shards import ScoreShard, read_scores, score_path, write_scores
from hir_transforms.scoring import load_score_shards
from hir_transforms.stages import Stage

FILE = SourceFile(0, "/data/raw.jsonl", "raw.jsonl", 1, 0.0)
GENERATOR = np.random.default_rng(0)
NGRAM, GMM = GENERATOR.normal(-300.0, 70.0, 90), GENERATOR.normal(5.0, 0.1, 90)
NUM_TOKENS = GENERATOR.integers(50, 200, 90).astype(np.int32)


def write_parts(folder, ngram, gmm, rows_per_shard):
    """Shards without weights, with one shard of rejected lines only in their middle."""
    shards = []
    for start in range(0, len(NUM_TOKENS), rows_per_shard):
        part = slice(start, start + rows_per_shard)
        size = len(NUM_TOKENS[part])
        columns = {
            "file": pa.array([FILE.path] * size),
            "offset": np.arange(start, start + size),
            "length": np.full(size, 9),
            "num_tokens": NUM_TOKENS[part],
            "text_hash": np.arange(size, dtype=np.uint64),
            **{name: values[part] for name, values in (("ngram", ngram), ("gmm", gmm)) if values is not None},
        }
        path = score_path(str(folder), len(shards))
        write_scores(path, [FILE], columns)
        shards.append(ScoreShard(len(shards), path, size, 1))
    return [*shards, ScoreShard(len(shards), None, 0, 2)]


def scale(folder, shards, alpha, min_example_length=100):
    """(weights in corpus order, the stage)."""
    stage = Stage.create("scores", str(folder), {})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | beam.Create(shards) | ScaleWeights(stage, alpha, min_example_length)
    written = load_score_shards(stage)
    return np.concatenate([read_scores(shard.path).weight[:, 0] for shard in written if shard.path]), stage


def standardized(values):
    eligible = values[NUM_TOKENS >= 100]
    return (values - eligible.mean()) / eligible.std()


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_weights_are_mixed_from_standardized_parts(tmp_path, alpha):
    shards = write_parts(tmp_path / "parts", NGRAM if alpha > 0 else None, GMM if alpha < 1 else None, 40)
    weights, stage = scale(tmp_path, shards, alpha)
    np.testing.assert_allclose(weights, alpha * standardized(NGRAM) + (1 - alpha) * standardized(GMM), atol=1e-9)
    counts = stage.counts()
    assert (counts["read"], counts["rejected"]) == (95, 5)
    assert counts["shards"] == [[0, 40, 1], [1, 40, 1], [2, 10, 1], [3, 0, 2]]
    for name, used in (("ngram", alpha > 0), ("gmm", alpha < 1)):
        assert counts["standardized"][name]["documents"] == (NUM_TOKENS >= 100).sum() * used
    if alpha < 1:
        assert counts["standardized"]["gmm"]["mean"] == pytest.approx(GMM[NUM_TOKENS >= 100].mean())
        assert counts["standardized"]["gmm"]["std"] == pytest.approx(GMM[NUM_TOKENS >= 100].std())


def test_all_other_columns_are_kept(tmp_path):
    (shard, _) = write_parts(tmp_path / "parts", NGRAM, GMM, 90)
    scale(tmp_path, [shard], 0.5)
    before, after = (pq.read_table(path) for path in (shard.path, score_path(str(tmp_path / "scores"), 0)))
    assert before["weight"].null_count == 90
    assert before.drop_columns("weight").equals(after.drop_columns("weight"))
    assert before.schema.equals(after.schema, check_metadata=True)


def test_statistics_and_weights_do_not_depend_on_the_shards_and_their_order(tmp_path):
    results = []
    for rows_per_shard, step in ((90, 1), (17, 1), (17, -1), (1, -1)):
        folder = tmp_path / f"{rows_per_shard}{step}"
        weights, stage = scale(folder, write_parts(folder / "parts", NGRAM, GMM, rows_per_shard)[::step], 0.3)
        results.append((weights.tobytes(), json.dumps(stage.counts()["standardized"])))
    assert len(set(results)) == 1


@pytest.mark.parametrize("min_example_length", [0, 1000], ids=["equal weights", "nothing eligible"])
def test_parts_without_variance_are_zero(tmp_path, min_example_length):
    shards = write_parts(tmp_path / "parts", np.full(90, -7.3), np.full(90, 0.1), 30)
    weights, _ = scale(tmp_path, shards, 0.5, min_example_length)
    assert weights.tolist() == [0.0] * 90
