import json
from dataclasses import replace

import apache_beam as beam
import numpy as np
import pytest
from data_selection import HashedNgramDSIR

from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.projection import Projection
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.transforms import CountNgrams, FitNgramEstimator
from hir_transforms.weights.standardizing import WeightMoments
from hir_transforms.weights.transforms import MixLogWeights, MixtureLogWeights, NgramLogWeights
from tests.helpers.collections import ONE_WORKER, TWO_WORKERS, elements

RAW = [f"The {number}th text of raw tells of {number % 5} words, or {number % 3}." for number in range(300)]
TARGET = ["A text of the target tells of words.", "Another text, of 3 words, tells of 2."]


def dsir_weights(folder):
    """The log importance weights that data-selection gives raw's texts."""
    for name, texts in (("raw", RAW), ("target", TARGET)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    dsir = HashedNgramDSIR(
        [str(folder / "raw.jsonl")], [str(folder / "target.jsonl")], str(folder / "cache"), num_proc=1
    )
    dsir.fit_importance_estimator("all")
    dsir.compute_importance_weights()
    return np.load(folder / "cache" / "log_importance_weights" / "0.npy").ravel()


@pytest.mark.parametrize("options", [ONE_WORKER, TWO_WORKERS], ids=["one worker", "two workers"])
def test_ngram_weights_are_those_of_data_selection(options, tmp_path):
    def build(pipeline):
        raw = pipeline | "Raw" >> beam.Create(list(enumerate(RAW)))
        target = pipeline | "Target" >> beam.Create(TARGET) | "CountTarget" >> CountNgrams()
        estimator = raw | beam.Values() | "CountRaw" >> CountNgrams() | FitNgramEstimator(target)
        return raw | NgramLogWeights(estimator)

    weights = dict(elements(build, options))
    np.testing.assert_allclose([weights[key] for key in range(len(RAW))], dsir_weights(tmp_path), rtol=0, atol=1e-9)


def test_an_estimator_of_several_targets_is_an_error():
    estimator = NgramEstimator.fit(NgramSettings(num_buckets=2), np.ones(2, np.int64), np.ones((3, 2), np.int64))
    with pytest.raises(ValueError, match="of one target, not of 3"):
        elements(lambda pipeline: pipeline | beam.Create([(0, "text")]) | NgramLogWeights(estimator))


def mixture(seed, projection=None):
    generator = np.random.default_rng(seed)
    parameters = generator.dirichlet(np.ones(4)), generator.normal(size=(4, 3)), generator.uniform(0.5, 2, (4, 3))
    return GaussianMixture(*parameters, projection=projection)


ROWS = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)


def mixture_weights(raw, target, order, options=ONE_WORKER):
    keyed = [(number, ROWS[number]) for number in order]
    found = dict(elements(lambda pipeline: pipeline | beam.Create(keyed) | MixtureLogWeights(raw, target), options))
    return np.array([found[number] for number in range(len(order))])


def test_mixture_weights_are_differences_of_log_densities():
    raw, target = mixture(1), mixture(2)
    expected = target.score_samples(ROWS) - raw.score_samples(ROWS)
    np.testing.assert_array_equal(mixture_weights(raw, target, range(600)), expected)


def test_batches_do_not_show_in_mixture_weights():
    generator = np.random.default_rng(3)
    projections = [Projection(generator.normal(size=3), generator.normal(size=(3, 3))) for _ in range(2)]
    projected = mixture(1, projections[0]), mixture(2, projections[1])
    pairs = {"plain": (mixture(1), mixture(2)), "projected": projected}
    order = generator.permutation(600).tolist()

    def build(pipeline):
        rows = pipeline | beam.Create([(number, ROWS[number]) for number in order])
        return {name: rows | name >> MixtureLogWeights(*pair) for name, pair in pairs.items()} | beam.CoGroupByKey()

    found = dict(elements(build, TWO_WORKERS))
    for name, pair in pairs.items():
        in_order = np.array([found[number][name] for number in range(600)])
        np.testing.assert_array_equal(in_order[:, 0], mixture_weights(*pair, range(600)))
        assert in_order.shape == (600, 1)


def mixed(ngram, embedding, mix, options=ONE_WORKER):
    def build(pipeline):
        parts = {
            name: pipeline | name >> beam.Create(weights, reshuffle=False)
            for name, weights in (("ngram", ngram), ("embedding", embedding))
        }
        return parts | mix

    return dict(elements(build, options))


@pytest.mark.parametrize("options", [ONE_WORKER, TWO_WORKERS], ids=["one worker", "two workers"])
def test_weights_are_mixed_by_key(options):
    found = mixed([("a", 1.0), ("b", 2.0)], [("b", 4.0), ("a", 8.0)], MixLogWeights(0.25), options)
    assert found == {"a": 6.25, "b": 3.5}


def test_weights_are_standardized_before():
    generator = np.random.default_rng(0)
    ngram, embedding = generator.normal(3, 9, 5000), generator.normal(-1, 0.1, 5000)
    mix = MixLogWeights(0.3, scaling="standardize")
    found = mixed(list(enumerate(ngram.tolist())), list(enumerate(embedding.tolist()))[::-1], mix)
    scaled = [WeightMoments.of(weights).standardize(weights) for weights in (ngram, embedding)]
    expected = 0.3 * scaled[0] + (1 - 0.3) * scaled[1]
    np.testing.assert_array_equal([found[number] for number in range(5000)], expected)


@pytest.mark.parametrize(
    ("ngram", "embedding", "message"),
    [
        ([("a", 1.0)], [], "the key 'a' has 0 embedding weights, not one"),
        ([("a", 1.0), ("a", 2.0)], [("a", 1.0)], "the key 'a' has 2 ngram weights, not one"),
    ],
)
def test_a_key_without_one_weight_of_each_kind_is_an_error(ngram, embedding, message):
    with pytest.raises(ValueError, match=message):
        mixed(ngram, embedding, MixLogWeights())


@pytest.mark.parametrize("arguments", [{"alpha": 1.5}, {"alpha": float("nan")}, {"scaling": "half"}])
def test_settings_out_of_range_are_an_error(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        replace(MixLogWeights(), **arguments)
