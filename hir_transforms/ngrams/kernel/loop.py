"""The compiled loop over a batch of texts: tokens, n-gram hashes, buckets, and what becomes of them.

A text is worked through in chunks of tokens, so that scratch space does not depend on its length; only an n-gram that
SHA-256 must see is copied whole.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from hir_transforms.ngrams.kernel import bucket_cache, sha256
from hir_transforms.ngrams.kernel.distinct import Distinct, finish_text, note_buckets
from hir_transforms.ngrams.kernel.hashes import CHECK, FAST_V2, extend_ngram, fast_bucket, sha256_bucket, token_hash
from hir_transforms.ngrams.kernel.intrinsics import BLOCK, Bytes, Hashes, Indices, load64, load_tail, store64
from hir_transforms.ngrams.kernel.sha256 import Words
from hir_transforms.ngrams.kernel.tokens import tokenize

CHUNK = 512  # tokens; the hashes of a chunk and its cache lines stay in the second-level cache of any processor
_BLANK = np.uint8(0x20)


class Texts(NamedTuple):
    """A batch of N texts.

    Attributes:
        buffer: uint8, their UTF-8 bytes one after the other, and the padding; the kernel lower-cases ASCII in it.
        offsets: intp [N + 1], where each begins, and the end of the last.
        is_split: they are tokens joined by blanks.
        classes: uint8 [0x110000], see `tokens.character_classes`.
    """

    buffer: Bytes
    offsets: Indices
    is_split: bool
    classes: Bytes


class Hashing(NamedTuple):
    """How n-grams become buckets.

    Attributes:
        max_order: n of the longest n-grams.
        num_buckets: B.
        powers: uint64 [8], see `hashes.sha256_powers`.
        cache: see `bucket_cache`; empty for the hash `fast`.
        long_message: uint8 [`long_message_size`], scratch.
    """

    max_order: int
    num_buckets: int
    powers: Hashes
    cache: Hashes
    long_message: Bytes


class Tokens(NamedTuple):
    """The tokens of a chunk, and before them those that begin n-grams ending in it."""

    starts: Indices
    ends: Indices
    hashes: Hashes
    checks: Hashes


class Ngrams(NamedTuple):
    """The n-grams that end in a chunk: by their last token, then by length."""

    keys: Hashes
    checks: Hashes
    first_tokens: Indices
    last_tokens: Indices
    buckets: Hashes
    missing: Indices


class Sha256Scratch(NamedTuple):
    """Room for the messages of `sha256`; `lane_ngrams` says which n-gram is in which lane."""

    long_message: Bytes
    messages: Bytes
    blocks: Words
    digests: Words
    lane_ngrams: Indices


@numba.njit
def _fast_buckets(tokens: Tokens, first: int, last: int, max_order: int, num_buckets: int, ngrams: Ngrams) -> int:
    """Writes the buckets of the n-grams that end at tokens first ... last - 1; returns how many."""
    size = 0
    for token in range(first, last):
        value = tokens.hashes[token]
        ngrams.buckets[size] = fast_bucket(value, num_buckets)
        size += 1
        for before in range(token - 1, max(token - max_order, -1), -1):
            value = extend_ngram(value, tokens.hashes[before], FAST_V2)
            ngrams.buckets[size] = fast_bucket(value, num_buckets)
            size += 1
    return size


@numba.njit
def _cache_keys(tokens: Tokens, first: int, last: int, max_order: int, cache: Hashes, ngrams: Ngrams) -> int:
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
            bucket_cache.prefetch_set(cache, key)
            size += 1
            before -= 1
            if before < 0 or before <= token - max_order:
                break
            key = extend_ngram(key, tokens.hashes[before], FAST_V2)
            check = extend_ngram(check, tokens.checks[before], CHECK)
    return size


@numba.njit
def _spell(buffer: Bytes, tokens: Tokens, first: int, last: int, messages: Bytes, begin: int) -> None:
    """Writes tokens first ... last joined by blanks from messages[begin] on, and up to seven zeros after them."""
    for token in range(first, last + 1):
        if token > first:
            messages[begin] = _BLANK
            begin += 1
        start = tokens.starts[token]
        end = tokens.ends[token]
        while end - start > 8:
            store64(messages, begin, load64(buffer, start))
            start += 8
            begin += 8
        store64(messages, begin, load_tail(buffer, start, end))
        begin += end - start


@numba.njit
def _spelled_size(tokens: Tokens, first: int, last: int) -> int:
    size = last - first
    for token in range(first, last + 1):
        size += int(tokens.ends[token]) - int(tokens.starts[token])
    return size


@numba.njit
def _finish_lanes(num_lanes: int, hashing: Hashing, ngrams: Ngrams, scratch: Sha256Scratch) -> None:
    sha256.sha256_lanes(scratch.messages, scratch.blocks, scratch.digests)
    for lane in range(num_lanes):
        i = scratch.lane_ngrams[lane]
        bucket = sha256_bucket(scratch.digests, lane, hashing.powers, hashing.num_buckets)
        bucket_cache.remember(hashing.cache, ngrams.keys[i], ngrams.checks[i], bucket)
        ngrams.buckets[i] = bucket


@numba.njit
def _sha256_buckets(
    buffer: Bytes, tokens: Tokens, size: int, hashing: Hashing, ngrams: Ngrams, scratch: Sha256Scratch
) -> None:
    """Writes the buckets of the n-grams, from the cache or else by SHA-256."""
    num_missing = 0
    for i in range(size):
        bucket = bucket_cache.look_up(hashing.cache, ngrams.keys[i], ngrams.checks[i])
        ngrams.buckets[i] = bucket
        ngrams.missing[num_missing] = i
        num_missing += int(bucket == bucket_cache.ABSENT)
    lane = 0
    for j in range(num_missing):
        i = ngrams.missing[j]
        first, last = ngrams.first_tokens[i], ngrams.last_tokens[i]
        length = _spelled_size(tokens, first, last)
        if length <= sha256.MAX_LANE_BYTES:
            sha256.clear_lane(scratch.messages, lane)
            _spell(buffer, tokens, first, last, scratch.messages, lane * sha256.LANE_STRIDE)
            sha256.finish_lane(scratch.messages, lane, length)
            scratch.lane_ngrams[lane] = i
            lane += 1
        else:
            _spell(buffer, tokens, first, last, scratch.long_message, 0)
            sha256.sha256(scratch.long_message, length, scratch.digests)
            bucket = sha256_bucket(scratch.digests, 0, hashing.powers, hashing.num_buckets)
            bucket_cache.remember(hashing.cache, ngrams.keys[i], ngrams.checks[i], bucket)
            ngrams.buckets[i] = bucket
        if lane == sha256.LANES or (lane > 0 and j == num_missing - 1):
            _finish_lanes(lane, hashing, ngrams, scratch)
            lane = 0


def long_message_size(offsets: Indices, max_order: int) -> int:
    """Returns the room that the longest n-gram of the texts may need for SHA-256: a whole text and its blanks."""
    return int(np.diff(offsets).max(initial=0)) + max_order + sha256.MAX_PADDING


@numba.njit
def _new_scratch(max_order: int, long_message: Bytes) -> tuple[Tokens, Ngrams, Sha256Scratch]:
    size = CHUNK + BLOCK + max_order
    tokens = Tokens(
        np.empty(size, np.intp),
        np.empty(size, np.intp),
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
    )
    size *= max_order
    ngrams = Ngrams(
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
        np.empty(size, np.intp),
        np.empty(size, np.intp),
        np.empty(size, np.uint64),
        np.empty(size, np.intp),
    )
    lanes = sha256.LANES
    scratch = Sha256Scratch(
        long_message,
        np.zeros(lanes * sha256.LANE_STRIDE, np.uint8),
        np.empty((16, lanes), np.uint32),
        np.empty((8, lanes), np.uint32),
        np.empty(lanes, np.intp),
    )
    return tokens, ngrams, scratch


@numba.njit
def _keep_last(tokens: Tokens, found: Indices, count: int) -> np.intp:
    """Moves the last complete tokens, `count` at most, and the open one if any to the front; returns how many."""
    kept = min(np.intp(count), found[1])
    shift = found[1] - kept
    for token in range(found[0] - shift):
        tokens.starts[token] = tokens.starts[shift + token]
        tokens.ends[token] = tokens.ends[shift + token]
        tokens.hashes[token] = tokens.hashes[shift + token]
        tokens.checks[token] = tokens.checks[shift + token]
    found[0] -= shift
    found[1] = kept
    return kept


@numba.njit
def featurize(
    texts: Texts,
    hashing: Hashing,
    counts: npt.NDArray[np.int64],
    log_ratio: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    num_ngrams: npt.NDArray[np.int64],
    distinct: Distinct,
) -> None:
    """Counts, or scores, the n-grams of a batch of texts.

    Args:
        texts: see `Texts`.
        hashing: see `Hashing`.
        counts: int64 [B], added to in place; or empty.
        log_ratio: float64 [T, B]; T may be 0.
        weights: float64 [N, T]; the sums over each text's n-grams are added, in the order of `Ngrams`.
        num_ngrams: int64 [N], the result.
        distinct: what is to be done with the counts of each text's own n-grams, see `Distinct`.
    """
    buffer, max_order, num_buckets = texts.buffer, hashing.max_order, hashing.num_buckets
    tokens, ngrams, scratch = _new_scratch(max_order, hashing.long_message)
    carry = np.empty(3, np.uint64)
    found = np.empty(2, np.intp)
    lists_distinct = distinct.counts.size > 0
    for text in range(num_ngrams.size):
        position = texts.offsets[text]
        end = texts.offsets[text + 1]
        carry[:] = 0
        found[:] = 0
        first = found[1]
        num_ngrams[text] = 0
        num_distinct = 0
        while position < end:
            position = tokenize(
                buffer, position, end, texts.is_split, texts.classes, carry, tokens.starts, tokens.ends, found
            )
            last = found[1]
            for token in range(first, last):
                tokens.hashes[token] = token_hash(buffer, tokens.starts[token], tokens.ends[token], FAST_V2)
            if hashing.cache.size > 0:
                for token in range(first, last):
                    tokens.checks[token] = token_hash(buffer, tokens.starts[token], tokens.ends[token], CHECK)
                size = _cache_keys(tokens, first, last, max_order, hashing.cache, ngrams)
                _sha256_buckets(buffer, tokens, size, hashing, ngrams, scratch)
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
            if lists_distinct:
                num_distinct = note_buckets(distinct, ngrams.buckets, size, num_distinct)
            first = _keep_last(tokens, found, max_order - 1)
        if lists_distinct:
            finish_text(distinct, text, num_distinct)
