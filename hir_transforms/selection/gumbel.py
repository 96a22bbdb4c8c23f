"""Gumbel noise that is a pure function of the seed and a document's identity."""

import numpy as np

from hir_transforms.common.portable_log import portable_log

# Of the many passes over an array all but the first find a chunk of this size in a core's cache.
_CHUNK = 1 << 15


def gumbel_noise(hashes: np.ndarray) -> np.ndarray:
    """Standard Gumbel noise from uniform hashes: -log(-log(u)), u in (0, 1), finite for every hash.

    Adding it to log weights and taking the k largest samples k without replacement with probability proportional to
    the weights (Kool, van Hoof and Welling, ICML 2019, arXiv:1903.06059).

    Args:
        hashes: uint64 [N].

    Returns:
        float64 [N], bit-identical on every processor.
    """
    noise = np.empty(hashes.shape)
    for begin in range(0, len(hashes), _CHUNK):
        part = hashes[begin : begin + _CHUNK]
        # 52 bits and a half step: neither 0 nor 1 can come out, and every value is exact in float64.
        uniform = ((part >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        noise[begin : begin + _CHUNK] = -portable_log(-portable_log(uniform))
    return noise


# The noise of the extreme hashes.
MIN_NOISE, MAX_NOISE = gumbel_noise(np.array([0, 2**64 - 1], np.uint64)).tolist()
