"""Hashes of tokens and n-grams, and buckets from hashes.

`fast-v1` hashes an n-gram of tokens t1 ... tk (UTF-8 bytes) in 64 bits. With fold(a, b) = the high xor the low half of the
128-bit product a b, and w1 ... wm the eight-byte little-endian words of a token, the last filled up with zeros:

    token(t) = h_m,  h_0 = C0 xor (bytes of t),  h_i = fold(h_(i-1) xor w_i, C1)
    g_1 = token(tk),  g_(j+1) = fold(g_j xor C2, token(t(k-j)) xor C3)
    bucket = high half of fold(g_k xor C2, C1) B

so the hash of an n-gram costs one product more than that of its last n-1 tokens. C0 ... C3 are the first fractional bits of the square
roots of 2, 3, 5, 7.

`sha256` is data-selection's: the SHA-256 digest (FIPS 180-4) of the tokens joined by blanks, as a big-endian integer, modulo B.
"""

import numba
import numpy as np
import numpy.typing as npt

from hir_transforms.numerics.ngram_intrinsics import load64, multiply_fold, multiply_high

_U0, _U3, _U8 = np.uint64(0), np.uint64(3), np.uint64(8)
# Two sets of constants, of the square roots of the first eight primes: of fast-v1, and of the second hash that checks cache keys.
FAST_V1 = (
    np.uint64(0x6A09E667F3BCC908),
    np.uint64(0xBB67AE8584CAA73B),
    np.uint64(0x3C6EF372FE94F82B),
    np.uint64(0xA54FF53A5F1D36F1),
)
CHECK = (
    np.uint64(0x510E527FADE682D1),
    np.uint64(0x9B05688C2B3E6C1F),
    np.uint64(0x1F83D9ABFB41BD6B),
    np.uint64(0x5BE0CD19137E2179),
)


@numba.njit
def token_hash(buffer, start, end, constants):  # type: ignore[no-untyped-def]
    """Hashes buffer[start:end], see the module; reads up to seven bytes more."""
    size = end - start
    value = constants[0] ^ np.uint64(size)
    while size > 8:
        value = multiply_fold(value ^ load64(buffer, start), constants[1])
        start += 8
        size -= 8
    unused = (_U8 - np.uint64(size)) << _U3
    value = multiply_fold(value ^ (load64(buffer, start) << unused >> unused), constants[1])
    return value


@numba.njit
def extend_ngram(ngram, token, constants):  # type: ignore[no-untyped-def]
    """The hash of an n-gram with one token more in front, from its hash and the token's."""
    return multiply_fold(ngram ^ constants[2], token ^ constants[3])


@numba.njit
def fast_bucket(ngram, num_buckets):  # type: ignore[no-untyped-def]
    """The bucket of an n-gram's hash."""
    return multiply_high(multiply_fold(ngram ^ FAST_V1[2], FAST_V1[1]), np.uint64(num_buckets))


def sha256_powers(num_buckets: int) -> npt.NDArray[np.uint64]:
    """Returns 2**(32 i) mod num_buckets for the eight words of a digest, most significant first, uint64 [8]."""
    return np.array([pow(2, 32 * i, num_buckets) for i in reversed(range(8))], np.uint64)


@numba.njit
def sha256_bucket(digests, lane, powers, num_buckets):  # type: ignore[no-untyped-def]
    """The digest of eight words digests[:, lane] modulo num_buckets <= 2**24; the sum stays below 2**59."""
    total = _U0
    for i in range(8):
        total += np.uint64(digests[i, lane]) * powers[i]
    return total % np.uint64(num_buckets)
