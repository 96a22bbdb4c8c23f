"""Principal component analysis from sums that add up to the same bits in any order and grouping.

K. Pearson, "On lines and planes of closest fit to systems of points in space" (1901), by the eigenvectors of the
covariance matrix. Rows are first rounded to integers of up to 20 bits a dimension, about the precision that float32
rows have. Products and sums of these integers are exact in float64 up to 2**53, so a fast float64 matrix product sums
a block of rows exactly, and int64 sums the blocks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hir_transforms.common.threads import use_one_thread
from hir_transforms.mixtures.em import IntArray, RowBounds, Rows, as_rows
from hir_transforms.mixtures.projection import Projection

_MAX_BITS = 20
_SUM_BITS = 62
_BLOCK_ROWS = 1 << (53 - 2 * _MAX_BITS)  # so that sums over a block are exact in float64
_MAX_EXPONENT = 1000  # so that a scale and its inverse are both normal floats


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over rows that are rounded to integers with the scales of the `RowBounds` in use.

    Attributes:
        num_rows: rows summed.
        sum_x: int64 [D].
        sum_xx: int64 [D, D], sum of outer products.
    """

    num_rows: int
    sum_x: IntArray
    sum_xx: IntArray

    @classmethod
    def of(cls, rows: Rows, bounds: RowBounds) -> "Moments":
        """Sums of `rows`, float32 or float64 [N, D]; `bounds` must be those of all rows to be summed."""
        rows = as_rows(rows)
        if (
            rows.shape[1:] != bounds.max_abs.shape
            or not (np.abs(rows).max(axis=0, initial=0.0) <= bounds.max_abs).all()
        ):
            raise ValueError(f"rows of shape {rows.shape} are not within the bounds")
        num_features, scales = rows.shape[1], _scales(bounds)
        sum_x, sum_xx = np.zeros(num_features, np.int64), np.zeros((num_features, num_features), np.int64)
        use_one_thread()
        for first in range(0, len(rows), _BLOCK_ROWS):
            block = np.rint(rows[first : first + _BLOCK_ROWS] * scales)
            sum_x += block.sum(axis=0).astype(np.int64)
            sum_xx += (block.T @ block).astype(np.int64)
        return cls(len(rows), sum_x, sum_xx)

    def merge(self, other: "Moments") -> "Moments":
        """Sums over both sets of rows; exact, so the order of merging does not matter."""
        return Moments(self.num_rows + other.num_rows, self.sum_x + other.sum_x, self.sum_xx + other.sum_xx)

    def covariance(self, bounds: RowBounds) -> NDArray[np.float64]:
        """Covariance matrix of the rounded rows (divided by N), float64 [D, D], each entry correctly rounded."""
        wide = self.sum_x.astype(object)  # Python integers: N sum_xx has more than 64 bits
        exact = self.num_rows * self.sum_xx.astype(object) - np.outer(wide, wide)
        scales = _scales(bounds)
        return (exact / self.num_rows**2).astype(np.float64) / scales[:, None] / scales

    def mean(self, bounds: RowBounds) -> NDArray[np.float64]:
        """Mean of the rounded rows, float64 [D]."""
        return self.sum_x / self.num_rows / _scales(bounds)


def effective_dim(embedding_dim: int, num_features: int, num_rows: int) -> tuple[int, str | None]:
    """Number of principal components that there can be, and a warning where it is fewer than asked for."""
    allowed = min(num_features, num_rows)
    if embedding_dim <= allowed:
        return embedding_dim, None
    return allowed, (
        f"{embedding_dim} embedding dimensions asked for, but there are only {num_rows} rows of {num_features}: "
        f"keeping {allowed} dimensions"
    )


def principal_components(moments: Moments, bounds: RowBounds, dim: int) -> tuple[Projection, NDArray[np.float64]]:
    """The projection to the `dim` directions of largest variance, and each direction's share of all variance.

    The largest entry of each direction is positive (of equal ones the first), so its sign is fixed. Shares are
    float64 [dim], in descending order; all zero where rows do not vary.

    Raises:
        ValueError: unless 1 <= dim <= D.
    """
    covariance = moments.covariance(bounds)
    if not 1 <= dim <= len(covariance):
        raise ValueError(f"dim must lie between 1 and {len(covariance)}, got {dim}")
    use_one_thread()
    variances, vectors = np.linalg.eigh(covariance)
    largest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.where(vectors[largest, np.arange(len(largest))] < 0, -1.0, 1.0)
    total = np.trace(covariance)
    shares = np.maximum(variances, 0.0) / total if total > 0 else np.zeros(len(variances))
    matrix = np.ascontiguousarray(vectors[:, ::-1][:, :dim])
    return Projection(moments.mean(bounds), matrix), shares[::-1][:dim]


def _bits(bounds: RowBounds) -> int:
    """Bits a dimension such that the sum of squares of all rows fits int64."""
    return min(_MAX_BITS, (_SUM_BITS - bounds.num_rows.bit_length()) // 2)


def _scales(bounds: RowBounds) -> NDArray[np.float64]:
    """Powers of two that take a row of at most `bounds.max_abs` to integers of at most 2**bits."""
    exponents = _bits(bounds) - np.frexp(bounds.max_abs)[1]
    return np.ldexp(1.0, np.minimum(exponents, _MAX_EXPONENT))
