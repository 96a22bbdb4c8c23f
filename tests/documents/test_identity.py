import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hir_transforms.documents.identity import file_state, identity_hash, offset_hash

MASK = 2**64 - 1
HASHES = identity_hash(0, "corpus/part-00000.jsonl", np.arange(200_000))


def splitmix64(seed: int, position: int) -> int:
    """The output of SplitMix64 at a position (0-based), one number at a time in Python's integers."""
    state = (seed + (position + 1) * 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def test_the_reference_gives_the_published_first_outputs_of_splitmix64() -> None:
    assert [splitmix64(1234567, position) for position in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@given(st.integers(), st.text(), st.lists(st.integers(0, 2**63 - 1), max_size=20))
def test_hash_is_splitmix64_seeded_by_sha256(seed: int, name: str, offsets: list[int]) -> None:
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    state = int.from_bytes(digest[:8], "little")
    assert identity_hash(seed, name, np.array(offsets, np.int64)).tolist() == [
        splitmix64(state, offset) for offset in offsets
    ]


def test_lines_of_several_files_are_hashed_at_once() -> None:
    names = ["a", "b", "c"]
    files, offsets = np.array([2, 0, 0, 1, 2]), np.array([5, 0, 5, 0, 2**40])
    states = np.array([file_state(3, name, purpose="p") for name in names], np.uint64)
    expected = [
        identity_hash(3, names[file], np.array([offset]), purpose="p")[0]
        for file, offset in zip(files, offsets, strict=True)
    ]
    assert offset_hash(states[files], offsets).tolist() == expected


def test_hashes_are_pinned() -> None:
    """A change would select other documents for the same seed."""
    hashes = [
        *identity_hash(0, "a.jsonl", np.array([0, 1, 2**40])).tolist(),
        *identity_hash(-7, "Ünï/b.jsonl.gz", np.array([12345])).tolist(),
    ]
    assert hashes == [13844112958448146846, 17771241092549414891, 15683354645203045809, 13154692465542292240]


def test_neighbours_have_distinct_hashes() -> None:
    identities = itertools.product((0, 1, -1), ("a", "b", "a/b", "ab", ""))
    hashes = np.concatenate([identity_hash(seed, name, np.arange(10_000)) for seed, name in identities])
    assert len(np.unique(hashes)) == len(hashes)


def test_seed_and_name_do_not_run_into_each_other() -> None:
    assert identity_hash(1, "2/a", np.array([0])) != identity_hash(12, "/a", np.array([0]))


@pytest.mark.parametrize("shift", [0, 12, 28, 44, 56])
def test_hashes_of_consecutive_offsets_are_uniform(shift: int) -> None:
    counts = np.bincount((HASHES >> np.uint64(shift)).astype(np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > 0.001


def test_successive_hashes_are_independent() -> None:
    first, second = (HASHES[:-1] >> np.uint64(60)).astype(int), (HASHES[1:] >> np.uint64(60)).astype(int)
    assert stats.chisquare(np.bincount(16 * first + second, minlength=256)).pvalue > 0.001
