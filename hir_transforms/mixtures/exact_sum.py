"""Sums that do not depend on the order of addition: terms rounded once to fixed point, then added as integers.

Float addition is not associative, so a sum merged by a distributed runner would depend on how the runner groups its
merges. Integer addition is associative: once every term is rounded to a multiple of a power of two, all additions are
exact. J. Demmel and H. D. Nguyen, "Parallel Reproducible Summation" (IEEE Transactions on Computers, 2015) treat the
general problem; here the size of the terms and their number are known beforehand, which makes it this simple.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SUM_BITS = 62  # of the 64 one is for the sign and one for the terms being rounded up
_MAX_EXPONENT = 1000  # so that a scale and its inverse are both normal floats
_LOG_DENSITY_BITS = 36


def fixed_point_scales(bounds: ArrayLike, num_terms: int) -> NDArray[np.float64]:
    """Powers of two that take floats to fixed point so that a sum of `num_terms` of them fits int64.

    With s such a scale, a term x becomes the integer rint(x * s) and a sum of integers n becomes n / s. The resolution
    1 / s is about 2**-62 of `num_terms * bounds`.

    Args:
        bounds: largest absolute value of a term, float64 of any shape.
        num_terms: largest number of terms, at most 2**61.

    Returns:
        float64 of the shape of `bounds`.

    Raises:
        ValueError: for bounds that are negative or not finite.
    """
    bounds = np.asarray(bounds, dtype=np.float64)
    if not 0 <= num_terms <= 2 ** (_SUM_BITS - 1):
        raise ValueError(f"num_terms must lie between 0 and 2**{_SUM_BITS - 1}, got {num_terms}")
    if not (np.isfinite(bounds).all() and (bounds >= 0).all()):
        raise ValueError("bounds must be finite and not negative")
    exponents = _SUM_BITS - num_terms.bit_length() - np.frexp(bounds)[1]
    return np.ldexp(1.0, np.clip(exponents, -_MAX_EXPONENT, _MAX_EXPONENT))


def sum_log_densities(log_densities: NDArray[np.float64]) -> int:
    """Sum of float64 terms, each rounded to a multiple of 2**-36, as a Python integer in units of 2**-36.

    Log densities have no useful bound beforehand (a row far from every component can be at -1e9 nats), hence an
    integer without a limit.

    Raises:
        ValueError: for NaN or infinity.
    """
    if not np.isfinite(log_densities).all():
        raise ValueError("log densities must be finite")
    units = np.rint(log_densities * 2.0**_LOG_DENSITY_BITS)
    if np.abs(units).max(initial=0.0) * units.size < 2.0**_SUM_BITS:
        return int(units.astype(np.int64).sum())
    return sum(map(int, units.tolist()))


def mean_log_density(total: int, num_terms: int) -> float:
    """Mean of `num_terms` >= 1 terms from their sum as given by `sum_log_densities`, correctly rounded."""
    return total / (num_terms << _LOG_DENSITY_BITS)
