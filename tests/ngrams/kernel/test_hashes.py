import codecs
import hashlib
import itertools

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.ngrams.kernel import hashes
from hir_transforms.ngrams.kernel.intrinsics import PADDING

ALGORITHMS = {"fast-v2": hashes.FAST_V2, "check": hashes.CHECK}
algorithms = pytest.mark.parametrize("constants", ALGORITHMS.values(), ids=ALGORITHMS)
_, C1, C2, _, _ = map(int, hashes.FAST_V2)


def fold(a: int, b: int) -> int:
    return (a * b >> 64) ^ (a * b % 2**64)


def token_by_definition(token: bytes, constants=hashes.FAST_V2) -> int:
    c0, c1, _, _, c4 = map(int, constants)
    *words, last = (int.from_bytes(token[i : i + 8], "little") for i in range(0, len(token), 8))
    value = c0
    for word in words:
        value = fold(value ^ word, c1)
    return fold(value ^ last, c1 ^ 2 * c4 * len(token) % 2**64)


def ngram_by_definition(tokens: list[bytes], constants=hashes.FAST_V2) -> int:
    _, _, c2, c3, _ = map(int, constants)
    value = token_by_definition(tokens[-1], constants)
    for token in reversed(tokens[:-1]):
        value = fold(value ^ c2, token_by_definition(token, constants) ^ c3)
    return value


def hash_token(token: bytes, constants=hashes.FAST_V2) -> int:
    # What lies around a token must not matter.
    buffer = np.frombuffer(b"\xff" * 3 + token + b"\xff" * PADDING, np.uint8)
    return int(hashes.token_hash(buffer, 3, 3 + len(token), constants))


def hash_ngram(tokens: list[bytes], constants=hashes.FAST_V2) -> int:
    value = np.uint64(hash_token(tokens[-1], constants))
    for token in reversed(tokens[:-1]):
        value = np.uint64(hashes.extend_ngram(value, np.uint64(hash_token(token, constants)), constants))
    return int(value)


@pytest.mark.parametrize(
    ("ngram", "value", "bucket"),
    [
        (b"a", 0x06A75E9D3EFEE002, 5680),
        (b"alice", 0x441A509DCD9A434B, 7526),
        (b"alice went", 0x253FDA4A1C613910, 4874),
        (b"internationalisation of the 64-bit", 0xF2292C4D225F4916, 1143),
        ("größe 中文".encode(), 0x4F425248A059D486, 3228),
    ],
)
def test_fast_v2_never_changes(ngram, value, bucket):
    tokens = ngram.split(b" ")
    assert (hash_ngram(tokens), int(hashes.fast_bucket(np.uint64(hash_ngram(tokens)), 10_000))) == (value, bucket)


@algorithms
@given(tokens=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4))
def test_ngrams_are_hashed_as_defined(constants, tokens):
    assert hash_ngram(tokens, constants) == ngram_by_definition(tokens, constants)


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**24))
def test_buckets_are_as_defined(value, num_buckets):
    assert int(hashes.fast_bucket(np.uint64(value), num_buckets)) == fold(value ^ C2, C1) * num_buckets >> 64


@pytest.mark.parametrize("suffix", [b"", b"\0", b" of eight and more bytes"], ids=["numbers", "NUL", "long"])
def test_fast_v2_spreads_evenly(suffix):
    buckets = np.array(
        [hashes.fast_bucket(np.uint64(token_by_definition(b"%d" % i + suffix)), 1000) for i in range(100_000)],
        np.intp,
    )
    chi_squared = ((np.bincount(buckets, minlength=1000) - 100.0) ** 2 / 100.0).sum()
    assert abs(chi_squared - 999) < 5 * np.sqrt(2 * 999)


def test_fast_v2_depends_on_the_order_of_tokens():
    words = [b"a", b"b", b"ab", b"alice", b"went"]
    ngrams = [(x,) for x in words] + [(x, y) for x in words for y in words]
    assert len({hash_ngram(list(ngram)) for ngram in ngrams}) == len(ngrams)


@numba.njit
def _hash_tokens(buffer, ends, constants):
    hashed = np.empty(ends.size, np.uint64)
    start = 0
    for i, end in enumerate(ends):
        hashed[i] = hashes.token_hash(buffer, start, end, constants)
        start = end
    return hashed


@numba.njit
def _hash_bigrams(first, last, constants):
    hashed = np.empty(first.size * last.size, np.uint64)
    for i in range(hashed.size):
        hashed[i] = hashes.extend_ngram(last[i % last.size], first[i // last.size], constants)
    return hashed


def hash_tokens(tokens):
    """The two hashed of each token, uint64 [N] each."""
    buffer = np.frombuffer(b"".join(tokens) + bytes(PADDING), np.uint8)
    ends = np.cumsum([len(token) for token in tokens])
    return [_hash_tokens(buffer, ends, constants) for constants in ALGORITHMS.values()]


BYTES = [bytes([byte]) for byte in range(256)]
UP_TO_TWO_BYTES = BYTES + [first + second for first in BYTES for second in BYTES]
FAMILIES = {
    "up to two bytes": lambda: UP_TO_TWO_BYTES,
    "NULs after": lambda: {token + bytes(n) for token in UP_TO_TWO_BYTES for n in range(9 - len(token))},
    "NULs before": lambda: {bytes(n) + token for token in UP_TO_TWO_BYTES for n in range(9 - len(token))},
    "across a word's end": lambda: {b"seven.." + token + bytes(n) for token in UP_TO_TWO_BYTES for n in range(3)},
    "a second word": lambda: {b"eight..." + token + bytes(n) for token in UP_TO_TWO_BYTES for n in range(7)},
    "repeated": lambda: {token * n for token in UP_TO_TWO_BYTES for n in range(1, 10)},
    "NULs": lambda: {bytes(n) for n in range(1, 1000)},
}
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def assert_independent(keys, checks):
    """No two keys are equal; where two agree in 24 bits, their checks agree in 8 bits as often as by chance."""
    assert len(np.unique(keys)) == len(keys)
    assert len(np.unique(checks)) == len(checks)
    for key_bits, check_bits in itertools.product((0, 40), (24, 56)):
        part = keys >> np.uint64(key_bits) & np.uint64(2**24 - 1)
        order = np.argsort(part, kind="stable")
        pairs = part[order[1:]] == part[order[:-1]]
        difference = (checks[order[1:]] ^ checks[order[:-1]])[pairs] >> np.uint64(check_bits)
        agreements, expected = int((difference % 256 == 0).sum()), len(difference) / 256
        assert agreements <= expected + 5 * np.sqrt(expected) + 5


@families
def test_short_tokens_do_not_collide_by_construction(family):
    assert_independent(*hash_tokens(list(family())))


def test_bigrams_do_not_collide_by_construction():
    # The characters that UTF-16 read as UTF-8 puts a NUL beside, in tokens of one to three bytes.
    tokens = list({*BYTES, *(bytes(m) + byte + bytes(n) for byte in BYTES for m in range(2) for n in range(2))})
    hashed = hash_tokens(tokens)
    assert_independent(
        *(
            np.concatenate([unigrams, _hash_bigrams(unigrams, unigrams, constants)])
            for unigrams, constants in zip(hashed, ALGORITHMS.values(), strict=True)
        )
    )


@algorithms
def test_no_factor_of_a_short_token_is_zero(constants):
    # A product with the factor zero is zero, whatever the other factor is.
    c0, c1, _, _, c4 = map(int, constants)
    with pytest.raises(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(c0.to_bytes(8, "little"), final=False)
    assert all((c1 ^ 2 * c4 * length % 2**64) % 2 for length in range(1, 100))


@families
def test_no_factor_of_a_bigram_is_zero(family):
    for hashed, (_, _, c2, c3, _) in zip(hash_tokens(list(family())), ALGORITHMS.values(), strict=True):
        assert not ((hashed == c2) | (hashed == c3)).any()


@given(st.binary(), st.integers(1, 2**24))
def test_sha256_bucket_is_the_digest_modulo(message, num_buckets):
    digest = hashlib.sha256(message).digest()
    digests = np.zeros((8, 16), np.uint32)
    digests[:, 5] = np.frombuffer(digest, ">u4")
    bucket = hashes.sha256_bucket(digests, 5, hashes.sha256_powers(num_buckets), num_buckets)
    assert int(bucket) == int.from_bytes(digest) % num_buckets
