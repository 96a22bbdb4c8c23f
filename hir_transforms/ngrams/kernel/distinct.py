"""The distinct buckets of one text and how often it has each: listed, or weighed by linear classifiers.

A classifier's features of a text are log(1 + count) of each bucket, scaled to unit Euclidean length.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from hir_transforms.common.portable_log import portable_log
from hir_transforms.ngrams.kernel.intrinsics import Hashes

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# Counts below are looked up: 32 KB, of which the first few lines stay in the first-level cache.
TABLE_SIZE = 1 << 12
_LN2 = math.log(2.0)


class Distinct(NamedTuple):
    """What is done with the counts of each text's n-grams; all arrays are empty where nothing is.

    Attributes:
        counts: int64 [B], scratch; zeros before and after a call.
        touched: int64 [B + 1], scratch: the buckets of a text, by their first n-gram.
        logs: float64 [B], scratch.
        log1p: float64 [`TABLE_SIZE`], log(1 + count) of small counts.
        coefficients: float64 [T, F, B]; T may be 0.
        intercepts: float64 [T, F].
        folds: int64 [N], which of the F classifiers is a text's.
        decisions: float64 [N, T], the result: coefficients times features, plus intercept.
        bounds: int64 [N + 1], the result: where the distinct buckets of each text end in a list of all; begins with 0.
        listed: int64 [2, M], the result: this list of buckets and their counts; M may be 0 to leave it out.
    """

    counts: Counts
    touched: Counts
    logs: Floats
    log1p: Floats
    coefficients: npt.NDArray[np.float64]
    intercepts: Floats
    folds: Counts
    decisions: Floats
    bounds: Counts
    listed: Counts


def new_distinct(num_buckets: int) -> Distinct:
    """Room for the counts of a text, and no classifier; of 0 buckets, what makes the loop leave all this out."""
    counts, no_floats = np.empty(0, np.int64), np.empty((0, 0))
    coefficients = np.empty((0, 0, num_buckets))
    coefficients.flags.writeable = False
    return Distinct(
        np.zeros(num_buckets, np.int64),
        np.empty(num_buckets + 1, np.int64),
        np.empty(num_buckets),
        # The same bits on every processor.
        portable_log(np.arange(1, TABLE_SIZE + 1, dtype=np.float64)),
        coefficients,
        intercepts=no_floats,
        folds=counts,
        decisions=no_floats,
        bounds=counts,
        listed=np.empty((2, 0), np.int64),
    )


@numba.njit
def _log1p_beyond(table: Floats, count: int) -> float:
    """log(1 + count) within 1e-15 of itself, of what is beyond the table: by halving it (1 + count = m 2^k)."""
    shift = 0
    value = float(count + 1)
    while value > TABLE_SIZE:
        value *= 0.5
        shift += 1
    whole = int(value)
    # The rest is below 1 / 2048, so six terms of the series of log(1 + x) are exact.
    x = (value - whole) / whole
    series = x * (1.0 - x * (1.0 / 2 - x * (1.0 / 3 - x * (1.0 / 4 - x * (1.0 / 5 - x * (1.0 / 6))))))
    return table[whole - 1] + series + shift * _LN2


@numba.njit
def note_buckets(distinct: Distinct, buckets: Hashes, size: int, num_distinct: int) -> int:
    """Counts the first `size` buckets; returns how many distinct ones the text has so far."""
    counts, touched = distinct.counts, distinct.touched
    # Unsigned indices need no look whether they count from the end.
    for i in range(np.uintp(size)):
        bucket = buckets[i]
        count = counts[bucket]
        touched[np.uintp(num_distinct)] = bucket
        num_distinct += int(count == 0)
        counts[bucket] = count + 1
    return num_distinct


@numba.njit
def finish_text(distinct: Distinct, text: int, num_distinct: int) -> None:
    """Writes the results of a text, and clears the counts for the next."""
    counts, touched, logs, log1p = distinct.counts, distinct.touched, distinct.logs, distinct.log1p
    listed, first = distinct.listed, distinct.bounds[text]
    distinct.bounds[text + 1] = first + num_distinct
    if listed.shape[1] > 0:
        for i in range(num_distinct):
            listed[0, first + i] = touched[i]
            listed[1, first + i] = counts[touched[i]]
    square = 0.0
    for i in range(num_distinct):
        bucket = touched[i]
        count = counts[bucket]
        counts[bucket] = 0
        # No function looks the small ones up: to hand it the table would take longer than the rest of this loop.
        value = log1p[count] if count < TABLE_SIZE else _log1p_beyond(log1p, count)
        logs[i] = value
        square += value * value
    # A text without n-grams has no direction: its features are zeros.
    scale = 1.0 / math.sqrt(square) if num_distinct > 0 else 0.0
    for target in range(distinct.coefficients.shape[0]):
        fold = distinct.folds[text]
        coefficients = distinct.coefficients[target, fold]
        total = 0.0
        for i in range(num_distinct):
            total += logs[i] * coefficients[touched[i]]
        distinct.decisions[text, target] = total * scale + distinct.intercepts[target, fold]
