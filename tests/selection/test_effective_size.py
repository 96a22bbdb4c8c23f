import functools
import math

import numpy as np
import pytest
from scipy.special import logsumexp

from hir_transforms.selection.effective_size import WeightSums

GENERATOR = np.random.default_rng(0)
LOG_WEIGHTS = {
    "equal": np.full(1000, -3.7),
    "few nats": GENERATOR.normal(size=5000),
    "thousands of nats": GENERATOR.normal(scale=3000, size=5000),
    "far from 0": GENERATOR.normal(size=500) - 20_000,
    "one": np.array([12.5]),
    "a few above many": np.concatenate([np.zeros(10_000), [9.0, 9.1, 9.2]]),
}


@pytest.mark.parametrize("name", LOG_WEIGHTS)
@pytest.mark.parametrize("num_parts", [1, 13])
def test_it_is_that_of_numpy_to_six_digits_and_the_same_in_any_order(name, num_parts):
    log_weights = LOG_WEIGHTS[name]
    expected = math.exp(2 * logsumexp(log_weights) - logsumexp(2 * log_weights))
    parts = [WeightSums.of(part) for part in np.array_split(log_weights, num_parts)]
    sums = [functools.reduce(WeightSums.merge, (parts[i] for i in GENERATOR.permutation(num_parts))) for _ in range(9)]
    assert sums[0].effective_size == pytest.approx(expected, rel=1e-5)
    assert all(one == sums[0] and one.effective_size == sums[0].effective_size for one in sums)
    pairs = [WeightSums().merge(a).merge(b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
    assert functools.reduce(WeightSums.merge, [*pairs, *parts[len(pairs) * 2 :]]) == sums[0]


def test_equal_weights_count_in_full():
    assert WeightSums.of(np.full(1234, 777.7)).effective_size == 1234


def test_weights_that_are_not_finite_are_left_out():
    sums = WeightSums.of(np.array([0.0, -np.inf, np.inf, np.nan, 0.0]))
    assert sums.effective_size == 2
    for nothing in (np.array([]), np.array([np.inf])):
        assert WeightSums.of(nothing).effective_size is None
        assert WeightSums.of(nothing).merge(sums) == sums


def test_the_largest_numbers_do_not_overflow():
    assert WeightSums.of(np.array([1e308, -1e308])).merge(WeightSums.of(np.array([1e308]))).effective_size == 2
