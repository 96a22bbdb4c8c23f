"""Histograms of numbers of any size, merged exactly in any order, and shown in a few bins of equal width."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Of the 64 bits that order floats, the highest: sign, exponent, and 8 bits of the mantissa. A bin is 0.4 % wide.
_CODE_BITS = 20
_REST = np.uint64(64 - _CODE_BITS)
_TAIL = 0.05
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True, eq=False)
class FloatHistogram:
    """Numbers of documents by a float of each.

    Attributes:
        codes: int64 [N], ascending; the bins that are not empty.
        counts: int64 [N, C], documents of each of C sets in the bin.
    """

    codes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], members: npt.NDArray[np.bool_]) -> "FloatHistogram":
        """Counts values; infinite ones too.

        Args:
            values: float64 [N], none of them nan.
            members: bool [N, C], which sets each is in.
        """
        codes, places = np.unique(_code(values), return_inverse=True)
        counts = np.zeros((len(codes), members.shape[1]), np.int64)
        np.add.at(counts, places, members)
        return cls(codes, counts)

    def merge(self, other: "FloatHistogram") -> "FloatHistogram":
        """The histogram of both."""
        codes, places = np.unique(np.concatenate([self.codes, other.codes]), return_inverse=True)
        counts = np.zeros((len(codes), self.counts.shape[1]), np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, other.counts]))
        return FloatHistogram(codes, counts)

    def cut(self, documents: int) -> tuple[float, int]:
        """The lower end of the bin down to which there are at least so many documents, and how many there are.

        Args:
            documents: of the first set, which has some whose number is finite; of more than it has, all.
        """
        lows = _low_end(self.codes)
        finite = np.isfinite(lows)
        lows, above = lows[finite], np.cumsum(self.counts[::-1, 0])[::-1][finite]
        place = max(0, int(np.searchsorted(-above, -documents, side="right")) - 1)
        return float(lows[place]), int(above[place])

    def bins(self, number: int) -> list[tuple[float, float, list[int]]]:
        """At most so many bins of equal width, (low, high, documents of each set).

        They reach from where a twentieth of the documents of some set ends to where the last twentieth of some set
        begins; the first and the last have the rest, too. A document counts where the low end of its own narrow bin
        lies.
        """
        lows = _low_end(self.codes)
        finite = np.isfinite(lows)
        lows, counts = lows[finite], self.counts[finite]
        if not len(lows):
            return []
        below = [np.cumsum(column) for column in counts.T if column.any()]
        left = min(lows[np.searchsorted(one, _TAIL * one[-1])] for one in below)
        right = max(lows[np.searchsorted(one, (1 - _TAIL) * one[-1])] for one in below)
        if left == right:
            return [(float(left), float(right), counts.sum(axis=0).tolist())]
        edges = np.linspace(left, right, number + 1)
        places = np.clip(np.searchsorted(edges, lows, side="right") - 1, 0, number - 1)
        sums = np.zeros((number, counts.shape[1]), np.int64)
        np.add.at(sums, places, counts)
        return [(float(edges[i]), float(edges[i + 1]), sums[i].tolist()) for i in range(number)]


def _code(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    bits = (values + 0.0).view(np.uint64)
    turned = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (turned >> _REST).astype(np.int64)


def _low_end(codes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    turned = codes.astype(np.uint64) << _REST
    return np.where(turned & _SIGN, turned ^ _SIGN, ~turned).view(np.float64)
