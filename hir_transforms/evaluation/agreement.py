"""What selections have in common: texts that they share, and texts that one has several times."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def count_common(hashes: Sequence[npt.NDArray[np.uint64]]) -> npt.NDArray[np.int64]:
    """The number of distinct texts that two sets share, int64 [S, S]; on the diagonal those of one.

    Args:
        hashes: of the texts of each of S sets.
    """
    distinct = [np.unique(one) for one in hashes]
    common = np.zeros((len(hashes), len(hashes)), np.int64)
    for (i, one), (j, other) in itertools.combinations_with_replacement(enumerate(distinct), 2):
        shared = len(one) if i == j else len(np.intersect1d(one, other, assume_unique=True))
        common[i, j] = common[j, i] = shared
    return common


def describe_pairs(common: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Overlap and Jaccard index of each pair of selections; JSON values.

    The overlap is the number of distinct texts in common over that of the smaller selection; the Jaccard index is over
    that of both together.

    Args:
        common: as `count_common` gives it, positive on its diagonal.
    """
    return [
        {
            "selections": [i, j],
            "common": int(common[i, j]),
            "overlap": float(common[i, j] / min(common[i, i], common[j, j])),
            "jaccard": float(common[i, j] / (common[i, i] + common[j, j] - common[i, j])),
        }
        for i, j in itertools.combinations(range(len(common)), 2)
    ]
