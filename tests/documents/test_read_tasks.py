import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.documents.read_tasks import (
    MAX_BLOCK_SIZE,
    MIN_BLOCK_SIZE,
    choose_block_size,
    estimated_bytes,
    plan_tasks,
)
from hir_transforms.documents.records import SourceFile

SIZES = st.integers(0, 1000) | st.integers(0, 3 << 20) | st.sampled_from([1 << 16, (1 << 16) + 1, 1 << 20, 300 << 20])
SUFFIXES = st.sampled_from(["", "", "", ".gz", ".zst"])


def files_of(shape):
    return [
        SourceFile(index, f"/data/{index}.jsonl{suffix}", f"{index}.jsonl{suffix}", size, 0.0)
        for index, (size, suffix) in enumerate(shape)
    ]


def plan(files, **keywords):
    return list(plan_tasks(files, **keywords))


PLAIN = st.lists(st.tuples(SIZES, st.just("")), max_size=25).map(files_of)
FILES = st.lists(st.tuples(SIZES, SUFFIXES), max_size=25).map(files_of)
TASK_BLOCKS = st.integers(1, 100)


def groups_of(tasks):
    return [group for task in tasks for group in task.groups]


@given(PLAIN, TASK_BLOCKS)
def test_groups_hold_every_block_of_every_file_once_and_in_order(files, max_task_blocks):
    tasks = plan(files, max_task_blocks=max_task_blocks)
    blocks = [(block.file, block.number) for group in groups_of(tasks) for block in group]
    size = choose_block_size(estimated_bytes(files))
    assert blocks == [(file, number) for file in files for number in range(max(1, -(-file.size // size)))]


@given(FILES, TASK_BLOCKS)
def test_groups_and_streams_do_not_depend_on_the_grain(files, max_task_blocks):
    tasks, finest = plan(files, max_task_blocks=max_task_blocks), plan(files, max_task_blocks=1)
    assert groups_of(tasks) == groups_of(finest)
    assert [task.stream for task in tasks if task.stream] == [task.stream for task in finest if task.stream]
    assert all(len(task.groups) <= 1 for task in finest)
    assert all(len(task.groups) <= max_task_blocks for task in tasks)


@given(FILES, TASK_BLOCKS)
def test_tasks_are_numbered_in_corpus_order(files, max_task_blocks):
    tasks = plan(files, max_task_blocks=max_task_blocks)
    assert [task.index for task in tasks] == list(range(len(tasks)))
    assert {task.block_size for task in tasks} <= {choose_block_size(estimated_bytes(files))}
    assert all(bool(task.groups) != bool(task.stream) for task in tasks)
    first = [task.stream.file.index if task.stream else task.groups[0][0].file.index for task in tasks]
    assert first == sorted(first)


@given(FILES)
def test_the_parts_of_a_compressed_file_cover_each_block_once(files):
    streams = [task.stream for task in plan(files) if task.stream]
    assert {stream.file for stream in streams} == {file for file in files if file.path.endswith((".gz", ".zst"))}
    for _, parts in itertools.groupby(streams, key=lambda stream: stream.file):
        numbers = [number for part in parts for number in range(part.first, 60, part.step)]
        assert sorted(numbers) == list(range(60))


@given(PLAIN)
def test_small_files_are_packed(files):
    size = choose_block_size(estimated_bytes(files))
    packed = [[block.file.size for block in group] for group in groups_of(plan(files)) if len(group) > 1]
    assert all(sum(sizes) <= size for sizes in packed)
    small = [sum(block.file.size for block in group) for group in groups_of(plan(files))]
    following = [group[0].file.size for group in groups_of(plan(files))][1:]
    # What begins the next group would not have gone into this one.
    assert all(here + there > size for here, there in zip(small, following, strict=False))


def test_a_thousand_tiny_files_are_one_group():
    assert len(groups_of(plan(files_of([(50, "")] * 1000)))) == 1


@pytest.mark.parametrize(("terabytes", "size"), [(4, 1 << 20), (5, 2 << 20), (20, 8 << 20), (1000, 1 << 24)])
def test_blocks_of_a_huge_corpus_grow_so_that_there_are_not_too_many(terabytes, size):
    assert choose_block_size(terabytes * 10**12) == size


@given(FILES)
def test_block_size_is_a_power_of_two_that_makes_many_blocks(files):
    size = choose_block_size(estimated_bytes(files))
    assert size.bit_count() == 1
    assert MIN_BLOCK_SIZE <= size <= MAX_BLOCK_SIZE
    assert size == MAX_BLOCK_SIZE or estimated_bytes(files) <= 64 * size
    assert size == MIN_BLOCK_SIZE or estimated_bytes(files) > 32 * size


@pytest.mark.parametrize(("shape", "expected"), [([], 0), ([(10, "")], 10), ([(10, ""), (10, ".gz")], 50)])
def test_compressed_files_count_four_fold(shape, expected):
    assert estimated_bytes(files_of(shape)) == expected


def test_no_files_are_no_tasks():
    assert plan([]) == []


@pytest.mark.parametrize(("count", "parts"), [(1, 4), (2, 2), (3, 1), (10, 1)])
def test_a_few_compressed_files_are_streamed_in_parts(count, parts):
    tasks = plan(files_of([(100 << 20, ".gz")] * count))
    assert [(task.stream.first, task.stream.step) for task in tasks] == [
        (part, parts) for part in range(parts)
    ] * count


def test_a_small_compressed_file_is_streamed_once():
    (task,) = plan(files_of([(1000, ".zst")]))
    assert (task.stream.first, task.stream.step) == (0, 1)
