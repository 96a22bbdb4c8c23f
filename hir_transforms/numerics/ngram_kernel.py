"""The compiled loop over a batch of texts: tokens, n-gram hashes, buckets, and their counts or weights.

A text is worked through in chunks of tokens, so that scratch space does not depend on its length; only an n-gram that
SHA-256 must see is copied whole.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import types

from hir_transforms.numerics import hash_cache, hash_sha256
from hir_transforms.numerics.hashing import CHECK, FAST_V1, extend_ngram, fast_bucket, sha256_bucket, token_hash
from hir_transforms.numerics.ngram_intrinsics import BLOCK, load64, store64
from hir_transforms.numerics.tokenizing import tokenize

CHUNK = 256  # tokens; the hashes of a chunk and its cache lines stay in the processor's first-level cache
_BLANK = np.uint8(0x20)


class Tokens(NamedTuple):
    """The tokens of a chunk, and before them those that begin n-grams ending in it."""

    starts: npt.NDArray[np.intp]
    ends: npt.NDArray[np.intp]
    hashes: npt.NDArray[np.uint64]
    checks: npt.NDArray[np.uint64]


class Ngrams(NamedTuple):
    """The n-grams that end in a chunk: by their last token, then by length."""

    keys: npt.NDArray[np.uint64]
    checks: npt.NDArray[np.uint64]
    first_tokens: npt.NDArray[np.intp]
    last_tokens: npt.NDArray[np.intp]
    buckets: npt.NDArray[np.uint64]
    missing: npt.NDArray[np.intp]


class Sha256Scratch(NamedTuple):
    """Room for the messages of `hash_sha256`; `lane_ngrams` says which n-gram is in which lane."""

    message: npt.NDArray[np.uint8]
    blocks: npt.NDArray[np.uint32]
    digests: npt.NDArray[np.uint32]
    lane_ngrams: npt.NDArray[np.intp]


@numba.njit
def _fast_buckets(tokens, first, last, max_order, num_buckets, ngrams):  # type: ignore[no-untyped-def]
    """Writes the buckets of the n-grams that end at tokens first ... last - 1; returns how many."""
    size = 0
    for token in range(first, last):
        value = tokens.hashes[token]
        ngrams.buckets[size] = fast_bucket(value, num_buckets)
        size += 1
        for before in range(token - 1, max(token - max_order, -1), -1):
            value = extend_ngram(value, tokens.hashes[before], FAST_V1)
            ngrams.buckets[size] = fast_bucket(value, num_buckets)
            size += 1
    return size


@numba.njit
def _cache_keys(tokens, first, last, max_order, cache, ngrams):  # type: ignore[no-untyped-def]
    """Writes the two hashes of the n-grams that end at tokens first ... last - 1; returns how many."""
    size = 0
    for token in range(first, last):
        key = tokens.hashes[token]
        check = tokens.checks[token]
        before = token
        while True:
            ngrams.keys[size] = key
            ngrams.checks[size] = check
            ngrams.first_tokens[size] = before
            ngrams.last_tokens[size] = token
            hash_cache.prefetch_set(cache, key)
            size += 1
            before -= 1
            if before < 0 or before <= token - max_order:
                break
            key = extend_ngram(key, tokens.hashes[before], FAST_V1)
            check = extend_ngram(check, tokens.checks[before], CHECK)
    return size


@numba.njit
def _spell(buffer, tokens, first, last, message):  # type: ignore[no-untyped-def]
    """Writes tokens first ... last joined by blanks to `message`, and up to 7 bytes more; returns the size."""
    size = 0
    for token in range(first, last + 1):
        start = tokens.starts[token]
        length = tokens.ends[token] - start
        for i in range(0, length, 8):
            store64(message, size + i, load64(buffer, start + i))
        message[size + length] = _BLANK
        size += length + 1
    return size - 1


@numba.njit
def _finish_lanes(num_lanes, num_buckets, powers, cache, ngrams, scratch):  # type: ignore[no-untyped-def]
    hash_sha256.sha256_lanes(scratch.blocks, scratch.digests)
    for lane in range(num_lanes):
        i = scratch.lane_ngrams[lane]
        bucket = sha256_bucket(scratch.digests, lane, powers, num_buckets)
        hash_cache.remember(cache, ngrams.keys[i], ngrams.checks[i], bucket)
        ngrams.buckets[i] = bucket


@numba.njit
def _sha256_buckets(buffer, tokens, size, num_buckets, powers, cache, ngrams, scratch):  # type: ignore[no-untyped-def]
    """Writes the buckets of the n-grams, from the cache or else by SHA-256; returns how many the cache did not have."""
    num_missing = 0
    for i in range(size):
        bucket = hash_cache.look_up(cache, ngrams.keys[i], ngrams.checks[i])
        ngrams.buckets[i] = bucket
        ngrams.missing[num_missing] = i
        num_missing += np.intp(bucket == hash_cache.ABSENT)
    lane = 0
    for j in range(num_missing):
        i = ngrams.missing[j]
        length = _spell(buffer, tokens, ngrams.first_tokens[i], ngrams.last_tokens[i], scratch.message)
        if length <= hash_sha256.MAX_LANE_BYTES:
            hash_sha256.put_lane(scratch.message, length, lane, scratch.blocks)
            scratch.lane_ngrams[lane] = i
            lane += 1
            if lane == hash_sha256.LANES:
                _finish_lanes(lane, num_buckets, powers, cache, ngrams, scratch)
                lane = 0
        else:
            hash_sha256.sha256(scratch.message, length, scratch.digests)
            bucket = sha256_bucket(scratch.digests, 0, powers, num_buckets)
            hash_cache.remember(cache, ngrams.keys[i], ngrams.checks[i], bucket)
            ngrams.buckets[i] = bucket
    if lane > 0:
        _finish_lanes(lane, num_buckets, powers, cache, ngrams, scratch)
    return num_missing


@numba.njit
def featurize(  # type: ignore[no-untyped-def]
    buffer, offsets, is_split, classes, max_order, num_buckets, powers, cache, message, counts, log_ratio, weights, num_ngrams
):
    is_sha256 = cache.size > 0
    capacity = CHUNK + BLOCK + max_order
    tokens = Tokens(
        np.empty(capacity, np.intp),
        np.empty(capacity, np.intp),
        np.empty(capacity, np.uint64),
        np.empty(capacity, np.uint64),
    )
    capacity *= max_order
    ngrams = Ngrams(
        np.empty(capacity, np.uint64),
        np.empty(capacity, np.uint64),
        np.empty(capacity, np.intp),
        np.empty(capacity, np.intp),
        np.empty(capacity, np.uint64),
        np.empty(capacity, np.intp),
    )
    lanes = hash_sha256.LANES
    scratch = Sha256Scratch(
        message,
        np.zeros((16, lanes), np.uint32),
        np.empty((8, lanes), np.uint32),
        np.empty(lanes, np.intp),
    )
    carry = np.empty(3, np.uint64)
    found = np.empty(2, np.intp)
    num_misses = 0
    for text in range(offsets.size - 1):
        position = offsets[text]
        end = offsets[text + 1]
        carry[:] = 0
        found[:] = 0
        first = 0
        num_ngrams[text] = 0
        while position < end:
            position = tokenize(buffer, position, end, is_split, classes, carry, tokens.starts, tokens.ends, found)
            last = found[1]
            for token in range(first, last):
                tokens.hashes[token] = token_hash(buffer, tokens.starts[token], tokens.ends[token], FAST_V1)
            if is_sha256:
                for token in range(first, last):
                    tokens.checks[token] = token_hash(buffer, tokens.starts[token], tokens.ends[token], CHECK)
                size = _cache_keys(tokens, first, last, max_order, cache, ngrams)
                num_misses += _sha256_buckets(buffer, tokens, size, num_buckets, powers, cache, ngrams, scratch)
            else:
                size = _fast_buckets(tokens, first, last, max_order, num_buckets, ngrams)
            num_ngrams[text] += size
            if counts.size > 0:
                for i in range(size):
                    counts[np.intp(ngrams.buckets[i])] += 1
            for target in range(log_ratio.shape[0]):
                weight = weights[text, target]
                for i in range(size):
                    weight += log_ratio[target, np.intp(ngrams.buckets[i])]
                weights[text, target] = weight
            # The last tokens begin n-grams that end in the next chunk; one more may be open.
            first = min(max_order - 1, last)
            shift = last - first
            for token in range(found[0] - shift):
                tokens.starts[token] = tokens.starts[shift + token]
                tokens.ends[token] = tokens.ends[shift + token]
                tokens.hashes[token] = tokens.hashes[shift + token]
                tokens.checks[token] = tokens.checks[shift + token]
            found[0] -= shift
            found[1] = first
    return num_misses
