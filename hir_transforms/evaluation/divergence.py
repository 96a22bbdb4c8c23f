"""How far distributions are from each other: KL divergence and its reduction as DSIR defines them; Jensen-Shannon."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hir_transforms.common.portable_log import portable_log

# Added to probabilities within the logarithm alone, as the authors of DSIR do (github.com/p-lambda/dsir, issue 11).
_FLOOR = 1e-10


def kl_divergence(p_counts: npt.ArrayLike, q_counts: npt.ArrayLike) -> float:
    """KL(p || q) of two distributions over the same buckets, in nats.

    `sum_b p(b) (log(p(b) + 1e-10) - log(q(b) + 1e-10))`, where `p(b)` is the count of bucket b over the sum of all
    counts, and `q(b)` likewise. No count is smoothed, and no distribution is normalised again: it is the computation
    that the authors of DSIR give. So it is finite where q has an empty bucket, and up to `1e-10` per bucket from the
    divergence of the formula without the floor where it has none.

    Args:
        p_counts: integers [B], not all 0.
        q_counts: integers [B], not all 0.

    Raises:
        ValueError: If the shapes differ or there is nothing in one of them.
    """
    p, q = _probabilities(p_counts), _probabilities(q_counts)
    if p.shape != q.shape:
        raise ValueError(f"counts of {len(p)} buckets and of {len(q)}")
    return math.fsum((p * (portable_log(p + _FLOOR) - portable_log(q + _FLOOR))).tolist())


def kl_reduction(target_counts: npt.ArrayLike, random_counts: npt.ArrayLike, selected_counts: npt.ArrayLike) -> float:
    """The KL reduction of a selection (Xie et al. 2023, arXiv 2302.03169, section 6), in nats; more is better.

    `1 / |T| sum_{t in T} (KL(t || random) - KL(t || selected))` over the targets T, with `kl_divergence` between the
    distributions of hashed n-grams: how much nearer than a random selection of as many documents the selection is to
    the targets.

    Args:
        target_counts: integers [T, B], n-grams of each target in each bucket.
        random_counts: integers [B], those of documents drawn at random from raw.
        selected_counts: integers [B].

    Raises:
        ValueError: As `kl_divergence` does.
    """
    differences = [
        kl_divergence(target, random_counts) - kl_divergence(target, selected_counts)
        for target in np.atleast_2d(np.asarray(target_counts))
    ]
    return math.fsum(differences) / len(differences)


def jensen_shannon_distance(p_counts: npt.ArrayLike, q_counts: npt.ArrayLike) -> float:
    """The square root of the Jensen-Shannon divergence to base 2: 0 of equal distributions, 1 of disjoint ones.

    Args:
        p_counts: numbers of at least 0 [B], not all 0.
        q_counts: the same.

    Raises:
        ValueError: As `kl_divergence` does.
    """
    p, q = _probabilities(p_counts), _probabilities(q_counts)
    if p.shape != q.shape:
        raise ValueError(f"counts of {len(p)} buckets and of {len(q)}")
    middle = (p + q) / 2
    divergence = (_exact_kl(p, middle) + _exact_kl(q, middle)) / 2 / math.log(2)
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def _exact_kl(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    """KL(p || q) where q is positive wherever p is."""
    filled = p > 0
    return math.fsum((p[filled] * (portable_log(p[filled]) - portable_log(q[filled]))).tolist())


def _probabilities(counts: npt.ArrayLike | Sequence[int]) -> npt.NDArray[np.float64]:
    counts = np.asarray(counts)
    if counts.ndim != 1 or not (total := counts.sum()):
        raise ValueError("there is nothing in one of the distributions")
    return counts / total
