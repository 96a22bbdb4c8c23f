import bz2
import gzip
import itertools
import json
import lzma
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import zstandard
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import plan_tasks
from hir_transforms.documents.reading import DocumentReader, ReadTasks
from hir_transforms.documents.records import Block, BlockSample, ReadTask, Stream
from tests.helpers.corpora import jsonl, source_file

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
LINES = st.lists(
    st.text(max_size=30).map(lambda text: json.dumps({"text": text}).encode())
    | st.sampled_from([b"", b" \r", b"not json", b'{"text": 1}', b'{"text": "\xff"}', b'{"text": "crlf"}\r']),
    max_size=12,
)
CORPORA = st.lists(st.tuples(LINES, st.booleans(), st.sampled_from(list(ENCODERS))), min_size=1, max_size=4)


def plan(files, **keywords):
    return list(plan_tasks(files, **keywords))


def naive_documents(path, content):
    """(path, offset, length, text) of each line that `json.loads` takes."""
    lines = content.split(b"\n")
    for offset, line in zip(
        itertools.accumulate(map(len, lines), lambda a, b: a + b + 1, initial=0), lines, strict=False
    ):
        try:
            text = json.loads(line)["text"]
        except (ValueError, KeyError):
            continue
        if isinstance(text, str):
            yield str(path), offset, len(line), text


def num_lines(content):
    return sum(bool(line.strip()) for line in content.split(b"\n"))


def documents_of(groups):
    return [
        (batch.file.path, offset, length, text)
        for group in groups
        for batch in group.batches
        for offset, length, text in zip(batch.offsets.tolist(), batch.lengths.tolist(), batch.texts, strict=True)
    ]


def read(dataset, tasks):
    """The groups of all tasks in corpus order."""
    reader = DocumentReader(dataset)
    groups = [group for task in tasks for group in reader.read(task)]
    assert len({group.key for group in groups}) == len(groups)
    return sorted(groups, key=lambda group: group.key)


def write(folder, corpus):
    """Writes a corpus of (lines, final newline, suffix) a file; returns (path, uncompressed content) of each."""
    written = []
    for index, (lines, newline, suffix) in enumerate(corpus):
        path = Path(folder) / f"{index}.jsonl{suffix}"
        content = b"\n".join(lines) + (b"\n" if newline else b"")
        path.write_bytes(ENCODERS[suffix](content))
        written.append((path, content))
    return written


def small_tasks(written, block_size, step):
    """Tasks as `plan_tasks` makes them for large files, with small blocks."""
    tasks = []
    for index, (path, content) in enumerate(written):
        file = source_file(path, index)
        if path.suffix == ".jsonl":
            blocks = tuple((Block(file, number),) for number in range(max(1, -(-len(content) // block_size))))
            tasks.append(ReadTask(len(tasks), block_size, blocks))
        else:
            tasks += [ReadTask(len(tasks), block_size, stream=Stream(file, part, step)) for part in range(step)]
    return tasks


@settings(max_examples=60)
@given(CORPORA, st.integers(1, 60), st.integers(1, 4))
def test_documents_are_those_of_a_naive_reader(corpus, block_size, step):
    with tempfile.TemporaryDirectory() as folder:
        written = write(folder, corpus)
        dataset = Dataset("raw", (f"{folder}/*",))
        for tasks in (small_tasks(written, block_size, step), plan(dataset.list_files())):
            groups = read(dataset, tasks)
            documents = documents_of(groups)
            assert documents == [document for file in written for document in naive_documents(*file)]
            num_rejects = sum(len(group.rejects) for group in groups)
            assert len(documents) + num_rejects == sum(num_lines(content) for _, content in written)


@settings(max_examples=40)
@given(CORPORA, st.integers(1, 60), st.integers(1, 4), st.integers(0, 100), st.floats(0.05, 0.95))
def test_a_sample_keeps_the_groups_of_its_blocks(corpus, block_size, step, seed, fraction):
    with tempfile.TemporaryDirectory() as folder:
        written = write(folder, corpus)
        dataset = Dataset("raw", (f"{folder}/*",))
        sample = BlockSample(seed, fraction)
        tasks = small_tasks(written, block_size, step)
        sampled = [ReadTask(task.index, block_size, task.groups, task.stream, sample) for task in tasks]
        files = [source_file(path, index) for index, (path, _) in enumerate(written)]
        expected = [group for group in read(dataset, tasks) if sample.keeps(Block(files[group.key[0]], group.key[1]))]
        assert [group.key for group in read(dataset, sampled)] == [group.key for group in expected]
        assert documents_of(read(dataset, sampled)) == documents_of(expected)


def test_a_sample_holds_its_fraction_of_the_blocks(tmp_path):
    (tmp_path / "a.jsonl").touch()
    file = source_file(tmp_path / "a.jsonl")
    for fraction in (0.0, 0.3, 1.0):
        kept = sum(BlockSample(1, fraction).keeps(Block(file, number)) for number in range(2000))
        assert kept == pytest.approx(2000 * fraction, abs=3 * 2000**0.5)


@pytest.mark.parametrize("suffix", ENCODERS)
def test_a_large_file_is_read_whole_whatever_the_grain(tmp_path, suffix):
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abc ü"), size)) for size in generator.integers(0, 600, 2000)]
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(ENCODERS[suffix](jsonl(texts)))
    dataset = Dataset("raw", (str(path),))
    for max_task_blocks in (1, 32):
        tasks = plan(dataset.list_files(), max_task_blocks=max_task_blocks)
        assert len(tasks) > 1
        assert documents_of(read(dataset, tasks)) == list(naive_documents(path, jsonl(texts)))


def test_small_files_share_a_group(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl([name, name]))
    dataset = Dataset("raw", (str(tmp_path / "*"),))
    (group,) = read(dataset, plan(dataset.list_files()))
    assert group.key == (0, 0)
    assert [batch.file.name for batch in group.batches] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert group.texts == ["a", "a", "b", "b", "c", "c"]


def test_empty_files_are_no_group(tmp_path):
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b.jsonl").write_bytes(jsonl(["x" * 1000] * 100))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b""))
    dataset = Dataset("target", (f"{tmp_path}/a.*", f"{tmp_path}/b.*", f"{tmp_path}/c.*"))
    groups = read(dataset, plan_tasks(dataset.list_files()))
    assert {group.target for group in groups} == {1}
    assert len(documents_of(groups)) == 100


def test_another_text_field_and_a_limit(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"body": "short", "text": 1}\n{"body": "much longer than the limit"}\n')
    dataset = Dataset("raw", (str(path),), text_field="body", max_document_bytes=30)
    (group,) = read(dataset, plan(dataset.list_files()))
    assert group.texts == ["short"]
    assert [(reject.file, reject.offset, reject.reason) for reject in group.rejects] == [
        (str(path), 29, "longer than 30 bytes")
    ]


def test_the_first_line_that_cannot_be_used_may_end_it(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(["one"]) + b'{"text": 1}\nnot json\n')
    dataset = Dataset("target", (str(path),), on_bad_record="fail")
    message = f"^--target: {path}, byte 16: field 'text' is not a string \\(--on_bad_record fail\\)$"
    with pytest.raises(UserError, match=message):
        read(dataset, plan_tasks(dataset.list_files()))


CUT_OFF = {suffix: encode(jsonl(["text"] * 100))[:-5] for suffix, encode in ENCODERS.items() if suffix}


@pytest.mark.parametrize("suffix", CUT_OFF)
@pytest.mark.parametrize("fraction", [None, 1e-12])
def test_a_file_that_was_cut_off_is_named(tmp_path, suffix, fraction):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(CUT_OFF[suffix])
    sample = fraction and BlockSample(0, fraction)
    task = ReadTask(0, 1 << 16, stream=Stream(source_file(path), 0, 1), sample=sample)
    with pytest.raises(UserError, match=f"cannot decompress {path}: "):
        read(Dataset("raw", (str(path),)), [task])


def test_a_file_that_is_gone_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(["a"]))
    dataset = Dataset("raw", (str(path),))
    tasks = plan(dataset.list_files())
    path.unlink()
    with pytest.raises(UserError, match=f"cannot read {path}: "):
        read(dataset, tasks)


def test_skipped_blocks_of_a_compressed_file_are_not_held(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(jsonl(["x" * 1000]) * 30_000, 1))
    task = ReadTask(0, 1 << 16, stream=Stream(source_file(path), 0, 1), sample=BlockSample(0, 1e-12))
    tracemalloc.start()
    try:
        assert read(Dataset("raw", (str(path),)), [task]) == []
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_files_of_an_object_store(memory_store):
    memory_store.put("mem://bucket/a.jsonl", jsonl(["one", "two"]))
    memory_store.put("mem://bucket/b.jsonl.zst", ENCODERS[".zst"](jsonl(["three"])))
    dataset = Dataset("raw", ("mem://bucket/*",))
    groups = read(dataset, plan(dataset.list_files()))
    assert [text for group in groups for text in group.texts] == ["one", "two", "three"]


def test_the_transform_lists_the_tasks(tmp_path):
    for index in range(20):
        (tmp_path / f"{index}.jsonl").write_bytes(jsonl(["x" * 30_000] * 10))
    dataset = Dataset("raw", (str(tmp_path / "*.jsonl"),))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        tasks = pipeline | ReadTasks(dataset, max_task_blocks=2)
        assert_that(tasks, equal_to(plan(dataset.list_files(), max_task_blocks=2)))
