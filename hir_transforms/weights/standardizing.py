"""Standardisation of log weights: zero mean and unit variance, the same bits in any order and grouping of the sums."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SCALINGS = ("none", "standardize")

_GRID_BITS = 36


@dataclass(frozen=True)
class WeightMoments:
    """Number, sum and sum of squares of weights rounded to multiples of 2**-36: Python integers, so exact.

    Attributes:
        count: weights summed.
        total: their sum in units of 2**-36.
        squares: the sum of their squares in units of 2**-72.
    """

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, weights: FloatArray) -> "WeightMoments":
        """Sums of the finite ones of some log weights, float64 [N] (in nats); infinite ones and NaN are left out."""
        with np.errstate(over="ignore"):
            units = np.rint(weights * 2.0**_GRID_BITS)
        integers = [int(unit) for unit in units[np.isfinite(units)].tolist()]
        return cls(len(integers), sum(integers), sum(integer * integer for integer in integers))

    def merge(self, other: "WeightMoments") -> "WeightMoments":
        """Sums over both; exact, so the order of merging does not matter."""
        return WeightMoments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean, correctly rounded; 0 of no weights."""
        return self.total / (self.count << _GRID_BITS) if self.count else 0.0

    @property
    def std(self) -> float:
        """Standard deviation (the sum of squares divided by N); exactly 0 of equal weights and of none."""
        scatter = self.count * self.squares - self.total**2
        # In integers, which do not overflow; 64 bits more than the grid's, so that the root's rounding does not show.
        return math.isqrt(scatter << 128) / (self.count << (_GRID_BITS + 64)) if self.count else 0.0

    def standardize(self, weights: FloatArray) -> FloatArray:
        """(weight - mean) / std; 0 for all where the standard deviation is 0."""
        if self.std == 0.0:
            return np.zeros_like(weights)
        return (weights - self.mean) / self.std
