import numpy as np
import pytest

from hir_transforms.common.portable_log import portable_log
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.ngrams.kernel.distinct import TABLE_SIZE

TEXTS = ["a b a c", "", "d " * 3, "to be or not to be " * 400, "b"]
SETTINGS = [NgramSettings(1, 7, hash="fast"), NgramSettings(2, 10_000), NgramSettings(3, 2**24, hash="fast")]


def counts_of(featurizer, text):
    counts = np.zeros(featurizer.settings.num_buckets, np.int64)
    featurizer.count([text.encode()], counts)
    return counts


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_counts_of_each_text_are_its_own(settings):
    featurizer = NgramFeaturizer(settings)
    bounds, buckets, counts = featurizer.list_counts([text.encode() for text in TEXTS])
    assert bounds[0] == 0
    for text, first, end in zip(TEXTS, bounds[:-1], bounds[1:], strict=True):
        expected = counts_of(featurizer, text)
        assert sorted(buckets[first:end]) == np.flatnonzero(expected).tolist()
        np.testing.assert_array_equal(counts[first:end], expected[buckets[first:end]])


def test_no_texts_have_no_counts():
    bounds, buckets, counts = NgramFeaturizer(SETTINGS[1]).list_counts([])
    assert (bounds.tolist(), buckets.tolist(), counts.tolist()) == ([0], [], [])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_decision_is_that_of_the_linear_classifier_of_its_fold(settings):
    featurizer = NgramFeaturizer(settings)
    generator = np.random.default_rng(0)
    coefficients, intercepts = generator.normal(size=(2, 3, settings.num_buckets)), generator.normal(size=(2, 3))
    folds = np.array([0, 1, 2, 2, 0])
    found, num_ngrams = featurizer.decide([text.encode() for text in TEXTS], coefficients, intercepts, folds)
    for row, (text, fold) in enumerate(zip(TEXTS, folds, strict=True)):
        counts = counts_of(featurizer, text)
        features = np.log1p(counts) / max(1e-300, np.linalg.norm(np.log1p(counts)))
        expected = coefficients[:, fold] @ features + intercepts[:, fold]
        np.testing.assert_allclose(found[row], expected, rtol=1e-12, atol=1e-12)
        assert num_ngrams[row] == counts.sum()
    assert found[1].tolist() == intercepts[:, 1].tolist()  # no n-gram


@pytest.mark.parametrize("count", [1, TABLE_SIZE - 2, TABLE_SIZE - 1, TABLE_SIZE, 2 * TABLE_SIZE + 1, 1_000_003])
def test_logarithms_of_counts_in_and_beyond_the_table(count):
    featurizer = NgramFeaturizer(NgramSettings(1, 2, hash="fast"))
    # The two words fall into different buckets.
    words = next(
        pair for pair in (["a", word] for word in "bcdef") if counts_of(featurizer, " ".join(pair)).max() == 1
    )
    bucket = int(np.argmax(counts_of(featurizer, words[0])))
    coefficients = np.zeros((1, 1, 2))
    coefficients[0, 0, bucket] = 1.0
    text = (f"{words[0]} " * count + words[1]).encode()
    ((found,),), _ = featurizer.decide([text], coefficients, np.zeros((1, 1)), np.zeros(1, np.int64))
    log, one = portable_log(np.array([count + 1.0, 2.0]))
    assert found == pytest.approx(log / np.hypot(log, one), rel=1e-14)


@pytest.mark.parametrize(
    ("shape", "folds", "message"),
    [
        ((1, 2, 8), [0], r"coefficients must be \[1, 2, 7\], not \(1, 2, 8\)"),
        ((1, 2, 7), [2], "folds must be 0 to 1, one for each of 1 texts"),
        ((1, 2, 7), [0, 0], "folds must be 0 to 1, one for each of 1 texts"),
    ],
)
def test_what_does_not_fit_is_an_error(shape, folds, message):
    with pytest.raises(ValueError, match=message):
        NgramFeaturizer(SETTINGS[0]).decide([b"a"], np.zeros(shape), np.zeros((1, 2)), np.array(folds))
