import pickle

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that

from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.records import DocumentBatch, DocumentGroup, SourceFile
from hir_transforms.embeddings.shards import write_shard
from hir_transforms.mixtures import sampling
from hir_transforms.mixtures.sampling import CopiedRows, SampleRows, group_sources, last_hash, read_rows

FILES = [SourceFile(index, f"/data/{name}", name, 0, 0.0) for index, name in enumerate(("b.jsonl", "a.jsonl"))]
NUM_ROWS = 4000


def write(folder, block, offsets):
    """A shard of a group with the same offsets in both files; a row holds its file and its offset."""
    batches = [DocumentBatch(file, block, offsets, offsets, ["text"] * len(offsets)) for file in FILES]
    rows = np.concatenate([np.stack([np.full(len(offsets), file.index), offsets], axis=1) for file in FILES])
    return write_shard(str(folder), DocumentGroup((0, block), batches), rows.astype(np.float32), "model", "1")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Ten shards of 2 x 200 rows."""
    folder = tmp_path_factory.mktemp("shards")
    return [write(folder, block, np.arange(block * 200, block * 200 + 200) * 7) for block in range(10)]


def ranked(seed):
    """(file, offset) of all rows, from the smallest hash on."""
    rows = [(file.index, offset) for file in FILES for offset in range(0, NUM_ROWS // 2 * 7, 7)]
    hashes = np.concatenate(
        [identity_hash(seed, file.name, np.arange(0, NUM_ROWS // 2 * 7, 7), purpose="rows") for file in FILES]
    )
    return [rows[place] for place in np.argsort(hashes)]


def sample(folder, shards, seed, max_samples):
    """(the sources that the sample is read from, in corpus order; its rows as (file, offset))."""
    found = []
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        sampled = pipeline | beam.Create(shards) | SampleRows(str(folder), seed, max_samples)
        assert_that(sampled, lambda sources: (folder / "found").write_bytes(pickle.dumps(sources)))
    found = sorted(pickle.loads((folder / "found").read_bytes()))  # noqa: S301
    rows, hashes = read_rows(tuple(found), seed, last_hash(found, seed, max_samples))
    assert rows.dtype == np.float32
    for (file, offset), value in list(zip(rows.astype(int), hashes, strict=True))[:20]:
        assert value == identity_hash(seed, FILES[file].name, np.array([offset]), purpose="rows")[0]
    return found, [tuple(row) for row in rows.astype(int).tolist()]


@pytest.mark.parametrize(("seed", "max_samples"), [(0, 1), (7, 99), (0, 1000), (3, NUM_ROWS - 1)])
def test_a_sample_has_exactly_the_rows_of_the_smallest_hashes_in_corpus_order(shards, tmp_path, seed, max_samples):
    sources, rows = sample(tmp_path, shards[::-1], seed, max_samples)
    chosen = set(ranked(seed)[:max_samples])
    in_corpus_order = [(file, offset) for block in range(10) for file in (0, 1) for offset in block_offsets(block)]
    assert rows == [row for row in in_corpus_order if row in chosen]
    assert {type(source) for source in sources} == {CopiedRows}
    assert sum(source.num_rows for source in sources) < max_samples + 8 * max_samples**0.5 + 100


def block_offsets(block):
    return range(block * 1400, block * 1400 + 1400, 7)


@pytest.mark.parametrize("max_samples", [NUM_ROWS, 10**15])
def test_where_there_are_no_more_rows_none_is_copied(shards, tmp_path, max_samples):
    sources, rows = sample(tmp_path, shards, 0, max_samples)
    assert sources == shards
    assert len(rows) == NUM_ROWS
    assert not list(tmp_path.rglob("*.npz"))


def test_the_same_rows_are_copied_to_the_same_bytes_whatever_comes_first(shards, tmp_path):
    for name, order in (("one", 1), ("other", -1)):
        (tmp_path / name).mkdir()
        sample(tmp_path / name, shards[::order], 0, 700)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).glob("*.npz")} for name in ("one", "other")]
    assert files[0] == files[1]
    assert len(files[0]) >= 1


def test_sources_are_grouped_in_corpus_order_by_rows_and_number(shards, monkeypatch):
    groups = group_sources(shards[::-1], 1000)
    assert [source for group in groups for source in group] == shards
    assert [sum(source.num_rows for source in group) for group in groups] == [800] * 5
    monkeypatch.setattr(sampling, "_MOST_SOURCES", 3)
    assert [len(group) for group in group_sources(shards, 10**9)] == [3, 3, 3, 1]
    assert group_sources([], 1000) == []
