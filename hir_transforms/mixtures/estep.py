"""Compiled E-step of a mixture of Gaussians with diagonal covariances.

Two passes over each block of rows. *Screening*: one float32 matrix product gives every log density of every row with a
proven error bound, which leaves the few components that can matter to a row. *Evaluation*: for these alone, the log
density in float64 without cancellation, ((x - mean) / std)^2, and their responsibilities. Of all-MiniLM-L6-v2
embeddings, 2 to 3 of 50 or 200 components remain, so the cost is that of the float32 product and the precision that of
float64.

A component matters to a row if its responsibility is at least 2**-52 of the largest one: below that it is lost among
the rounding errors of float64. Evaluation applies this cut exactly, screening only with its error bound on the safe
side. So each row contributes the same integers whatever rows are around it.

Where components overlap, many matter to every row. The sums over a block of such rows are computed in float32 instead,
from the screened log densities (`estep_dense`), unless these are too uncertain. Log densities alone, which score
documents, are always evaluated.

Which rows make a block depends on the rows handed over in one call, so the same calls give the same bits; they may
differ between processor families, whose vectors are of different width.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from hir_transforms.common.compiling import compile_cached
from hir_transforms.mixtures import estep_dense

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
PlaceArray = NDArray[np.int32]
Rows = NDArray[np.floating]

_BLOCK_ROWS = 256  # the panel of a block (256 x 2 x 384 float32) stays in the second-level cache
_CUT = 52 * math.log(2)
# Components a row from which on the float64 evaluation would cost more than the screening.
_DENSE_PAIRS = 16
_PROBE_ROWS = 16
# Largest probable error of a log density in float32, in nats; the usual one is a small part of it.
_DENSE_ERROR = 1 / 16
_BLAS = ThreadpoolController()

# Rows may be views of a file's bytes, hence read-only.
_rows = [types.Array(dtype, 2, "C", readonly=True) for dtype in (types.float32, types.float64)]
_vector = types.Array(types.float64, 1, "C")
_matrix = types.Array(types.float64, 2, "C")
_float32_matrix = types.Array(types.float32, 2, "C")
_int_vector = types.Array(types.int64, 1, "C")
_int_matrix = types.Array(types.int64, 2, "C")
_places = types.Array(types.int32, 1, "C")


class MixtureDensity:
    """The constants of a mixture that its log densities need, and the passes over rows that use them.

    With z = (x - center) / spread, the screening product is log(w_k p_k(x)) = [z^2, z] @ projection_k + intercept_k.

    Args:
        weights, means, covariances: float64 [K], [K, D], [K, D], positive (means: finite).
    """

    def __init__(self, weights: FloatArray, means: FloatArray, covariances: FloatArray) -> None:
        num_features = means.shape[1]
        self._means = np.ascontiguousarray(means)
        self._inverse_stds = 1.0 / np.sqrt(covariances)
        self._peaks = np.log(weights) - 0.5 * np.log(2 * np.pi * covariances).sum(axis=1)

        # The mixture's own mean and standard deviation, which keep the float32 values near 1.
        self._center = weights @ means
        self._spread = np.sqrt(weights @ (covariances + (means - self._center) ** 2))
        z_means = (means - self._center) / self._spread
        z_precisions = self._spread**2 / covariances
        projection = np.concatenate([-0.5 * z_precisions, z_means * z_precisions], axis=1)
        with np.errstate(over="ignore"):  # `_select` lets through what comes out infinite
            self._projection = projection.astype(np.float32)
        mean_terms = 0.5 * (z_means**2 * z_precisions).sum(axis=1)
        self._intercepts = self._peaks - mean_terms

        # Error bound of the screened value s. Let Q = sum |projection z^2| and q = peak - s the halved squared
        # distance. |z mean| <= (z^2 + mean^2) / 2 bounds the absolute terms of the product by 2 Q + mean_terms, and
        # Q <= 2 q + 2 mean_terms; each term passes at most 2 D + 4 roundings. Hence, with g = gamma / (1 - 4 gamma),
        #   |error| <= 4 g (peak - s) + 5 g mean_terms = margin - slope s.
        gamma = (2 * num_features + 4) * 2.0**-24
        self._slope = 4 * gamma / (1 - 4 * gamma)
        self._margins = self._slope * (self._peaks + 1.25 * mean_terms)

    def log_densities(self, rows: Rows, max_abs: FloatArray) -> FloatArray:
        """The log density of each row, float64 [N].

        Raises:
            ValueError: for a row not finite or over `max_abs` [D].
        """
        out = np.empty(len(rows))
        for block, _, screened in self._screen_blocks(rows, max_abs):
            out[block] = self._evaluate(rows[block], screened)[-1]
        return out

    def accumulate(
        self,
        rows: Rows,
        max_abs: FloatArray,
        scales: tuple[float, FloatArray, FloatArray],
        counts: IntArray,
        sum_x: IntArray,
        sum_xx: IntArray,
    ) -> FloatArray:
        """Add the sums of r [K], r x and r x^2 [K, D] in fixed point with `scales`; return the log densities [N]."""
        out = np.empty(len(rows))
        dense_counts, dense_sums = np.zeros(len(counts)), np.zeros((len(counts), 2 * rows.shape[1]))
        for block, panel, screened in self._screen_blocks(rows, max_abs):
            largest = np.empty(len(panel))
            if self._is_dense(screened, largest):
                inverse_totals = np.empty(len(panel), np.float32)
                estep_dense.normalize(screened, self._intercepts, largest, inverse_totals, out[block])
                estep_dense.add_block(panel, screened, inverse_totals, dense_counts, dense_sums)
            else:
                *pairs, out[block] = self._evaluate(rows[block], screened)
                _accumulate(rows[block], *pairs, *scales, counts, sum_x, sum_xx)
        if dense_counts.any():
            sums_zz, sums_z = np.split(dense_sums, 2, axis=1)
            scaled = self._spread * sums_z
            sums_x = scaled + self._center * dense_counts[:, None]
            sums = (dense_counts, sums_x, self._spread**2 * sums_zz + self._center * (scaled + sums_x))
            for total, scale, values in zip((counts, sum_x, sum_xx), scales, sums, strict=True):
                total += np.rint(values * scale).astype(np.int64)
        return out

    def _is_dense(self, screened: Float32Array, largest: FloatArray) -> bool:
        """Whether many components matter to a block's rows, and float32 tells them apart; fills `largest` [B].

        Rounding errors partly cancel: over n of them, the error exceeds the proven bound / sqrt(n) with a probability
        that vanishes (N. J. Higham and T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019).
        """
        constants = (self._intercepts, self._margins, self._slope, _CUT)
        # A few rows tell of most blocks that they are not.
        few, largest_of_few = np.ascontiguousarray(screened[:, :_PROBE_ROWS]), largest[:_PROBE_ROWS]
        if estep_dense.count_pairs(few, *constants, largest_of_few)[0] < _DENSE_PAIRS * len(largest_of_few):
            return False
        num_pairs, bound = estep_dense.count_pairs(screened, *constants, largest)
        return num_pairs >= _DENSE_PAIRS * len(largest) and bound <= _DENSE_ERROR * math.sqrt(2 * self._means.shape[1])

    def _screen_blocks(self, rows: Rows, max_abs: FloatArray) -> Iterator[tuple[slice, Float32Array, Float32Array]]:
        """Of each block: its slice, [z^2, z] of its rows [B, 2 D], log densities without intercepts [K, B].

        The next block takes the place of its arrays: new ones would cost as much as a tenth of the work.
        """
        num_components, num_features = self._means.shape
        buffers = (
            np.empty((_BLOCK_ROWS, 2 * num_features), np.float32),
            np.empty(num_components * _BLOCK_ROWS, np.float32),
        )
        inverse_spread = 1.0 / self._spread
        # Workers share the cores as processes; more BLAS threads would fight over them.
        with _BLAS.limit(limits=1, user_api="blas"):
            for start in range(0, len(rows), _BLOCK_ROWS):
                block = slice(start, min(start + _BLOCK_ROWS, len(rows)))
                size = block.stop - start
                panel = buffers[0][:size]
                screened = buffers[1][: num_components * size].reshape(num_components, size)
                if _standardize(rows[block], max_abs, self._center, inverse_spread, panel):
                    raise ValueError(f"rows {start} to {block.stop - 1} hold NaN, infinity or a value out of bounds")
                with np.errstate(over="ignore", invalid="ignore"):
                    np.matmul(self._projection, panel.T, out=screened)
                yield block, panel, screened

    def _evaluate(self, rows: Rows, screened: Float32Array) -> tuple[PlaceArray, PlaceArray, FloatArray, FloatArray]:
        """Component, place in the block and responsibility of each pair that matters; log densities of the rows."""
        components, places = np.empty(screened.size, np.int32), np.empty(screened.size, np.int32)
        num_pairs = _select(screened, self._intercepts, self._margins, self._slope, components, places)
        components, places = components[:num_pairs], places[:num_pairs]
        responsibilities, log_densities = np.empty(num_pairs), np.empty(len(rows))
        constants = (self._means, self._inverse_stds, self._peaks)
        _evaluate(rows, components, places, *constants, responsibilities, log_densities)
        return components, places, responsibilities, log_densities


def _compile(returns: types.Type, *arguments: types.Type | None, fastmath: set[str] | bool = False) -> Any:
    """Decorator: compile on import, or take from the cache on disk, for rows (None) of float32 and of float64."""
    signatures = {returns(*(rows if argument is None else argument for argument in arguments)) for rows in _rows}
    return partial(compile_cached, list(signatures), nogil=True, error_model="numpy", fastmath=fastmath)


@_compile(types.int64, None, _vector, _vector, _vector, _float32_matrix)
def _standardize(
    rows: Rows, max_abs: FloatArray, center: FloatArray, inverse_spread: FloatArray, panel: Float32Array
) -> int:
    """Fill panel [B, 2 D] with [z^2, z]; return how many values are not within max_abs (NaN is not)."""
    num_rows, num_features = rows.shape
    out_of_bounds = 0
    for i in range(num_rows):
        for d in range(num_features):
            z = (rows[i, d] - center[d]) * inverse_spread[d]
            panel[i, d] = z * z
            panel[i, num_features + d] = z
            out_of_bounds += not abs(rows[i, d]) <= max_abs[d]
    return out_of_bounds


@_compile(types.int64, _float32_matrix, _vector, _vector, types.float64, _places, _places)
def _select(
    screened: Float32Array,
    intercepts: FloatArray,
    margins: FloatArray,
    slope: float,
    components: PlaceArray,
    places: PlaceArray,
) -> int:
    """Write the pairs of component and row that can pass the cut, by component; return their number."""
    num_components, num_rows = screened.shape
    floors = np.full(num_rows, -np.inf)
    for k in range(num_components):
        for i in range(num_rows):
            floor = (screened[k, i] + intercepts[k]) * (1 + slope) - margins[k] - _CUT
            if floors[i] < floor < np.inf:
                floors[i] = floor
    num_pairs = 0
    for k in range(num_components):
        for i in range(num_rows):
            ceiling = (screened[k, i] + intercepts[k]) * (1 - slope) + margins[k]
            if not -np.inf < ceiling < floors[i]:  # true for a value that overflowed float32
                components[num_pairs] = k
                places[num_pairs] = i
                num_pairs += 1
    return num_pairs


# The one float sum whose order is the compiler's choice: vectorised it is five times as fast.
@_compile(types.float64, None, types.int64, _vector, _vector, fastmath={"reassoc"})
def _squared_distance(rows: Rows, i: int, mean: FloatArray, inverse_std: FloatArray) -> float:
    total = 0.0
    for d in range(rows.shape[1]):
        deviation = (rows[i, d] - mean[d]) * inverse_std[d]
        total += deviation * deviation
    return total


@_compile(types.void, None, _places, _places, _matrix, _matrix, _vector, _vector, _vector)
def _evaluate(
    rows: Rows,
    components: PlaceArray,
    places: PlaceArray,
    means: FloatArray,
    inverse_stds: FloatArray,
    peaks: FloatArray,
    responsibilities: FloatArray,
    log_densities: FloatArray,
) -> None:
    """Fill the responsibility of each pair (0 under the cut) and the log density of each row."""
    largest = np.full(rows.shape[0], -np.inf)
    for pair in range(components.size):
        k, i = components[pair], places[pair]
        joint = peaks[k] - 0.5 * _squared_distance(rows, i, means[k], inverse_stds[k])
        responsibilities[pair] = joint
        largest[i] = max(largest[i], joint)
    totals = np.zeros(rows.shape[0])
    for pair in range(components.size):
        gap = responsibilities[pair] - largest[places[pair]]
        responsibilities[pair] = math.exp(gap) if gap >= -_CUT else 0.0
        totals[places[pair]] += responsibilities[pair]
    for pair in range(components.size):
        responsibilities[pair] /= totals[places[pair]]
    for i in range(rows.shape[0]):
        log_densities[i] = largest[i] + math.log(totals[i])


@_compile(
    types.void, None, _places, _places, _vector, types.float64, _vector, _vector, _int_vector, _int_matrix, _int_matrix
)
def _accumulate(
    rows: Rows,
    components: PlaceArray,
    places: PlaceArray,
    responsibilities: FloatArray,
    count_scale: float,
    x_scales: FloatArray,
    xx_scales: FloatArray,
    counts: IntArray,
    sum_x: IntArray,
    sum_xx: IntArray,
) -> None:
    """Add r, r x and r x^2 of each pair to the integer sums, each term rounded to fixed point by itself."""
    for pair in range(components.size):
        k, responsibility = components[pair], responsibilities[pair]
        if responsibility == 0.0:
            continue
        counts[k] += np.int64(np.rint(responsibility * count_scale))
        row, sum_x_k, sum_xx_k = rows[places[pair]], sum_x[k], sum_xx[k]
        for d in range(row.size):
            share = responsibility * row[d]
            sum_x_k[d] += np.int64(np.rint(share * x_scales[d]))
            sum_xx_k[d] += np.int64(np.rint(share * row[d] * xx_scales[d]))
