"""Labels of documents: the commonest, counted exactly, with bounded memory and in any order."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.common.combining import MergeCombineFn

MOST_LABELS = 100
# Longer labels count by their beginning.
MAX_CHARACTERS = 100
_MOST_HELD = 1 << 14


@dataclass(frozen=True)
class LabelCounts:
    """Documents by their label.

    Attributes:
        commonest: (documents, label) of at most `MOST_LABELS` labels, the commonest first, equal ones by the label.
        documents: with a label or without.
        missing: without a label that is a string or a number.
        distinct: how many labels there are.
        wanted: documents of the label that is wanted.
    """

    commonest: tuple[tuple[int, str], ...] = ()
    documents: int = 0
    missing: int = 0
    distinct: int = 0
    wanted: int = 0

    @classmethod
    def of(cls, counted: tuple[str | None, int], wanted: str | None) -> "LabelCounts":
        """All documents of one label."""
        label, documents = counted
        if label is None:
            return cls(documents=documents, missing=documents)
        is_wanted = wanted is not None and label == shorten(wanted)
        return cls(((documents, label),), documents, distinct=1, wanted=documents if is_wanted else 0)

    def merge(self, other: "LabelCounts") -> "LabelCounts":
        """Counts of both, which share no label."""
        return LabelCounts(
            tuple(heapq.nsmallest(MOST_LABELS, (*self.commonest, *other.commonest), key=_rank)),
            self.documents + other.documents,
            self.missing + other.missing,
            self.distinct + other.distinct,
            self.wanted + other.wanted,
        )

    def summary(self) -> dict[str, Any]:
        """JSON values; "other" are the documents of labels that are not among the commonest."""
        listed = sum(documents for documents, _ in self.commonest)
        return {
            "commonest": [[label, documents] for documents, label in self.commonest],
            "other": self.documents - self.missing - listed,
            "missing": self.missing,
            "distinct": self.distinct,
        }


def _rank(counted: tuple[int, str]) -> tuple[int, str]:
    return -counted[0], counted[1]


def shorten(label: str) -> str:
    """A label as it is counted."""
    return label[:MAX_CHARACTERS]


@dataclass
class LabelTally:
    """Counts labels one after the other; what it holds is given away before it is much."""

    _held: dict[str | None, int] = field(default_factory=dict)

    def add(self, labels: Iterable[str | None]) -> Iterator[tuple[str | None, int]]:
        """Counts labels; gives (label, documents) that are to be summed, where there are too many to hold."""
        for label in labels:
            key = None if label is None else shorten(label)
            self._held[key] = self._held.get(key, 0) + 1
            if len(self._held) >= _MOST_HELD:
                yield from self.flush()

    def flush(self) -> Iterator[tuple[str | None, int]]:
        """Gives the rest."""
        held, self._held = self._held, {}
        yield from held.items()


@dataclass(eq=False)
class CountLabels(beam.PTransform):
    """(label, documents), a label any number of times -> one `LabelCounts`; of nothing, of no document.

    Each label is a key of its own and summed before any is left out, so the counts are exact, and the same in any
    order.

    Attributes:
        wanted: the label whose documents are counted however few they are; None for none.
    """

    wanted: str | None = None

    def expand(self, counted: beam.PCollection[tuple[str | None, int]]) -> beam.PCollection[LabelCounts]:
        """See the class."""
        return (
            counted
            | "Sum" >> beam.CombinePerKey(sum)
            | "Label" >> beam.Map(LabelCounts.of, self.wanted)
            | "Commonest" >> beam.CombineGlobally(MergeCombineFn(LabelCounts.merge))
            | "OrNone" >> beam.Map(lambda found: found or LabelCounts())
        )


def precision(counts: LabelCounts) -> float:
    """The share of documents that have the wanted label."""
    return float(np.float64(counts.wanted) / counts.documents) if counts.documents else 0.0
