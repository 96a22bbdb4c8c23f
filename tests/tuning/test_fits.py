"""The estimators of a fold against straightforward ones of numpy and scikit-learn."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.tuning.fits import Documents, judge_fold

NUM_BUCKETS = 40
SETTINGS = NgramSettings(num_buckets=NUM_BUCKETS)


def made_up(seed, size, slope):
    """Documents that leave the last ten buckets empty."""
    rng = np.random.default_rng(seed)
    means = np.linspace(1 - slope, 1 + slope, NUM_BUCKETS - 10)
    counts = np.zeros((size, NUM_BUCKETS), np.int64)
    counts[:, :-10] = rng.poisson(means * rng.uniform(0.1, 1.5, (size, 1)))
    counts[:, 0] += 1
    return Documents(sparse.csr_matrix(counts), rng.integers(0, 5, size), rng.random(size) < 0.8)


TARGET, RAW = made_up(0, 60, 0.9), made_up(1, 180, -0.9)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@pytest.mark.parametrize("fold", [0, 3])
def test_weights_are_those_of_plain_fits_to_the_other_folds(fold, smoothing):
    found = judge_fold(TARGET, RAW, fold, SETTINGS, target_laplace_smoothing=smoothing)
    assert found
    fitted = [side.counts.toarray()[side.folds != fold] for side in (TARGET, RAW)]
    judged = [side.counts.toarray()[(side.folds == fold) & side.eligible] for side in (TARGET, RAW)]
    target, raw = (side.sum(axis=0) for side in fitted)
    ratio = np.log((target + smoothing) / (target + smoothing).sum() + 1e-8) - np.log(raw / raw.sum() + 1e-8)

    def features(counts):
        return np.log1p(counts) / np.linalg.norm(np.log1p(counts), axis=1, keepdims=True)

    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(features(np.concatenate(fitted)), np.repeat([1, 0], [len(side) for side in fitted]))
    assert list(found) == ["ratio", "classifier"]
    for side, counts in zip(("hidden", "raw"), judged, strict=True):
        assert len(counts)
        np.testing.assert_allclose(getattr(found["ratio"], side), counts @ ratio, atol=1e-9)
        np.testing.assert_allclose(
            getattr(found["classifier"], side), model.decision_function(features(counts)), atol=1e-6
        )


def test_a_fold_in_which_nothing_can_be_hidden_or_judged_is_left_out():
    for target, raw in (
        (dataclasses.replace(TARGET, folds=np.ones(60, int)), RAW),  # none is left to fit to
        (TARGET, dataclasses.replace(RAW, folds=np.zeros(180, int))),  # none is judged
        (dataclasses.replace(TARGET, eligible=TARGET.folds != 1), RAW),  # none is hidden
    ):
        assert judge_fold(target, raw, 1, SETTINGS, target_laplace_smoothing=0.0) is None
