import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.numerics import hashing
from hir_transforms.numerics.ngram_intrinsics import PADDING

C0, C1, C2, C3 = (int(constant) for constant in hashing.FAST_V1)


def fold(a: int, b: int) -> int:
    return (a * b >> 64) ^ (a * b % 2**64)


def token_by_definition(token: bytes) -> int:
    value = C0 ^ len(token)
    for i in range(0, len(token), 8):
        value = fold(value ^ int.from_bytes(token[i : i + 8], "little"), C1)
    return value


def ngram_by_definition(tokens: list[bytes]) -> int:
    value = token_by_definition(tokens[-1])
    for token in reversed(tokens[:-1]):
        value = fold(value ^ C2, token_by_definition(token) ^ C3)
    return value


def hash_token(token: bytes) -> int:
    # What lies around a token must not matter.
    buffer = np.frombuffer(b"\xff" * 3 + token + b"\xff" * PADDING, np.uint8)
    return int(hashing.token_hash(buffer, 3, 3 + len(token), hashing.FAST_V1))


def hash_ngram(tokens: list[bytes]) -> int:
    value = np.uint64(hash_token(tokens[-1]))
    for token in reversed(tokens[:-1]):
        value = np.uint64(hashing.extend_ngram(value, np.uint64(hash_token(token)), hashing.FAST_V1))
    return int(value)


@pytest.mark.parametrize(
    ("ngram", "value", "bucket"),
    [
        (b"a", 0x0DBACA5E746B1D5A, 1488),
        (b"alice", 0xD04A574784110CDB, 6457),
        (b"alice went", 0xD0C466F3EF31665A, 9520),
        (b"internationalisation of the 64-bit", 0x53C5209276DDD1D9, 6625),
        ("größe 中文".encode(), 0x5583C99A61203E38, 3075),
    ],
)
def test_fast_v1_never_changes(ngram, value, bucket):
    tokens = ngram.split(b" ")
    assert (hash_ngram(tokens), int(hashing.fast_bucket(np.uint64(hash_ngram(tokens)), 10_000))) == (value, bucket)


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4), st.integers(1, 2**24))
def test_fast_v1_is_what_its_definition_says(tokens, num_buckets):
    value = ngram_by_definition(tokens)
    assert hash_ngram(tokens) == value
    assert int(hashing.fast_bucket(np.uint64(value), num_buckets)) == fold(value ^ C2, C1) * num_buckets >> 64


def test_fast_v1_spreads_evenly():
    buckets = np.array(
        [hashing.fast_bucket(np.uint64(token_by_definition(b"%d" % i)), 1000) for i in range(100_000)], np.intp
    )
    chi_squared = ((np.bincount(buckets, minlength=1000) - 100.0) ** 2 / 100.0).sum()
    assert abs(chi_squared - 999) < 5 * np.sqrt(2 * 999)


def test_fast_v1_depends_on_the_order_of_tokens():
    words = [b"a", b"b", b"ab", b"alice", b"went"]
    ngrams = [(x,) for x in words] + [(x, y) for x in words for y in words]
    assert len({hash_ngram(list(ngram)) for ngram in ngrams}) == len(ngrams)


@given(st.binary(), st.integers(1, 2**24))
def test_sha256_bucket_is_the_digest_modulo(message, num_buckets):
    digest = hashlib.sha256(message).digest()
    digests = np.zeros((8, 16), np.uint32)
    digests[:, 5] = np.frombuffer(digest, ">u4")
    bucket = hashing.sha256_bucket(digests, 5, hashing.sha256_powers(num_buckets), num_buckets)
    assert int(bucket) == int.from_bytes(digest) % num_buckets
