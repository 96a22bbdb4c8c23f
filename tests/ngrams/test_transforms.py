import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.ngrams.transforms import CountNgrams, FitNgramEstimator, NgramCounts
from tests.helpers.collections import ONE_WORKER, TWO_WORKERS, elements

# More buckets than one piece of the sums has.
SETTINGS = NgramSettings(num_buckets=70_000, hash="fast")
TEXTS = [f"Der {number}. Text, über {number % 7} Dinge" for number in range(700)]


@pytest.mark.parametrize("options", [ONE_WORKER, TWO_WORKERS], ids=["one worker", "two workers"])
def test_counts_are_those_of_the_featurizer(options):
    (counts,) = elements(lambda pipeline: pipeline | beam.Create(TEXTS) | CountNgrams(SETTINGS), options)
    expected = np.zeros(SETTINGS.num_buckets, np.int64)
    NgramFeaturizer(SETTINGS).count([text.encode() for text in TEXTS], expected)
    assert counts.settings == SETTINGS
    np.testing.assert_array_equal(counts.buckets, expected)


def test_no_texts_have_no_ngrams():
    (counts,) = elements(lambda pipeline: pipeline | beam.Create([], reshuffle=False) | CountNgrams())
    assert counts.buckets.shape == (10_000,)
    assert not counts.buckets.any()


def counts_of(*buckets, ngrams=2):
    return NgramCounts(NgramSettings(ngrams=ngrams, num_buckets=len(buckets)), np.array(buckets))


@pytest.mark.parametrize("as_collection", [True, False])
def test_the_estimator_is_fitted_to_counts(as_collection):
    target = counts_of(2, 0)

    def build(pipeline):
        given = pipeline | "Target" >> beam.Create([target]) if as_collection else target
        return pipeline | beam.Create([counts_of(1, 3)]) | FitNgramEstimator(given, smoothing=1.0)

    (estimator,) = elements(build)
    expected = np.log(np.array([[3 / 4, 1 / 4]]) + 1e-8) - np.log(np.array([1 / 4, 3 / 4]) + 1e-8)
    np.testing.assert_allclose(estimator.log_ratio, expected, rtol=1e-14)
    assert estimator.target_laplace_smoothing == 1.0


@pytest.mark.parametrize(
    ("raw", "target", "message"),
    [
        (counts_of(1, 3), counts_of(1, 3, ngrams=1), "n-grams of raw counted with"),
        (counts_of(0, 0), counts_of(1, 3), "the raw documents have no n-gram"),
        (counts_of(1, 0), counts_of(0, 0), "target 0 has no n-gram"),
    ],
)
def test_counts_that_give_no_estimator_are_an_error(raw, target, message):
    with pytest.raises(ValueError, match=message):
        elements(lambda pipeline: pipeline | beam.Create([raw]) | FitNgramEstimator(target))
