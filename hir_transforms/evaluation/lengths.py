"""How long documents are: exact counts of lengths, up to a length that few documents have."""

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

# Documents of more tokens count as of so many.
MAX_TOKENS = (1 << 16) - 1
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def count_lengths(num_tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of documents of each length, int64 [`MAX_TOKENS` + 1]; longer ones are in the last place."""
    return np.bincount(np.minimum(num_tokens, MAX_TOKENS), minlength=MAX_TOKENS + 1)


def describe_lengths(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Quantiles, and a histogram of bins whose bounds are powers of 2; JSON values.

    A quantile q is the least length that a share of at least q of the documents does not exceed. A bin
    `[low, high, n]` has the n documents of low to high - 1 tokens; documents of `MAX_TOKENS` and more are in the last.

    Args:
        counts: as `count_lengths` gives them, of at least one document.
    """
    below = np.cumsum(counts)
    total = int(below[-1])
    quantiles = {f"{quantile:g}": int(np.searchsorted(below, np.ceil(quantile * total))) for quantile in _QUANTILES}
    bounds = [0, *(1 << power for power in range(17))]
    histogram = [
        [low, high, int(counts[low:high].sum())] for low, high in itertools.pairwise(bounds) if counts[low:high].any()
    ]
    return {"quantiles": quantiles, "histogram": histogram}
