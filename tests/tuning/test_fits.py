"""The estimators of a fold against straightforward ones of numpy and scikit-learn."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.tuning.candidates import Choices, EmbeddingMethod
from hir_transforms.tuning.fits import Documents, FitSettings, judge_fold

NUM_BUCKETS = 40
SETTINGS = FitSettings(NgramSettings(num_buckets=NUM_BUCKETS), 0.0, False, MixtureSettings(1), MixtureSettings(1))
NGRAMS = Choices((1.0,), ("ratio", "classifier"), (), ())
CLASSIFIERS = [EmbeddingMethod("classifier", dim) for dim in (2, 0)]
MIXTURES = [EmbeddingMethod("mixture", dim) for dim in (2, 0)]
EMBEDDINGS = Choices((0.0,), (), ("classifier", "mixture"), (2, 0))


def made_up(seed, size, slope):
    """Documents that leave the last ten buckets empty."""
    rng = np.random.default_rng(seed)
    means = np.linspace(1 - slope, 1 + slope, NUM_BUCKETS - 10)
    counts = np.zeros((size, NUM_BUCKETS), np.int64)
    counts[:, :-10] = rng.poisson(means * rng.uniform(0.1, 1.5, (size, 1)))
    counts[:, 0] += 1
    folds, eligible = rng.integers(0, 5, size), rng.random(size) < 0.8
    rows = rng.normal(slope, [2, 1, 0.5, 0.1], (size, 4)).astype(np.float32)
    hashes = rng.integers(0, 2**63, size).astype(np.uint64)
    return Documents(sparse.csr_matrix(counts), folds, hashes, eligible, rows)


TARGET, RAW = made_up(0, 60, 0.9), made_up(1, 180, -0.9)


def split(values_of):
    """Values of the documents that fold 3 is fitted to, and of those that it judges: target's, then raw's."""
    fitted = [values_of(side)[side.folds != 3] for side in (TARGET, RAW)]
    judged = [values_of(side)[(side.folds == 3) & side.eligible] for side in (TARGET, RAW)]
    assert all(map(len, judged))
    return fitted, judged


def by_logistic_regression(fitted, judged):
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(np.concatenate(fitted), np.repeat([1, 0], [len(side) for side in fitted]))
    return [model.decision_function(side) for side in judged]


def assert_close(found, expected, atol):
    for weights, wanted in zip((found.hidden, found.raw), expected, strict=True):
        np.testing.assert_allclose(weights, wanted, atol=atol)


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_ngram_weights_are_those_of_plain_fits_to_the_other_folds(smoothing, per_token):
    settings = dataclasses.replace(SETTINGS, target_laplace_smoothing=smoothing, weight_per_token=per_token)
    found = judge_fold(TARGET, RAW, 3, NGRAMS, settings)
    assert found
    fitted, judged = split(lambda side: side.counts.toarray())
    target, raw = (side.sum(axis=0) for side in fitted)
    ratio = np.log((target + smoothing) / (target + smoothing).sum() + 1e-8) - np.log(raw / raw.sum() + 1e-8)
    lengths = [(counts.sum(axis=1) + 1) // 2 if per_token else 1 for counts in judged]
    assert_close(found.ngrams["ratio"], [c @ ratio / length for c, length in zip(judged, lengths, strict=True)], 1e-9)

    def features(counts):
        return np.log1p(counts) / np.linalg.norm(np.log1p(counts), axis=1, keepdims=True)

    expected = by_logistic_regression([*map(features, fitted)], [*map(features, judged)])
    assert_close(found.ngrams["classifier"], expected, 1e-6)
    assert list(found.ngrams) == ["ratio", "classifier"]
    assert found.embeddings == {}


def test_embedding_weights_are_those_of_plain_fits_to_the_other_folds():
    found = judge_fold(TARGET, RAW, 3, EMBEDDINGS, SETTINGS)
    assert found
    assert found.ngrams == {}
    assert list(found.embeddings) == [*CLASSIFIERS, *MIXTURES]
    (target, raw), judged = split(lambda side: side.rows.astype(float))
    mean = raw.mean(axis=0)
    directions = np.linalg.svd(raw - mean, full_matrices=False)[2][:2]
    for dim, classifier, mixture in zip((2, 4), CLASSIFIERS, MIXTURES, strict=True):
        basis = directions.T if dim == 2 else np.eye(4)
        of_target, of_raw, *of_judged = ((rows - mean) @ basis for rows in (target, raw, *judged))
        factor = np.sqrt(0.25 / of_raw.var(axis=0).sum())
        expected = by_logistic_regression([of_target * factor, of_raw * factor], [rows * factor for rows in of_judged])
        assert_close(found.embeddings[classifier], expected, 1e-4)  # of float32 rows
        expected = [_log_density(rows, of_target) - _log_density(rows, of_raw) for rows in of_judged]
        assert_close(found.embeddings[mixture], expected, 1e-3)


def _log_density(rows, fitted):
    """Of one Gaussian with a diagonal covariance; but for a constant."""
    variance = fitted.var(axis=0) + 1e-6
    return -0.5 * ((rows - fitted.mean(axis=0)) ** 2 / variance + np.log(variance)).sum(axis=1)


def test_a_fold_in_which_nothing_can_be_hidden_or_judged_is_left_out():
    for target, raw in (
        (dataclasses.replace(TARGET, folds=np.ones(60, int)), RAW),  # none is left to fit to
        (TARGET, dataclasses.replace(RAW, folds=np.zeros(180, int))),  # none is judged
        (dataclasses.replace(TARGET, eligible=TARGET.folds != 1), RAW),  # none is hidden
    ):
        assert judge_fold(target, raw, 1, NGRAMS, SETTINGS) is None
