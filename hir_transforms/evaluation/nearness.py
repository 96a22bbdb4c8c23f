"""How near sets of documents are by their embeddings: the mean cosine, and the clusters that they fall into."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hir_transforms.common.threads import use_one_thread
from hir_transforms.evaluation.divergence import jensen_shannon_distance

NUM_CLUSTERS = 20
# Rows that leave a worker together: of 384 numbers, 200 KB.
_ROWS_TOGETHER = 128

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClusteredRows:
    """Embeddings of a set of documents, and the clusters that they fall into.

    Attributes:
        rows: float64 [N, D], of length 1.
        clusters: int32 [N], of each row the number of its cluster.
        num_clusters: K.
    """

    rows: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.int32]
    num_clusters: int

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows are in each cluster, int64 [K]."""
        return np.bincount(self.clusters, minlength=self.num_clusters)

    def first(self, number: int) -> "ClusteredRows":
        """So many of the rows."""
        return ClusteredRows(self.rows[:number], self.clusters[:number], self.num_clusters)

    def cosine(self, other: "ClusteredRows") -> float:
        """The mean cosine of all pairs of a row of this set and one of the other."""
        means = [one.rows.mean(axis=0, dtype=np.float64) for one in (self, other)]
        return math.fsum((means[0] * means[1]).tolist())

    def cluster_distance(self, other: "ClusteredRows") -> float:
        """The Jensen-Shannon distance of the shares that the clusters have in both sets."""
        return jensen_shannon_distance(other.counts, self.counts)


def parts_of(rows: Rows) -> Iterator[slice]:
    """Of rows, those that leave a worker together."""
    for first in range(0, len(rows), _ROWS_TOGETHER):
        yield slice(first, first + _ROWS_TOGETHER)


def cluster_rows(sets: Mapping[str, Rows], seed: int = 0) -> dict[str, ClusteredRows]:
    """The clusters that k-means finds in the rows of all sets, scaled to length 1; a row of zeros stays.

    Args:
        sets: by name, float32 [N, D] of at least one row, in an order that does not depend on the runner.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans

    use_one_thread()
    unit = {name: _unit(rows) for name, rows in sets.items()}
    every = np.concatenate([*unit.values()])
    clusters = min(NUM_CLUSTERS, len(np.unique(every, axis=0)))
    labels = KMeans(clusters, n_init=1, random_state=seed).fit_predict(every)
    ends = np.cumsum([len(rows) for rows in unit.values()])[:-1]
    return {
        name: ClusteredRows(rows, own, clusters)
        for (name, rows), own in zip(unit.items(), np.split(labels, ends), strict=True)
    }


def _unit(rows: Rows) -> npt.NDArray[np.float64]:
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
