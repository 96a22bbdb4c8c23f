from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.mixtures.exact_sum import fixed_point_scales, mean_log_density, sum_log_densities

BOUNDS = st.floats(min_value=0, max_value=1e200)
NUM_TERMS = st.integers(1, 2**61)
LOG_DENSITIES = st.lists(st.floats(min_value=-1e15, max_value=1e6), max_size=50)


@given(BOUNDS, NUM_TERMS)
def test_sum_of_terms_at_the_bound_fits_int64(bound: float, num_terms: int) -> None:
    scale = fixed_point_scales(bound, num_terms)

    assert num_terms * int(np.rint(bound * scale)) < 2**63


@given(st.floats(min_value=1e-200, max_value=1e200), NUM_TERMS)
def test_resolution_is_a_power_of_two_near_the_62nd_bit_of_the_largest_sum(bound: float, num_terms: int) -> None:
    scale = float(fixed_point_scales(bound, num_terms))

    assert np.frexp(scale)[0] == 0.5
    assert Fraction(scale) * Fraction(bound) * num_terms >= 2**60


def test_scales_are_one_per_dimension() -> None:
    scales = fixed_point_scales([0.0, 1.0, 3.0], 1)

    assert scales.tolist() == [2.0**61, 2.0**60, 2.0**59]


@pytest.mark.parametrize("bound", [0.0, 5e-324])
def test_scales_of_nothing_are_finite_and_invertible(bound: float) -> None:
    scale = fixed_point_scales(bound, 1)

    assert 0 < 1 / scale < np.inf


@pytest.mark.parametrize(("bound", "num_terms"), [(np.nan, 1), (np.inf, 1), (-1.0, 1), (1.0, -1), (1.0, 2**61 + 1)])
def test_scales_refuse_what_cannot_be_summed(bound: float, num_terms: int) -> None:
    with pytest.raises(ValueError, match=r"bounds|num_terms"):
        fixed_point_scales(bound, num_terms)


@given(LOG_DENSITIES)
def test_sum_of_log_densities_is_exact_on_its_grid(values: list[float]) -> None:
    expected = sum(round(Fraction(value) * 2**36) for value in values)

    assert sum_log_densities(np.array(values)) == expected


@given(LOG_DENSITIES, st.integers(0, 50))
def test_sum_of_log_densities_does_not_depend_on_grouping(values: list[float], cut: int) -> None:
    array = np.array(values)

    assert sum_log_densities(array) == sum_log_densities(array[cut:]) + sum_log_densities(array[:cut])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_sum_of_log_densities_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        sum_log_densities(np.array([0.0, value]))


@given(st.lists(st.floats(min_value=-1e4, max_value=1e4), min_size=1, max_size=50))
def test_mean_log_density(values: list[float]) -> None:
    mean = mean_log_density(sum_log_densities(np.array(values)), len(values))

    assert mean == pytest.approx(np.mean(values), abs=2.0**-36, rel=1e-12)
