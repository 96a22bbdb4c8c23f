import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hir_transforms.classifiers.logistic import NUM_FOLDS
from hir_transforms.classifiers.scaling import fit_scaled

RNG = np.random.default_rng(0)
RAW = RNG.normal(size=(500, 6)).astype(np.float32)
TARGET = RNG.normal(0.7, 1, size=(80, 6)).astype(np.float32)
FOLDS = np.arange(500) % NUM_FOLDS


def test_it_is_fitted_to_rows_of_a_total_variance_of_a_quarter():
    """And judges rows as they are: by scikit-learn's own decisions on scaled rows."""
    of_raw = RAW.astype(np.float64)
    mean, scale = of_raw.mean(axis=0), 0.5 / np.sqrt(np.trace(np.cov(of_raw.T, bias=True)))
    decisions = fit_scaled(TARGET, RAW, FOLDS).decide(RAW, FOLDS)
    for fold in range(NUM_FOLDS):
        rows = np.concatenate([TARGET, RAW[fold != FOLDS]])
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit((rows - mean) * scale, np.arange(len(rows)) < len(TARGET))
        expected = model.decision_function((RAW[fold == FOLDS] - mean) * scale)
        np.testing.assert_allclose(decisions[fold == FOLDS], expected, atol=1e-6)


@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 0.0), (2.0**-20, 0.0), (1.0, 64.0)])
def test_neither_unit_nor_offset_of_the_rows_shows(factor, offset):
    plain = fit_scaled(TARGET, RAW, FOLDS).decide(RAW, FOLDS)
    raw, target = RAW.astype(np.float64) * factor + offset, TARGET.astype(np.float64) * factor + offset
    np.testing.assert_allclose(fit_scaled(target, raw, FOLDS).decide(raw, FOLDS), plain, rtol=1e-6, atol=1e-6)


def test_rows_that_are_all_the_same_tell_nothing():
    decisions = fit_scaled(np.ones((3, 2)), np.ones((9, 2)), FOLDS[:9]).decide(np.ones((9, 2)), FOLDS[:9])
    np.testing.assert_allclose(decisions, 0, atol=1e-12)
