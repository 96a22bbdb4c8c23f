"""Which examples are chosen, in the order of draws of `data-selection`: the same seed chooses the same."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hir_transforms.common.errors import UserError


def shares(proportions: Sequence[float]) -> npt.NDArray[np.float64]:
    """Proportions with the sum 1, float64 [T]."""
    values = np.asarray(proportions, np.float64)
    return values / values.sum()


def choose(
    weights: npt.NDArray[np.float64],
    eligible: npt.NDArray[np.bool_],
    num_to_sample: int,
    proportions: npt.NDArray[np.float64],
    *,
    top_k: bool,
) -> npt.NDArray[np.bool_]:
    """Chooses for one target after the other, each example once, by Gumbel top-k.

    Args:
        weights: log weights, float64 [N, T].
        eligible: bool [N].
        num_to_sample: how many.
        proportions: float64 [T], with the sum 1.
        top_k: without noise; else it is drawn from `numpy.random`'s global generator.

    Returns:
        bool [N].

    Raises:
        UserError: if fewer are eligible.
    """
    num_eligible = int(np.count_nonzero(eligible))
    if not 0 <= num_to_sample <= num_eligible:
        raise UserError(f"num_to_sample: {num_to_sample} examples asked for, but only {num_eligible} can be chosen")
    numbers = [int(num_to_sample * share) for share in proportions]
    numbers[-1] += num_to_sample - sum(numbers)
    left, chosen = eligible.copy(), np.zeros(len(eligible), np.bool_)
    for target, number in enumerate(numbers):
        if not number:
            continue
        keys = weights[left, target]
        if not top_k:
            keys = keys + np.random.gumbel(size=keys.shape)  # noqa: NPY002 (the user has seeded this one)
        best = np.flatnonzero(left)[np.argpartition(-keys, number - 1)[:number]]
        chosen[best], left[best] = True, False
    return chosen
