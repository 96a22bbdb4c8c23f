"""Starting point of EM: k-means on a bounded sample of the rows."""

import warnings

import numpy as np
from numpy.typing import NDArray

from hir_transforms.common.threads import use_one_thread
from hir_transforms.mixtures.em import DEFAULT_REG_COVAR, GaussianMixture, RowBounds

Rows = NDArray[np.floating]


def effective_components(num_components: int, num_rows: int) -> tuple[int, str | None]:
    """Number of components that `num_rows` rows can carry, and a warning where it is fewer than asked for.

    Raises:
        ValueError: for no rows or fewer than one component.
    """
    if num_components < 1:
        raise ValueError(f"num_components must be at least 1, got {num_components}")
    if num_rows < 1:
        raise ValueError("a mixture cannot be fitted to no rows")
    if num_components <= num_rows:
        return num_components, None
    return num_rows, (
        f"{num_components} components asked for, but there are only {num_rows} rows: fitting {num_rows} components"
    )


def initial_mixture(
    sample_rows: Rows, num_components: int, seed: int, reg_covar: float = DEFAULT_REG_COVAR
) -> GaussianMixture:
    """Mixture with one component for each k-means cluster of a sample: its share, mean and variances.

    Args:
        sample_rows: float32 or float64 [M, D], M >= 1, in an order that does not depend on the runner.
        num_components: K; fewer come back where the sample has fewer distinct rows.
        seed: of k-means++ (D. Arthur and S. Vassilvitskii, 2007); the same rows and seed give the same bits on one
            processor family.
        reg_covar: added to each variance.

    Raises:
        ValueError: for no rows, NaN or infinity.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    RowBounds.from_rows(sample_rows)  # refuses NaN and infinity
    allowed, _ = effective_components(num_components, len(sample_rows))
    kmeans = KMeans(_count_distinct(sample_rows, allowed), n_init=1, random_state=seed)
    use_one_thread()
    with warnings.catch_warnings():
        # Rows that are almost the same can share a cluster and leave another empty; it is left out below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = kmeans.fit_predict(sample_rows)
    clusters = [sample_rows[labels == label].astype(np.float64) for label in np.unique(labels)]
    return GaussianMixture(
        weights=np.array([len(cluster) for cluster in clusters]) / len(sample_rows),
        means=np.stack([cluster.mean(axis=0) for cluster in clusters]),
        covariances=np.stack([cluster.var(axis=0) for cluster in clusters]) + reg_covar,
    )


def _count_distinct(rows: Rows, limit: int) -> int:
    """Number of distinct rows, counted no further than `limit`."""
    distinct: set[bytes] = set()
    for row in rows:
        distinct.add((row + 0.0).tobytes())  # -0.0 + 0.0 is 0.0: equal rows have equal bytes
        if len(distinct) == limit:
            break
    return len(distinct)
