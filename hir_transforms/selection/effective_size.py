"""Kish's effective sample size of importance weights, from sums that are exact whatever order they are merged in."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_LN2 = math.log(2.0)
_MANTISSA_BITS = 52
# The last digits depend on the processor's exponential function.
_DIGITS = 6


@dataclass(frozen=True)
class WeightSums:
    """The sums of weights and of their squares: of m 2^k and of m 4^k, over integers m by integers k.

    Attributes:
        weights: m by k of the weights.
        squares: m by k of the squares.
    """

    weights: Mapping[int, int] = field(default_factory=dict)
    squares: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, log_weights: npt.NDArray[np.float64]) -> "WeightSums":
        """Those of natural logarithms of weights, float64 [N]; the ones that are not finite are left out."""
        powers = log_weights / _LN2
        powers = powers[np.isfinite(powers)]
        if not powers.size:
            return cls()
        most = float(powers.max())
        exponent = math.floor(most)
        with np.errstate(over="ignore", under="ignore"):  # of differences, whose power is 0 or next to it
            scaled = np.exp2(powers - most)
            squares = np.square(scaled)
        rest = 2.0 ** (most - exponent)
        return cls(
            {exponent: int(math.ldexp(float(scaled.sum()) * rest, _MANTISSA_BITS))},
            {exponent: int(math.ldexp(float(squares.sum()) * rest * rest, _MANTISSA_BITS))},
        )

    def merge(self, other: "WeightSums") -> "WeightSums":
        """Sums of both."""
        return WeightSums(
            Counter(self.weights) + Counter(other.weights), Counter(self.squares) + Counter(other.squares)
        )

    @property
    def effective_size(self) -> float | None:
        """(sum of weights)^2 / (sum of squares), to six digits; None of no weight.

        It is exp(2 logsumexp(w) - logsumexp(2 w)) of log weights w: the number of documents of equal weights that a
        weighted mean would be as uncertain of.
        """
        if not self.weights:
            return None
        most = max(self.weights)
        weights = math.fsum(math.ldexp(m, k - most) for k, m in self.weights.items())
        squares = math.fsum(math.ldexp(m, 2 * (k - most)) for k, m in self.squares.items())
        size = weights / squares * math.ldexp(weights, -_MANTISSA_BITS)
        return float(f"{size:.{_DIGITS}g}")
