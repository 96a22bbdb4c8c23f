import json

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.fingerprints import describe
from hir_transforms.weights.mixing import MixingSettings, WriteScores
from hir_transforms.weights.score_shards import load_score_shards, read_scores
from tests.helpers.parts import write_part_weights, write_parts

GENERATOR = np.random.default_rng(0)
NGRAM, GMM = GENERATOR.normal(-300.0, 70.0, (90, 1)), GENERATOR.normal(5.0, 0.1, (90, 1))
NUM_TOKENS = GENERATOR.integers(50, 200, 90)
ELIGIBLE = NUM_TOKENS >= 100


def mix(
    folder,
    alpha,
    *,
    ngram=None,
    gmm=None,
    rows_per_part=40,
    step=1,
    standardized=True,
    min_example_length=100,
    weight_per_token=False,
):
    """(score shards of the documents with these weights, the stage)."""
    parts = write_parts(folder / "documents", NUM_TOKENS, rows_per_part)
    given = {name: rows for name, rows in (("ngram_weights", ngram), ("gmm_weights", gmm)) if rows is not None}
    for name, weights in given.items():
        write_part_weights(folder / name, parts, weights)
    num_targets = next(iter(given.values())).shape[1]
    settings = (
        MixingSettings(alpha, num_targets, "standardize", min_example_length, weight_per_token)
        if standardized
        else MixingSettings(alpha, num_targets, "none", None, weight_per_token)
    )
    upstream = [Stage.create(name, str(folder), None) for name in ("documents", *given)]
    stage = Stage.create("scores", str(folder), settings, [], upstream)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        shares = pipeline | "Shares" >> beam.Create([(1.0,) * num_targets])
        pipeline | beam.Create(parts[::step]) | WriteScores(stage, shares)
    return [shard for shard in load_score_shards(stage) if shard.path], stage


def weights_of(shards):
    return np.concatenate([read_scores(shard.path).weight for shard in shards])


def standardized(values):
    return (values - values[ELIGIBLE].mean(axis=0)) / values[ELIGIBLE].std(axis=0)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_weights_are_mixed_from_standardized_parts(tmp_path, alpha):
    shards, stage = mix(tmp_path, alpha, ngram=NGRAM if alpha else None, gmm=GMM if alpha < 1 else None)
    expected = alpha * standardized(NGRAM) + (1 - alpha) * standardized(GMM)
    np.testing.assert_allclose(weights_of(shards), expected, atol=1e-9)
    counts = stage.counts()
    assert (counts["read"], counts["rejected"]) == (95, 5)
    assert counts["shards"] == [[0, 40, 1], [1, 40, 1], [2, 10, 1], [3, 0, 2]]
    assert counts["target_proportions"] == [1.0]
    if alpha < 1:
        (moments,) = counts["standardized"]["gmm"]
        assert moments["documents"] == ELIGIBLE.sum()
        assert moments["mean"] == pytest.approx(GMM[ELIGIBLE].mean())
        assert moments["std"] == pytest.approx(GMM[ELIGIBLE].std())


def test_weights_are_mixed_as_they_are(tmp_path):
    shards, _ = mix(tmp_path, 0.25, ngram=NGRAM, gmm=GMM, standardized=False)
    np.testing.assert_array_equal(weights_of(shards), 0.25 * NGRAM + 0.75 * GMM)
    (table, *_) = (pq.read_table(shard.path) for shard in shards)
    assert table["ngram"].to_pylist() == NGRAM[:40, 0].tolist()
    assert table["gmm"].to_pylist() == GMM[:40, 0].tolist()
    assert table["num_tokens"].to_pylist() == NUM_TOKENS[:40].tolist()
    assert table["offset"].to_pylist() == list(range(0, 400, 10))


@pytest.mark.parametrize("standardize", [False, True])
def test_ngram_weights_may_be_divided_by_the_length_first(tmp_path, standardize):
    shards, _ = mix(tmp_path, 0.25, ngram=NGRAM, gmm=GMM, standardized=standardize, weight_per_token=True)
    per_token = NGRAM / np.maximum(1, NUM_TOKENS)[:, np.newaxis]
    parts = (standardized(per_token), standardized(GMM)) if standardize else (per_token, GMM)
    np.testing.assert_allclose(weights_of(shards), 0.25 * parts[0] + 0.75 * parts[1], atol=1e-9)
    (table, *_) = (pq.read_table(shard.path) for shard in shards)
    np.testing.assert_array_equal(table["ngram"].to_numpy(), per_token[:40, 0])


def test_the_switch_shows_in_the_settings_only_where_it_is_on():
    off, on = (MixingSettings(0.5, 1, "none", None, per_token) for per_token in (False, True))
    assert describe(off) == {"alpha": 0.5, "num_targets": 1, "weight_scaling": "none", "min_example_length": None}
    assert describe(on) == describe(off) | {"weight_per_token": True}


def test_each_target_has_its_own_weights(tmp_path):
    ngram, gmm = np.hstack([NGRAM, 2 * NGRAM[::-1]]), np.hstack([GMM, GMM**2])
    shards, stage = mix(tmp_path, 0.5, ngram=ngram, gmm=gmm)
    np.testing.assert_allclose(weights_of(shards), (standardized(ngram) + standardized(gmm)) / 2, atol=1e-9)
    assert [len(moments) for moments in stage.counts()["standardized"].values()] == [2, 2]
    table = pq.read_table(shards[0].path)
    np.testing.assert_array_equal(table["gmm"].to_pylist(), gmm[:40])


def test_a_document_without_a_weight_is_rejected(tmp_path):
    gmm = GMM.copy()
    gmm[[3, 45, *range(80, 90)]] = np.nan
    shards, stage = mix(tmp_path, 0.5, ngram=NGRAM, gmm=gmm, standardized=False)
    kept = ~np.isnan(gmm[:, 0])
    np.testing.assert_array_equal(weights_of(shards), ((NGRAM + gmm) / 2)[kept])
    assert stage.counts()["shards"] == [[0, 39, 2], [1, 39, 2], [2, 0, 11], [3, 0, 2]]
    assert np.concatenate([read_scores(shard.path).offset for shard in shards]).tolist() == [
        10 * row for row in np.flatnonzero(kept)
    ]


def test_statistics_and_weights_do_not_depend_on_the_parts_and_their_order(tmp_path):
    results = []
    for rows, step in ((90, 1), (17, 1), (17, -1), (1, -1)):
        shards, stage = mix(tmp_path / f"{rows}{step}", 0.3, ngram=NGRAM, gmm=GMM, rows_per_part=rows, step=step)
        results.append((weights_of(shards).tobytes(), json.dumps(stage.counts()["standardized"])))
    assert len(set(results)) == 1


@pytest.mark.parametrize("min_example_length", [0, 1000], ids=["equal weights", "nothing eligible"])
def test_weights_without_variance_are_zero(tmp_path, min_example_length):
    equal = {"ngram": np.full((90, 1), -7.3), "gmm": np.full((90, 1), 0.1)}
    shards, _ = mix(tmp_path, 0.5, **equal, min_example_length=min_example_length)
    assert weights_of(shards).tolist() == [[0.0]] * 90
