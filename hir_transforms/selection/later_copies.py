"""Which of several equal values come later, by numpy."""

from collections.abc import Sequence

import numpy as np


def later_copies(values: np.ndarray, place: Sequence[np.ndarray]) -> np.ndarray:
    """Indices of the elements whose value an earlier element has as well.

    Only elements that have an equal are ordered by place, so few duplicates cost little more than one sort.

    Args:
        values: [N], sortable.
        place: arrays [N], the most significant first; no two elements of one value have the same place.

    Returns:
        int64 [M], ascending.
    """
    order = np.argsort(values)
    same_as_before = np.zeros(len(values), bool)
    same_as_before[1:] = values[order[1:]] == values[order[:-1]]
    has_equal = same_as_before.copy()
    has_equal[:-1] |= same_as_before[1:]
    copies = order[has_equal]
    copies = copies[np.lexsort((*(part[copies] for part in reversed(place)), values[copies]))]
    # The runs of equal values keep their extents, whatever the order within them.
    return np.sort(copies[same_as_before[has_equal]]).astype(np.int64)
