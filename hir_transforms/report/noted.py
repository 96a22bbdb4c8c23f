"""Documents that a report shows: the first few of each kind, by an order that does not depend on who finds them."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.documents.records import SourceFile

NUMBER = 10
KINDS = ("best", "above", "below", "worst", "random")


@dataclass(frozen=True)
class NotedDocument:
    """A document, without its text.

    Attributes:
        order: what documents of its kind are sorted by: a number, and its place in the corpus.
        file: that its line is in.
        offset, length: of its line.
        numbers: what is shown of it.
    """

    order: tuple[float, int, int]
    file: SourceFile
    offset: int
    length: int
    numbers: dict[str, Any]


@dataclass(frozen=True)
class NotedDocuments:
    """The first documents of a kind."""

    documents: tuple[NotedDocument, ...]

    def merge(self, other: "NotedDocuments") -> "NotedDocuments":
        """The first of both."""
        both = (*self.documents, *other.documents)
        return NotedDocuments(tuple(heapq.nsmallest(NUMBER, both, key=lambda document: document.order)))


def first_rows(order: npt.NDArray[np.float64], file: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> Any:
    """Row numbers of the `NUMBER` documents that come first by (order, file, offset), int64."""
    rows = np.arange(len(order))
    if len(order) > NUMBER:
        rows = np.flatnonzero(order <= np.partition(order, NUMBER - 1)[NUMBER - 1])
    return rows[np.lexsort((offset[rows], file[rows], order[rows]))][:NUMBER]
