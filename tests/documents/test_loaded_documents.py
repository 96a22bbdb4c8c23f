import json
from dataclasses import replace

import numpy as np

from hir_transforms.common.user_functions import user_function
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import plan_tasks, with_block
from hir_transforms.documents.reading import DocumentReader
from tests.helpers.loaders import load, text_of, write_records


def write(folder, *numbers):
    for name, records in zip("abc", numbers, strict=False):
        write_records(folder / f"{name}.records", ["law"] * records)
    load_fn, parse_fn = user_function(load), user_function(text_of)
    return Dataset("raw", (f"{folder}/*.records",), load_dataset_fn=load_fn, parse_example_fn=parse_fn)


def tasks_of(dataset):
    return [*plan_tasks(dataset.list_files(), loaded=True)]


def test_a_file_is_a_task_and_runs_of_its_records_are_groups(tmp_path):
    dataset = write(tmp_path, 1500, 3)
    first, second = tasks_of(dataset)
    groups = [*DocumentReader(dataset, "title").read(first)]
    assert [group.key for group in groups] == [(0, number) for number in range(len(groups))]
    assert len(groups) > 2
    offsets = np.concatenate([group.batches[0].offsets for group in groups])
    assert offsets.tolist() == [*range(1500)]
    sizes = [int(group.batches[0].lengths.sum()) for group in groups]
    assert all(first.block_size <= size < first.block_size + 1000 for size in sizes[:-1])
    ids = groups[0].batches[0].ids
    assert ids is not None
    assert ids[:2] == ["law 0", "law 1"]
    assert groups[0].texts[:2] == [text_of(record) for record in [*load(tmp_path / "a.records")][:2]]
    (group,) = DocumentReader(dataset).read(second)
    assert (group.key, len(group.texts), group.batches[0].ids) == ((1, 0), 3, None)


def test_one_block_is_read_of_a_file_whatever_its_suffix(tmp_path):
    dataset = write(tmp_path, 1500)
    (tmp_path / "a.records").rename(tmp_path / "a.parquet")
    parquet = replace(dataset, patterns=(f"{tmp_path}/*.parquet",), parse_example_fn=None, text_field="doc.body")
    (task,) = tasks_of(parquet)
    every = [*DocumentReader(parquet).read(task)]
    (alone,) = DocumentReader(parquet).read(with_block(task, 1))
    assert alone.texts == every[1].texts
    (tmp_path / "a.parquet").rename(tmp_path / "a.records")
    (task,) = tasks_of(dataset)
    assert next(DocumentReader(dataset).read(with_block(task, 1))).texts == every[1].texts


def test_what_cannot_be_used_is_rejected_with_its_number_and_reason(tmp_path):
    records = [{"text": "a"}, {"text": object()}, {"body": "b"}, {"text": "c" * 90}, {"text": "d"}]
    (tmp_path / "a").touch()
    function = user_function(lambda path: records)
    dataset = Dataset("raw", (f"{tmp_path}/a",), load_dataset_fn=function, max_document_bytes=80)
    (group,) = DocumentReader(dataset).read(*tasks_of(dataset))
    assert group.texts == ["a", "d"]
    assert group.batches[0].offsets.tolist() == [0, 4]
    assert group.batches[0].lengths.tolist() == [len(json.dumps(record).replace(" ", "")) for record in records[::4]]
    rejects = [(reject.offset, reject.kind, reject.excerpt, reject.unit) for reject in group.rejects]
    assert rejects == [
        (1, "no JSON can be made of the record", "", "record"),
        (2, "no field 'text'", '{"body":"b"}', "record"),
        (3, "longer than 80 bytes", f'{{"text":"{"c" * 90}"}}', "record"),
    ]


def test_a_file_without_records_gives_nothing(tmp_path):
    (tmp_path / "a").touch()
    dataset = Dataset("raw", (f"{tmp_path}/a",), load_dataset_fn=user_function(lambda path: []))
    assert [*DocumentReader(dataset).read(*tasks_of(dataset))] == []
