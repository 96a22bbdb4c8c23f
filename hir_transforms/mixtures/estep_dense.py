"""Compiled E-step for blocks of rows to which many components of a mixture matter: float32 within a block.

It goes on from the float32 log densities that `estep` screens with, and sums over a block's rows in float32, of
standardised values z = (x - center) / spread, which are near 1 whatever the data. Responsibilities below 2**-24 of a
row's largest are dropped: they are lost among the rounding errors of float32. The sums of blocks are added in float64;
they depend on which rows make a block, and on the BLAS library's kernel for the processor.
"""

import math
from functools import partial
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from hir_transforms.common.compiling import compile_cached

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]

_CUT = 24 * math.log(2)

_vector = types.Array(types.float64, 1, "C")
_matrix = types.Array(types.float64, 2, "C")
_float32_vector = types.Array(types.float32, 1, "C")
_float32_matrix = types.Array(types.float32, 2, "C")
_places = types.Array(types.intp, 1, "C")


def _compile(signature: types.Type, fastmath: set[str] | bool = False) -> Any:
    """Decorator: compile on import, or take from the cache on disk."""
    return partial(compile_cached, signature, nogil=True, error_model="numpy", fastmath=fastmath)


@_compile(
    types.Tuple((types.int64, types.float64))(_float32_matrix, _vector, _vector, types.float64, types.float64, _vector)
)
def count_pairs(
    screened: Float32Array, intercepts: FloatArray, margins: FloatArray, slope: float, cut: float, largest: FloatArray
) -> tuple[int, float]:
    """Fill `largest` [B] with each row's largest log density; return how many may be less than `cut` below it.

    Args:
        screened: float32 [K, B], log densities without their intercepts.
        intercepts: float64 [K].
        margins: float64 [K]; the error of a log density s is at most margin - slope s.
        slope: see margins.
        cut: in nats.
        largest: float64 [B], the result.

    Returns:
        the number of these pairs of component and row, and the largest error bound among them; infinite if a log
        density is not finite.
    """
    num_components, num_rows = screened.shape
    largest[:] = -np.inf
    finite = True
    for k in range(num_components):
        for i in range(num_rows):
            value = screened[k, i] + intercepts[k]
            finite &= abs(value) < np.inf
            largest[i] = max(largest[i], value)
    if not finite:
        return 0, np.inf
    count = 0
    worst = 0.0
    for k in range(num_components):
        margin = margins[k]
        for i in range(num_rows):
            value = screened[k, i] + intercepts[k]
            error = margin - slope * value
            counted = value + error > largest[i] - cut
            count += counted
            worst = max(worst, error if counted else 0.0)
    return count, worst


@_compile(types.void(_float32_matrix, _vector, _vector, _float32_vector, _vector))
def normalize(
    screened: Float32Array,
    intercepts: FloatArray,
    largest: FloatArray,
    inverse_totals: Float32Array,
    log_densities: FloatArray,
) -> None:
    """Turn `screened` [K, B] into responsibilities times each row's total; fill 1 / total and log densities [B]."""
    num_components, num_rows = screened.shape
    totals = np.zeros(num_rows)
    places = np.empty(num_rows, np.intp)
    gaps = np.empty(num_rows)
    for k in range(num_components):
        count = 0
        for i in range(num_rows):  # without a branch, which no processor could guess
            gap = screened[k, i] + intercepts[k] - largest[i]
            places[count] = i
            gaps[count] = gap
            count += gap >= -_CUT
        screened[k] = 0.0
        for pair in range(count):
            share = math.exp(gaps[pair])
            screened[k, places[pair]] = share
            totals[places[pair]] += share
    for i in range(num_rows):
        inverse_totals[i] = 1.0 / totals[i]
        log_densities[i] = largest[i] + math.log(totals[i])


# Which additions of a block come first is the compiler's choice, once for all: vectorised they are ten times as fast.
@_compile(types.void(_float32_matrix, _places, _float32_vector, types.intp, _float32_vector), {"reassoc", "contract"})
def _sum_rows(
    panel: Float32Array, places: IntArray, responsibilities: Float32Array, count: int, sums: Float32Array
) -> None:
    """Fill `sums` with the sum of the first `count` of `responsibilities` times the rows `places` of `panel`."""
    width = panel.shape[1]
    sums[:] = 0.0
    done = 0
    while done + 4 <= count:
        first, second = panel[places[done]], panel[places[done + 1]]
        third, fourth = panel[places[done + 2]], panel[places[done + 3]]
        r1, r2 = responsibilities[done], responsibilities[done + 1]
        r3, r4 = responsibilities[done + 2], responsibilities[done + 3]
        for j in range(width):
            sums[j] += (r1 * first[j] + r2 * second[j]) + (r3 * third[j] + r4 * fourth[j])
        done += 4
    while done < count:
        row, responsibility = panel[places[done]], responsibilities[done]
        for j in range(width):
            sums[j] += responsibility * row[j]
        done += 1


@_compile(types.void(_float32_matrix, _float32_matrix, _float32_vector, _vector, _matrix))
def add_block(
    panel: Float32Array, shares: Float32Array, inverse_totals: Float32Array, counts: FloatArray, sums: FloatArray
) -> None:
    """Add the block's sums of r, r z^2 and r z for r = shares * inverse_totals.

    Args:
        panel: float32 [B, 2 D], z^2 and z of each row.
        shares: float32 [K, B], as of `normalize`.
        inverse_totals: float32 [B], as of `normalize`.
        counts: float64 [K], added to in place.
        sums: float64 [K, 2 D], added to in place.
    """
    num_components, num_rows = shares.shape
    places = np.empty(num_rows, np.intp)
    responsibilities = np.empty(num_rows, np.float32)
    block_sums = np.empty(panel.shape[1], np.float32)
    for k in range(num_components):
        count = 0
        total = 0.0
        for i in range(num_rows):
            responsibility = shares[k, i] * inverse_totals[i]
            places[count] = i
            responsibilities[count] = responsibility
            count += responsibility > 0
            total += responsibility
        if count > 0:
            _sum_rows(panel, places, responsibilities, count, block_sums)
            counts[k] += total
            sums_k = sums[k]
            for j in range(block_sums.size):
                sums_k[j] += block_sums[j]
