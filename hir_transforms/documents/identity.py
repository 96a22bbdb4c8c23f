"""Hashes of documents' identities: the same on every machine, for samples and for noise."""

import hashlib
import math

import numpy as np

MAX_HASH = (1 << 64) - 1
# How many more are taken than wanted: 8 standard deviations of their number, and some where it is small.
_DEVIATIONS, _MORE = 8, 32
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def identity_hash(seed: int, name: str, offsets: np.ndarray, *, purpose: str = "") -> np.ndarray:
    """64-bit hashes of (seed, file name, line offset), uniform and independent.

    The file's SHA-256 seeds SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2660193.2660195), of which the
    offset is the position in the sequence.

    Args:
        seed: any integer.
        name: the file's path relative to its dataset's folder.
        offsets: int64 [N], byte offsets of lines.
        purpose: hashes for different purposes are independent: a sample must not favour documents of low noise.

    Returns:
        uint64 [N].
    """
    return offset_hash(file_state(seed, name, purpose=purpose), offsets)


def file_state(seed: int, name: str, *, purpose: str = "") -> np.uint64:
    """The state of a file, with which `offset_hash` gives the hashes of `identity_hash`."""
    digest = hashlib.sha256(f"{seed}\0{name}{purpose and chr(0)}{purpose}".encode("utf-8", "surrogateescape")).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def offset_hash(states: np.ndarray | np.uint64, offsets: np.ndarray) -> np.ndarray:
    """Hashes of lines, uint64 [N]: the state of the file of each, uint64 [N] or one for all, and its offset."""
    with np.errstate(over="ignore"):
        mixed = states + (offsets.astype(np.uint64) + np.uint64(1)) * _GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))


def sample_limit(number: int, max_samples: int) -> int:
    """The hash at or under which there are surely the `max_samples` smallest of `number` hashes, and few more."""
    share = (max_samples + _DEVIATIONS * math.sqrt(max_samples) + _MORE) / max(1, number)
    return min(MAX_HASH, int(share * 2**64))
