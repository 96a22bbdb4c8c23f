"""Whether two samples of documents can be told apart: the AUC of the log ratio of their n-grams, cross-fitted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hir_transforms.common.portable_log import portable_log


@dataclass(frozen=True, eq=False)
class DrawnDocument:
    """A document that was drawn for the place of its hash.

    Attributes:
        hash: 64 bits; the lowest bit tells the half that it belongs to.
        buckets: int32 [N], the buckets of its n-grams, ascending.
        counts: int32 [N], how many n-grams are in each.
    """

    hash: int
    buckets: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]

    @property
    def half(self) -> int:
        """0 or 1."""
        return self.hash & 1

    @property
    def order(self) -> tuple[int, bytes, bytes]:
        """By what drawn documents are sorted; the same order wherever they come from."""
        return self.hash, self.buckets.tobytes(), self.counts.tobytes()

    def mean_of(self, of_buckets: npt.NDArray[np.float64]) -> float:
        """The mean over its n-grams, of at least one, of what is given of each bucket, float64 [B]."""
        total = math.fsum((self.counts * of_buckets[self.buckets]).tolist())
        return total / int(self.counts.sum())


def auc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """The area under the ROC curve: P(a positive score > a negative one) + P(they are equal) / 2.

    Args:
        positive: scores, numbers [N], at least one.
        negative: scores, numbers [M], at least one.
    """
    ordered = np.sort(np.asarray(negative, np.float64))
    below, not_above = (np.searchsorted(ordered, np.asarray(positive, np.float64), side) for side in ("left", "right"))
    return float((below.sum() + not_above.sum()) / (2 * below.size * ordered.size))


def two_sample_auc(
    counts: npt.NDArray[np.int64],
    sample: Sequence[DrawnDocument],
    other_counts: npt.NDArray[np.int64],
    other_sample: Sequence[DrawnDocument],
) -> float | None:
    """How well documents of two sets are told apart by their n-grams: 0.5 not at all, 1 always.

    The log ratio of the two sets' distributions, with one n-gram added to each bucket, is fitted to one half of each
    set; the mean of it over the n-grams of a document is the score of drawn documents of the other halves. That is
    done both ways, and the two areas under the curve are averaged.

    Args:
        counts: integers [2, B], n-grams of the documents of each half of the first set.
        sample: documents drawn from it.
        other_counts: integers [2, B], of the second set.
        other_sample: documents drawn from that.

    Returns:
        The mean; None where a half of a sample has no n-gram.
    """
    areas = []
    for half in (0, 1):
        log_ratio = _log_probabilities(counts[1 - half]) - _log_probabilities(other_counts[1 - half])
        scores, other_scores = (
            [document.mean_of(log_ratio) for document in drawn if document.half == half and len(document.buckets)]
            for drawn in (sample, other_sample)
        )
        if not scores or not other_scores:
            return None
        areas.append(auc(scores, other_scores))
    return math.fsum(areas) / 2


def _log_probabilities(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    smoothed = counts + 1
    return portable_log(smoothed / smoothed.sum())
