"""How many of some documents have the text of another: exactly while they are few, else by a sample of their texts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

# Of 16 bytes each, so that it is a small element. The share of a sample is within 1 % of that of all documents.
MOST_TEXTS = 1 << 15


@dataclass(frozen=True, eq=False)
class TextCopies:
    """Texts, and how many documents have each.

    Attributes:
        hashes: uint64 [N], ascending: those of all texts, or of the `MOST_TEXTS` with the smallest.
        counts: int64 [N], documents that have each.
        documents: all that were counted.
    """

    hashes: npt.NDArray[np.uint64]
    counts: npt.NDArray[np.int64]
    documents: int

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64]) -> "TextCopies":
        """Counts documents by the hashes of their texts, uint64 [M]."""
        distinct, counts = np.unique(hashes, return_counts=True)
        return cls(distinct[:MOST_TEXTS], counts[:MOST_TEXTS].astype(np.int64), len(hashes))

    def merge(self, other: "TextCopies") -> "TextCopies":
        """Of the documents of both."""
        hashes, places = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        counts = np.zeros(len(hashes), np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, other.counts]))
        return TextCopies(hashes[:MOST_TEXTS], counts[:MOST_TEXTS], self.documents + other.documents)

    def summary(self) -> dict[str, Any]:
        """JSON values: the documents that could be left out with no text lost, and how many this was told by."""
        counted = int(self.counts.sum())
        share = 1 - len(self.counts) / counted if counted else 0.0
        return {"duplicates": round(share * self.documents), "share": share, "counted": counted}
