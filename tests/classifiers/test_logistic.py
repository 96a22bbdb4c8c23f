"""Cross-fitted logistic regression against scikit-learn's own, fold by fold."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from hir_transforms.classifiers.logistic import NUM_FOLDS, CrossFittedClassifier, folds_of


def two_samples(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Target [60, 8], raw [400, 8] and raw's folds, of Gaussians a standard deviation apart."""
    rng = np.random.default_rng(seed)
    target, raw = rng.normal(0.5, 1, (60, 8)), rng.normal(0, 1, (400, 8))
    return target, raw, folds_of(seed, "raw.jsonl", np.arange(400) * 100)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_each_document_is_judged_by_the_model_that_has_not_seen_its_fold(kind) -> None:
    target, raw, folds = two_samples()
    fitted = CrossFittedClassifier.fit(kind(target), kind(raw), folds)
    decisions = fitted.decide(kind(raw), folds)
    for fold in range(NUM_FOLDS):
        negatives = raw[folds != fold]
        weights = (
            np.repeat([1 / len(target), 1 / len(negatives)], [len(target), len(negatives)])
            * (len(target) + len(negatives))
            / 2
        )
        model = LogisticRegression(C=1.0, max_iter=1000)
        model.fit(np.vstack([target, negatives]), [1] * len(target) + [0] * len(negatives), sample_weight=weights)
        np.testing.assert_allclose(decisions[folds == fold], model.decision_function(raw[folds == fold]), atol=1e-6)


def test_decisions_estimate_the_log_density_ratio() -> None:
    rng = np.random.default_rng(3)
    target, raw = rng.normal(1, 1, (20_000, 1)), rng.normal(0, 1, (20_000, 1))
    fitted = CrossFittedClassifier.fit(target, raw, folds_of(0, "raw", np.arange(20_000)))
    points = np.linspace(-2, 3, NUM_FOLDS)[:, np.newaxis]
    # log N(x; 1, 1) - log N(x; 0, 1) = x - 1/2
    np.testing.assert_allclose(fitted.decide(points, np.arange(NUM_FOLDS)), points[:, 0] - 0.5, atol=0.1)


def test_folds_are_even_and_follow_from_identity_alone() -> None:
    offsets = np.arange(10_000) * 37
    folds = folds_of(1, "a.jsonl", offsets)
    assert np.bincount(folds, minlength=NUM_FOLDS).min() > 1800
    np.testing.assert_array_equal(folds[5:9], folds_of(1, "a.jsonl", offsets[5:9]))
    assert (folds != folds_of(1, "b.jsonl", offsets)).any()
    assert (folds != folds_of(2, "a.jsonl", offsets)).any()


def test_a_corpus_of_one_document_is_fitted_to_it() -> None:
    fitted = CrossFittedClassifier.fit(np.ones((1, 2)), -np.ones((1, 2)), np.zeros(1, np.int64))
    np.testing.assert_array_equal(fitted.coefficients[0], fitted.coefficients[1])
    assert fitted.decide(-np.ones((1, 2)), np.zeros(1, np.int64))[0] < 0


def test_nothing_to_fit_to_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one document"):
        CrossFittedClassifier.fit(np.empty((0, 2)), np.ones((3, 2)), np.zeros(3, np.int64))
