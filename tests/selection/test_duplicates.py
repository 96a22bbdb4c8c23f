import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands.running import choose_runner
from hir_transforms.documents.records import SourceFile
from hir_transforms.selection import duplicates
from hir_transforms.selection.duplicates import FindDuplicates, duplicate_rows
from hir_transforms.weights.parts import part_path
from hir_transforms.weights.score_shards import ScoreShard
from tests.helpers.scores import complete_scores, write_scores

SOURCES = [SourceFile(index, f"/data/{index}.jsonl", f"{index}.jsonl", 1, 0.0) for index in (3, 4, 9)]
# Rows as (file's place, offset, hash); hashes from both ends, so that several partitions are used, and
# such as differ in the middle alone, where no partition looks.
HASHES = st.sampled_from([0, 1, 1 << 40, (1 << 40) + 1, 2**62, 2**63 - 1, 2**63, 2**63 + (1 << 40), 2**64 - 1])
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2**40), HASHES), unique_by=lambda one: one[:2], max_size=40
)


def write(folder, shards):
    """Score shards of these rows; a shard without rows has no file."""
    written = []
    for index, rows in shards.items():
        if rows:
            places, offsets, hashes = zip(*rows, strict=True)
            columns = {
                "file": [SOURCES[place].path for place in places],
                "offset": np.array(offsets, np.int64),
                "text_hash": np.array(hashes, np.uint64),
            }
            write_scores(part_path(str(folder), index), SOURCES, columns)
        written.append(ScoreShard(index, part_path(str(folder), index) if rows else None, len(rows), 0))
    return written


def find(work_dir, shards, workers=1):
    """The stage, once the duplicates of these shards, in `work_dir/scores`, have been found."""
    scores = complete_scores(work_dir, shards)
    stage = Stage.create("duplicates", str(work_dir), {})
    options = PipelineOptions(direct_num_workers=workers)
    with beam.Pipeline(runner=choose_runner(options, workers), options=options) as pipeline:
        pipeline | beam.Create([scores]) | FindDuplicates(stage)
    return stage


def expected_rows(shards):
    """Row numbers by shard, by a dict over all documents in corpus order."""
    documents = sorted(
        (place, offset, text_hash, index, row)
        for index, rows in shards.items()
        for row, (place, offset, text_hash) in enumerate(rows)
    )
    first, expected = {}, {index: [] for index in shards}
    for place, offset, text_hash, index, row in documents:
        if first.setdefault(text_hash, (place, offset)) != (place, offset):
            expected[index].append(row)
    return {index: sorted(rows) for index, rows in expected.items()}


def check(stage, shards):
    expected = expected_rows(shards)
    found = {index: duplicate_rows(stage.folder, index) for index in shards}
    assert {index: rows.tolist() for index, rows in found.items()} == expected
    assert all(rows.dtype == np.int64 for rows in found.values())
    assert stage.counts() == {"duplicates": sum(map(len, expected.values()))}


@settings(max_examples=8)
@given(rows=ROWS, data=st.data(), partition_rows=st.sampled_from([1, 3, 1 << 21]))
def test_only_the_first_document_of_a_text_is_kept(tmp_path_factory, rows, data, partition_rows):
    """Rows are dealt to shards at random: also as the parts of one compressed file interleave."""
    work_dir = tmp_path_factory.mktemp("work")
    shards = {index: [] for index in (0, 3, 12)}
    for row in rows:
        shards[data.draw(st.sampled_from(sorted(shards)))].append(row)
    written = data.draw(st.permutations(write(work_dir / "scores", shards)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_PARTITION_ROWS", partition_rows)
        check(find(work_dir, written), shards)


def many_rows(size, seed=0):
    generator = np.random.default_rng(seed)
    hashes = generator.integers(0, size // 2, size).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return [(0, row * 10, text_hash) for row, text_hash in enumerate(hashes.tolist())]


@pytest.mark.parametrize("workers", [1, 3])
def test_parts_of_a_compressed_file_interleave(tmp_path, workers):
    rows = many_rows(3000)
    blocks = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    shards = {part: [row for block in blocks[part::4] for row in block] for part in range(4)}
    check(find(tmp_path, write(tmp_path / "scores", shards), workers), shards)


def test_files_are_the_same_whatever_the_order_and_the_workers(tmp_path):
    rows = many_rows(3000)
    shards = {index: rows[start : start + 500] for index, start in enumerate(range(0, len(rows), 500))}
    find(tmp_path / "a", write(tmp_path / "a/scores", shards))
    find(tmp_path / "b", write(tmp_path / "b/scores", shards)[::-1], workers=2)
    one, other = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "duplicates").iterdir()} for name in "ab"
    )
    assert one == other
    assert len(one) == 7


@pytest.mark.parametrize("shards", [{}, {0: []}, {0: [], 7: [(0, 5, 1), (1, 0, 2)]}])
def test_shards_without_duplicates_have_no_file(tmp_path, shards):
    stage = find(tmp_path, write(tmp_path / "scores", shards))
    check(stage, shards)
    assert [path.name for path in (tmp_path / "duplicates").iterdir()] == ["_manifest.json"]


def test_a_text_that_every_document_has(tmp_path):
    shards = {index: [(0, 1000 * index + row, 5) for row in range(100)] for index in range(5)}
    check(find(tmp_path, write(tmp_path / "scores", shards)), shards)
