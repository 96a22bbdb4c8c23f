import hashlib

import numpy as np
import pytest

from hir_transforms.ngrams.kernel import sha256
from hir_transforms.ngrams.kernel.sha256 import LANE_STRIDE, LANES, MAX_LANE_BYTES, MAX_PADDING


def message_of(size: int) -> bytes:
    return np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()


def digest_bytes(digests: np.ndarray, lane: int) -> bytes:
    return digests[:, lane].astype(">u4").tobytes()


@pytest.mark.parametrize("size", [*range(300), 4095, 100_001])
def test_digest_of_a_message_of_any_size(size):
    message = message_of(size)
    buffer = np.frombuffer(bytearray(message + b"\xff" * MAX_PADDING), np.uint8)
    digests = np.zeros((8, LANES), np.uint32)
    sha256.sha256(buffer, size, digests)
    assert digest_bytes(digests, 0) == hashlib.sha256(message).digest()


def test_digests_of_sixteen_messages():
    messages = np.full(LANES * LANE_STRIDE, 0xFF, np.uint8)
    blocks, digests = np.zeros((16, LANES), np.uint32), np.zeros((8, LANES), np.uint32)
    for first in range(MAX_LANE_BYTES + 1):
        sizes = [(first + lane) % (MAX_LANE_BYTES + 1) for lane in range(LANES)]
        for lane, size in enumerate(sizes):
            sha256.clear_lane(messages, lane)
            start = lane * LANE_STRIDE
            messages[start : start + size] = np.frombuffer(message_of(size), np.uint8)
            sha256.finish_lane(messages, lane, size)
        sha256.sha256_lanes(messages, blocks, digests)
        assert [digest_bytes(digests, lane) for lane in range(LANES)] == [
            hashlib.sha256(message_of(size)).digest() for size in sizes
        ]
