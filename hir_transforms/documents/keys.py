"""Hashes of the keys that users give their documents."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import xxhash

from hir_transforms.documents.identity import file_state, offset_hash

_encode = msgspec.msgpack.Encoder().encode


def key_hashes(seed: int, keys: Sequence[Any], *, purpose: str = "") -> np.ndarray:
    """64-bit hashes of (seed, key), uniform and independent: functions of these two alone.

    Args:
        seed: any integer.
        keys: N strings, bytes, integers of 64 bits or tuples of such.
        purpose: hashes for different purposes are independent.

    Returns:
        uint64 [N].

    Raises:
        TypeError: for a key of another kind.
    """
    # By way of MessagePack, which has one encoding for each of these: Python's own hashes differ between processes.
    digests = np.array([xxhash.xxh3_64_intdigest(_encode(key)) for key in keys], np.uint64)
    return offset_hash(file_state(seed, "", purpose=purpose), digests)
