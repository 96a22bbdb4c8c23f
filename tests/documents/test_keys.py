import subprocess
import sys

import numpy as np
import pytest

from hir_transforms.documents.keys import key_hashes

KEYS = ["a", b"a", 7, -(2**63), ("a", 7), ("a", ("7",))]
# Another hash would draw other samples.
PINNED = [
    "992c82457fe340ed",
    "0aa5c22c3478cd9a",
    "c9d3634085f74bfa",
    "4ee5fde8903780a4",
    "c06cb156e8e55d9f",
    "15f7d4df4de205fe",
]


def test_hashes_are_pinned():
    assert [f"{one:016x}" for one in key_hashes(1, KEYS)] == PINNED


def test_hashes_depend_on_seed_key_and_purpose():
    keys = [*KEYS, *range(1000)]
    hashes = [key_hashes(seed, keys, purpose=purpose) for seed in (0, 1) for purpose in ("", "rows")]
    assert len(np.unique(np.concatenate(hashes))) == 4 * (len(keys) - 1)  # 7 is there twice


def test_hashes_are_uniform():
    hashes = key_hashes(0, [f"document-{number}" for number in range(100_000)])
    counts = np.bincount((hashes >> np.uint64(60)).astype(int), minlength=16)
    # Each of 16 counts has a standard deviation of 76.
    assert np.abs(counts - 100_000 / 16).max() < 5 * 76


def test_hashes_are_the_same_in_another_process():
    program = f"from hir_transforms.documents.keys import key_hashes; print(key_hashes(3, {KEYS!r}).tolist())"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert printed.strip() == str(key_hashes(3, KEYS).tolist())


@pytest.mark.parametrize("key", [object(), np.int64(3), 1j])
def test_other_keys_are_refused(key):
    with pytest.raises(TypeError, match="unsupported"):
        key_hashes(0, [key])
