"""A bounded memory of SHA-256 buckets: n-gram hash to bucket, set-associative.

Most n-grams of a corpus are repetitions, and SHA-256 is many times the work of a look-up. A set is one cache line of
the processor: four entries of two uint64, the newest first. An entry holds the n-gram's 64-bit `fast-v2` hash, and 40
bits of a second hash, with other constants, beside the 24 bits of the bucket.

A look-up gives the bucket of another n-gram only if all 104 bits agree. If the two hashes are as good as random and
have nothing to do with each other, that is at most 2**-82 a look-up: less than once in 10**12 corpora of 10**12
n-grams. This is an assumption, not a theorem. What was searched, and found free of collisions in either hash, is all
tokens of one and two bytes, these with NULs before and after them up to eight bytes and across a word's end, these
repeated, and the bigrams of the shortest; pairs that agree in 24 bits of one hash agree in the other by chance (see
test_hashes.py). The hashes are not cryptographic: someone could construct two n-grams that agree, and would gain one
wrong bucket of these two.
"""

import numba
import numpy as np

from hir_transforms.ngrams.kernel.intrinsics import Hashes, multiply_high, prefetch

NUM_SETS = 2**20  # 64 MiB
ABSENT = np.uint64(2**64 - 1)
_SET_SIZE = 8
_BUCKET_BITS = np.uint64(2**24 - 1)


def new_cache(num_sets: int) -> Hashes:
    """Returns an empty cache of `num_sets` sets, 64 bytes each."""
    return np.zeros(num_sets * _SET_SIZE, np.uint64)


@numba.njit
def set_start(cache: Hashes, key: np.uint64) -> np.intp:
    """The index of the first entry of the set that a key belongs to."""
    return np.intp(multiply_high(key, np.uint64(cache.size // _SET_SIZE))) * _SET_SIZE


@numba.njit
def prefetch_set(cache: Hashes, key: np.uint64) -> None:
    """Fetches the set of `key` ahead of its look-up."""
    prefetch(cache, set_start(cache, key))


@numba.njit
def look_up(cache: Hashes, key: np.uint64, check: np.uint64) -> np.uint64:
    """The bucket remembered for the n-gram with these two hashes, or ABSENT."""
    start = set_start(cache, key)
    for entry in range(start, start + _SET_SIZE, 2):
        if cache[entry] == key and (cache[entry + 1] ^ check) & ~_BUCKET_BITS == 0:
            return cache[entry + 1] & _BUCKET_BITS
    return ABSENT


@numba.njit
def remember(cache: Hashes, key: np.uint64, check: np.uint64, bucket: np.uint64) -> None:
    """Puts an entry first in its set; the oldest falls out."""
    start = set_start(cache, key)
    for i in range(start + _SET_SIZE - 1, start + 1, -1):
        cache[i] = cache[i - 2]
    cache[start] = key
    cache[start + 1] = (check & ~_BUCKET_BITS) | bucket
