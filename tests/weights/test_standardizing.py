import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from hir_transforms.weights.standardizing import WeightMoments

WEIGHTS = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40)


@given(WEIGHTS)
def test_moments_are_exact_on_the_grid(values):
    moments = WeightMoments.of(np.array(values))
    rounded = [Fraction(round(Fraction(value) * 2**36), 2**36) for value in values]
    mean = sum(rounded) / len(rounded)
    variance = sum((value - mean) ** 2 for value in rounded) / len(rounded)
    assert moments.mean == float(mean)
    assert moments.std == pytest.approx(math.sqrt(variance), rel=1e-14)


@given(WEIGHTS, st.randoms(), st.integers(0, 40))
def test_moments_do_not_depend_on_order_or_grouping(values, random, cut):
    whole = WeightMoments.of(np.array(values))
    random.shuffle(values)
    parts = WeightMoments.of(np.array(values[:cut])), WeightMoments.of(np.array(values[cut:]))
    assert parts[0].merge(parts[1]) == parts[1].merge(parts[0]) == whole


def test_standardized_weights_are_those_of_scikit_learn():
    weights = np.random.default_rng(0).normal(-900.0, 7e3, size=5000)
    expected = StandardScaler().fit_transform(weights[:, np.newaxis])[:, 0]
    np.testing.assert_allclose(WeightMoments.of(weights).standardize(weights), expected, atol=1e-12)


@pytest.mark.parametrize("weights", [[0.1] * 7, [-1e9], [1e300, 1e300], []], ids=["equal", "one", "huge", "none"])
def test_weights_without_variance_become_zero(weights):
    values = np.array(weights)
    moments = WeightMoments.of(values)
    assert moments.std == 0.0
    assert moments.standardize(values).tolist() == [0.0] * len(weights)
    assert moments.standardize(np.array([1.0, -np.inf])).tolist() == [0.0, 0.0]


def test_infinite_weights_do_not_count_and_stay():
    weights = np.array([1.0, np.inf, 3.0, -np.inf])
    moments = WeightMoments.of(weights)
    assert (moments.count, moments.mean, moments.std) == (2, 2.0, 1.0)
    assert moments.standardize(weights).tolist() == [-1.0, np.inf, 1.0, -np.inf]


def test_huge_weights_do_not_overflow():
    moments = WeightMoments.of(np.array([1e290, -1e290]))
    assert moments.mean == 0.0
    assert moments.std == pytest.approx(1e290)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.integers(1, 20))
def test_the_order_of_weights_is_kept(values, count):
    weights = np.sort(values)
    standardized = WeightMoments.of(weights[:count]).standardize(weights)
    assert (np.diff(standardized) >= 0).all()
