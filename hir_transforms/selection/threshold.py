"""The exact selection threshold: where a budget of documents or tokens ends among ranked documents.

Documents are ranked by key, the largest first, and then by position in the corpus, the earliest first. What is taken
is the longest prefix of this order whose amounts (1 a document, or its tokens) add up to at most the budget. The
threshold is found without sorting or holding all documents: a `ThresholdSearch` narrows down, by mergeable histograms
of integers, the range in which the first document that is not taken lies.
"""

from dataclasses import dataclass, replace

import numpy as np

_OFFSET_BITS = 40
_FILE_BITS = 24
_LAST = (1 << 64) - 1
_BIN_BITS = 16
_NUM_BINS = 1 << _BIN_BITS
# Rows that are few enough to be gathered and sorted. A bin narrower than this holds no more positions either.
_MAX_GATHERED = 1 << 16
# 64 bits of the key are known after four passes, all but 16 bits of the position after three, and one pass gathers.
MAX_PASSES = 8


def order_bits(keys: np.ndarray) -> np.ndarray:
    """Integers that are ordered like the keys: 0.0 and -0.0 are equal, and nan comes below -inf.

    Args:
        keys: float64 [N].

    Returns:
        uint64 [N], less than 2^64 - 1.
    """
    bits = (keys + 0.0).view(np.uint64)
    # Of a negative number all bits are turned, of any other the sign alone.
    turned = (bits.view(np.int64) >> np.int64(63)).view(np.uint64) | np.uint64(1 << 63)
    bits ^= turned
    bits[np.isnan(keys)] = 0
    return bits


def _key_of(bits: int) -> float:
    """The key of these `order_bits`; an infinity where they lie beyond it."""
    positive = bits >> 63
    key = np.array([bits ^ (1 << 63 if positive else _LAST)], np.uint64).view(np.float64)[0]
    if np.isnan(key):
        return np.inf if positive else -np.inf
    return float(key)


def pack_positions(files: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Positions in the corpus as integers that are ordered like (file, offset).

    Args:
        files: int64 [N], index of each document's file in the corpus.
        offsets: int64 [N], byte offset of its line.

    Returns:
        uint64 [N], less than 2^64 - 1.

    Raises:
        ValueError: from 2^24 - 1 files or 2^40 bytes (1 TiB) in a file on.
    """
    if files.size and (files.max() >= (1 << _FILE_BITS) - 1 or offsets.max() >= 1 << _OFFSET_BITS):
        raise ValueError("more than 16 million files, or more than 1 TiB in one file")
    return files.astype(np.uint64) << np.uint64(_OFFSET_BITS) | offsets.astype(np.uint64)


@dataclass(frozen=True)
class Threshold:
    """The rank of the first document that is not taken.

    Attributes:
        bits: `order_bits` of its key.
        position: its position, as `pack_positions` gives it.
    """

    bits: int
    position: int

    def takes(self, bits: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Which documents come before the threshold, bool [N]."""
        limit = np.uint64(self.bits)
        return (bits > limit) | ((bits == limit) & (positions < np.uint64(self.position)))

    @property
    def least_key(self) -> float:
        """No document of a smaller key is taken."""
        return _key_of(self.bits)


NOTHING = Threshold(_LAST, 0)
EVERYTHING = Threshold(0, _LAST)


@dataclass(frozen=True)
class Histogram:
    """Documents of a range by bins of equal width.

    Attributes:
        counts: int64 [65536], documents.
        sums: int64 [65536], their amounts; the same array where each amount is 1.
        values: the smallest and the largest binned value.
        positions: the smallest and the largest position.
    """

    counts: np.ndarray
    sums: np.ndarray
    values: tuple[int, int]
    positions: tuple[int, int]

    def merge(self, other: "Histogram") -> "Histogram":
        """Of both sets of documents; exact, in any order."""
        counts = self.counts + other.counts
        sums = counts if self.sums is self.counts and other.sums is other.counts else self.sums + other.sums
        return Histogram(counts, sums, _hull(self.values, other.values), _hull(self.positions, other.positions))


def _hull(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return min(one[0], other[0]), max(one[1], other[1])


@dataclass(frozen=True)
class RankedRows:
    """All documents of a narrow range: key bits and positions, uint64 [N], and amounts, int64 [N], in any order."""

    bits: np.ndarray
    positions: np.ndarray
    amounts: np.ndarray

    def merge(self, other: "RankedRows") -> "RankedRows":
        """Both sets of documents."""
        pairs = ((self.bits, other.bits), (self.positions, other.positions), (self.amounts, other.amounts))
        return RankedRows(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class ThresholdSearch:
    """What is known of a threshold: made by `start`, it learns by `advance` from what `measure` finds in documents.

    The values in question are key bits or, once the threshold's key is known, turned positions of the documents with
    this key; the larger value ranks first.

    Attributes:
        budget: what is left of it for the documents in question.
        low, high: the values in question, both included.
        bits: of the threshold's key, once it is known.
        gathers: whether the documents in question are few enough to be sorted.
        total: amounts of all documents, known after the first pass (unless that gathers the first ones alone).
        threshold: the result, once it is known.
    """

    budget: int
    low: int = 0
    high: int = _LAST
    bits: int | None = None
    gathers: bool = False
    total: int | None = None
    threshold: Threshold | None = None

    @classmethod
    def start(cls, budget: int, *, gathers: bool = False) -> "ThresholdSearch":
        """The search for a budget; a budget of 0 takes nothing.

        Args:
            budget: sum of amounts.
            gathers: the first pass is given as `RankedRows`: all documents, or enough of the first to exceed the
                budget.
        """
        return cls(budget, gathers=gathers, threshold=None if budget else NOTHING)

    @property
    def keys(self) -> tuple[float, float]:
        """The smallest and the largest key that the documents in question can have."""
        low, high = (self.low, self.high) if self.bits is None else (self.bits, self.bits)
        return _key_of(low), _key_of(high)

    @property
    def _shift(self) -> int:
        return max(0, (self.high - self.low).bit_length() - _BIN_BITS)

    def measure(
        self, bits: np.ndarray, positions: np.ndarray, amounts: np.ndarray | None
    ) -> Histogram | RankedRows | None:
        """What the next pass has to know of some documents; None if there is nothing in them to know.

        Args:
            bits: uint64 [N], as `order_bits` gives them.
            positions: uint64 [N], as `pack_positions` gives them, all different.
            amounts: int64 [N] of at least 0; None counts documents.
        """
        if self.threshold is not None:
            return None
        values = bits if self.bits is None else ~positions
        inside = (values >= np.uint64(self.low)) & (values <= np.uint64(self.high))
        if self.bits is not None:
            inside &= bits == np.uint64(self.bits)
        if not inside.all():
            bits, positions, values = bits[inside], positions[inside], values[inside]
            amounts = None if amounts is None else amounts[inside]
        if not bits.size:
            return None
        if self.gathers:
            ones = np.ones(len(bits), np.int64)
            return RankedRows(bits, positions, ones if amounts is None else amounts.astype(np.int64))
        bins = ((values - np.uint64(self.low)) >> np.uint64(self._shift)).astype(np.int64)
        counts = np.bincount(bins, minlength=_NUM_BINS)
        sums = counts
        if amounts is not None:
            sums = np.zeros(_NUM_BINS, np.int64)
            np.add.at(sums, bins, amounts.astype(np.int64))
        return Histogram(
            counts,
            sums,
            (int(values.min()), int(values.max())),
            (int(positions.min()), int(positions.max())),
        )

    def advance(self, measured: Histogram | RankedRows | None) -> "ThresholdSearch":
        """The next state, from the merged measures of all documents."""
        if self.threshold is not None:
            return self
        if measured is None:
            return replace(self, total=self.total or 0, threshold=EVERYTHING)
        if isinstance(measured, RankedRows):
            return self._end(measured)
        sums = np.cumsum(measured.sums[::-1])
        total = int(sums[-1]) if self.total is None else self.total
        place = int(np.searchsorted(sums, self.budget, side="right"))
        if place == _NUM_BINS:
            return replace(self, total=total, threshold=EVERYTHING)
        number = _NUM_BINS - 1 - place
        least, most = measured.values
        low = self.low + (number << self._shift)
        high = min(low + (1 << self._shift) - 1, most)
        narrowed = replace(
            self,
            budget=self.budget - int(sums[place] - measured.sums[number]),
            low=max(low, least),
            high=high,
            gathers=bool(measured.counts[number] <= _MAX_GATHERED),
            total=total,
        )
        if narrowed.gathers or narrowed.low < narrowed.high:
            return narrowed
        first, last = measured.positions
        return replace(narrowed, bits=narrowed.low, low=_LAST - last, high=_LAST - first)

    def _end(self, gathered: RankedRows) -> "ThresholdSearch":
        order = np.lexsort((gathered.positions, ~gathered.bits))
        sums = np.cumsum(gathered.amounts[order])
        total = int(sums[-1]) if self.total is None else self.total
        place = int(np.searchsorted(sums, self.budget, side="right"))
        if place == len(order):
            return replace(self, total=total, threshold=EVERYTHING)
        first = order[place]
        return replace(
            self, total=total, threshold=Threshold(int(gathered.bits[first]), int(gathered.positions[first]))
        )
