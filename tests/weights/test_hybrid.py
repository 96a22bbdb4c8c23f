import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.weights.hybrid import hybrid_weight

NGRAM = np.array([1.0, -np.inf, 0.1, -3.0])
GMM = np.array([np.inf, 2.0, np.nan, 5.0])


def test_alpha_one_is_the_ngram_weight_whatever_the_other() -> None:
    assert hybrid_weight(NGRAM, None, 1.0).tolist() == NGRAM.tolist()
    assert hybrid_weight(NGRAM, GMM, 1.0).tolist() == NGRAM.tolist()


def test_alpha_zero_is_the_embedding_weight_whatever_the_other() -> None:
    np.testing.assert_array_equal(hybrid_weight(None, GMM, 0.0), GMM)
    np.testing.assert_array_equal(hybrid_weight(NGRAM, GMM, 0.0), GMM)


@given(st.floats(0, 1), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_mixes_by_alpha(alpha: float, ngram: float, gmm: float) -> None:
    weight = hybrid_weight(np.array([ngram]), np.array([gmm]), alpha)

    assert weight[0] == alpha * ngram + (1 - alpha) * gmm


def test_one_column_a_target() -> None:
    weight = hybrid_weight(np.array([[0.0, 4.0]]), np.array([[8.0, 0.0]]), 0.25)

    assert weight.tolist() == [[6.0, 1.0]]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, np.nan])
def test_refuses_alpha_outside_the_unit_interval(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        hybrid_weight(NGRAM, GMM, alpha)


@pytest.mark.parametrize(
    ("ngram", "gmm", "alpha"), [(None, GMM, 0.5), (NGRAM, None, 0.5), (None, GMM, 1.0), (NGRAM, None, 0.0)]
)
def test_refuses_a_missing_part(ngram: np.ndarray | None, gmm: np.ndarray | None, alpha: float) -> None:
    with pytest.raises(ValueError, match="missing"):
        hybrid_weight(ngram, gmm, alpha)


def test_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="shapes"):
        hybrid_weight(np.zeros(2), np.zeros(3), 0.5)
