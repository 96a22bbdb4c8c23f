"""Hashes of tokens and n-grams, and buckets from hashes.

`fast-v2` hashes an n-gram of tokens t(1) ... t(k), UTF-8 bytes, in 64 bits. With fold(a, b) = the high xor the low
half of the 128-bit product a b, and w(1) ... w(m) the eight-byte little-endian words of a token of L bytes, the last
filled with zeros:

    h(0) = C0,  h(i) = fold(h(i-1) xor w(i), C1) for i < m
    token(t) = fold(h(m-1) xor w(m), C1 xor 2 C4 L)
    g(1) = token(t(k)),  g(j+1) = fold(g(j) xor C2, token(t(k-j)) xor C3)
    bucket = the high half of fold(g(k) xor C2, C1) B

so each n-gram costs one product more than the n-gram of its last tokens. All sums and products but fold's are modulo
2**64. C0 ... C4 are the first 64 fractional bits of the square roots of 2, 3, 5, 7, 11.

The length is in another factor than the bytes, where no byte can cancel it: `.` differs from `-` with a NUL after it
as from any other token. That factor is odd, and C0 does not begin any UTF-8 text, so no product of a token of up to
eight bytes is zero, which would forget the other factor; other products are zero as seldom as they have any value.

`sha256` is data-selection's: the SHA-256 digest of the tokens joined by blanks, as a big-endian integer, modulo B.
"""

import numba
import numpy as np
import numpy.typing as npt

from hir_transforms.ngrams.kernel.intrinsics import (
    Bytes,
    Constants,
    Hashes,
    load64,
    load_tail,
    multiply_fold,
    multiply_high,
)

FAST_V2 = (
    np.uint64(0x6A09E667F3BCC908),
    np.uint64(0xBB67AE8584CAA73B),
    np.uint64(0x3C6EF372FE94F82B),
    np.uint64(0xA54FF53A5F1D36F1),
    np.uint64(0x510E527FADE682D1),
)
# The same hash from the roots of 13, 17, 19, 23, 29: what `bucket_cache` checks beside fast-v2.
CHECK = (
    np.uint64(0x9B05688C2B3E6C1F),
    np.uint64(0x1F83D9ABFB41BD6B),
    np.uint64(0x5BE0CD19137E2179),
    np.uint64(0xCBBB9D5DC1059ED8),
    np.uint64(0x629A292A367CD507),
)


@numba.njit
def token_hash(buffer: Bytes, start: int, end: int, constants: Constants) -> np.uint64:
    """Hashes the token buffer[start:end], of one byte or more; reads up to seven bytes after it."""
    value = constants[0]
    last_factor = constants[1] ^ (np.uint64(end - start) * constants[4] << np.uint64(1))
    # Most tokens have eight bytes at most: one word, and no branch to guess.
    while end - start > 8:
        value = multiply_fold(value ^ load64(buffer, start), constants[1])
        start += 8
    return multiply_fold(value ^ load_tail(buffer, start, end), last_factor)


@numba.njit
def extend_ngram(ngram: np.uint64, token: np.uint64, constants: Constants) -> np.uint64:
    """The hash of an n-gram with one token more in front, from its hash and the token's."""
    return multiply_fold(ngram ^ constants[2], token ^ constants[3])


@numba.njit
def fast_bucket(ngram: np.uint64, num_buckets: int) -> np.uint64:
    """The bucket of an n-gram's hash."""
    return multiply_high(multiply_fold(ngram ^ FAST_V2[2], FAST_V2[1]), np.uint64(num_buckets))


def sha256_powers(num_buckets: int) -> Hashes:
    """Returns 2**(32 i) mod num_buckets for the eight words of a digest, most significant first, uint64 [8]."""
    return np.array([pow(2, 32 * i, num_buckets) for i in reversed(range(8))], np.uint64)


@numba.njit
def sha256_bucket(digests: npt.NDArray[np.uint32], lane: int, powers: Hashes, num_buckets: int) -> np.uint64:
    """The digest of eight words digests[:, lane] modulo num_buckets <= 2**24; the sum stays below 2**59."""
    total = np.uint64(0)
    for i in range(8):
        total += np.uint64(digests[i, lane]) * powers[i]
    return total % np.uint64(num_buckets)
