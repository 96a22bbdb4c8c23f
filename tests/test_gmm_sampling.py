import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.embedding_shards import write_shard
from hir_transforms.gmm_sampling import HashBin, RowSample, end_sample, find_bin, find_sample
from hir_transforms.numerics.gumbel import identity_hash
from hir_transforms.records import DocumentBatch, DocumentGroup, SourceFile

FILES = [SourceFile(index, f"/data/{name}", name, 0, 0.0) for index, name in enumerate(("b.jsonl", "a.jsonl"))]


def write(folder, block, offsets):
    """A shard of a group with the same offsets in both files; a row holds its file and its offset."""
    batches = [DocumentBatch(file, block, offsets, offsets, ["text"] * len(offsets)) for file in FILES]
    rows = np.concatenate([np.stack([np.full(len(offsets), file.index), offsets], axis=1) for file in FILES])
    return write_shard(str(folder), DocumentGroup((0, block), batches), rows.astype(np.float32), "model", "1")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Five shards of 2 x 100 rows."""
    folder = tmp_path_factory.mktemp("shards")
    return [write(folder, block, np.arange(block * 100, block * 100 + 100) * 7) for block in range(5)]


def ranked(seed):
    """(file, offset) of all rows, from the smallest hash on."""
    rows = [(file.index, offset) for file in FILES for offset in range(0, 3500, 7)]
    hashes = {row: int(identity_hash(seed, FILES[row[0]].name, np.array([row[1]]), purpose="rows")[0]) for row in rows}
    return sorted(rows, key=hashes.__getitem__)


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize("max_samples", [1, 2, 99, 500, 999, 1000, 1001, 10**15])
def test_a_sample_has_exactly_the_rows_of_the_smallest_hashes_in_corpus_order(shards, seed, max_samples):
    tasks = [tuple(shards[:2]), tuple(shards[2:3]), tuple(shards[3:])]
    sample = find_sample(tasks, seed, max_samples)
    assert sample == find_sample([tuple(shards)], seed, max_samples)
    assert (sample.last is None) == (max_samples >= 1000)
    chosen = set(ranked(seed)[:max_samples])
    for task in tasks:
        everything, _ = RowSample(seed).read(task)
        rows, hashes = sample.read(task)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, [row for row in everything.tolist() if tuple(row) in chosen] or rows[:0])
        for (file, offset), value in zip(rows.astype(int), hashes, strict=True):
            assert value == identity_hash(seed, FILES[file].name, np.array([offset]), purpose="rows")[0]


def test_without_a_limit_all_rows_are_read_and_none_to_find_that(shards):
    assert find_sample([], 3, None) == RowSample(3)
    assert len(RowSample(3).read(tuple(shards))[0]) == 1000


def test_equal_hashes_of_two_files_go_by_the_files_name(tmp_path):
    """A made-up last row with the hash of one row: that row is kept if its file's name is not after the last one's."""
    task = (write(tmp_path, 0, np.array([70])),)
    low, high = sorted(
        (int(identity_hash(0, file.name, np.array([70]), purpose="rows")[0]), file.name) for file in FILES
    )
    assert len(RowSample(0, high).read(task)[0]) == 2
    assert len(RowSample(0, (high[0], "")).read(task)[0]) == 1
    assert len(RowSample(0, (low[0], "")).read(task)[0]) == 0
    equal = np.array([5], np.uint64)
    in_bin = [(equal, "b"), (equal, "a"), (np.array([9, 4], np.uint64), "c")]
    ends = [end_sample(in_bin, 0, HashBin(0, kept)).last for kept in (1, 2, 3, 4)]
    assert ends == [(4, "c"), (5, "a"), (5, "b"), (9, "c")]


@given(
    values=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3).map(lambda bits: bits << 48), min_size=1),
    max_samples=st.integers(1, 30),
)
def test_the_bin_is_the_one_of_the_last_hash(values, max_samples):
    counts = np.bincount([value >> 48 for value in values], minlength=1 << 16)
    hash_bin = find_bin(counts, max_samples)
    if len(values) <= max_samples:
        assert hash_bin is None
    else:
        values.sort()
        inside = [value for value in values if value >> 48 == hash_bin.number]
        assert inside[hash_bin.num_kept - 1] == values[max_samples - 1]
