import pickle
from contextlib import closing

import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.documents.datasets import Dataset
from hir_transforms.rows.files import RowKind
from hir_transforms.rows.starts import FindRowStarts, GroupRows


def find(folder, counts, table=None):
    """The `RowStarts` of tasks, and the rows of the table: one a document, which holds its number."""
    documents = sum(documents for _, groups in counts for _, documents in groups)
    rows = np.arange(documents if table is None else table, dtype=np.float32)[:, None]
    for number, part in enumerate(np.array_split(rows, 3)):
        np.save(folder / f"rows-{number}.npy", part)
    files = Dataset("raw_embeddings", (f"{folder}/rows-*.npy",))
    kept = folder / "starts"
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        starts = (
            pipeline
            | beam.Create(counts)
            | FindRowStarts(str(folder / "stage"), files, RowKind.EMBEDDING, Dataset("raw", ("raw.jsonl",)))
        )
        starts | "Keep" >> beam.Map(lambda starts: kept.write_bytes(pickle.dumps(starts)))
    return pickle.loads(kept.read_bytes()), rows  # noqa: S301  # written above


@pytest.fixture
def counts():
    """200 tasks of two groups: four of them, across the border of two index files, share one compressed file."""
    tasks = [(task, [((task, block), (task + block) % 5) for block in (0, 1)]) for task in range(200)]
    for part in range(4):
        tasks[62 + part] = (62 + part, [((62, block), block + 1) for block in (part, part + 4)])
    return tasks


def test_each_group_finds_its_rows_also_where_tasks_interleave(tmp_path, counts):
    starts, rows = find(tmp_path, counts)
    assert [run.files for run in starts.runs] == [(0, 1), (2,), (3,)]
    row = 0
    with closing(GroupRows(starts)) as reader:
        for key, documents in sorted(group for _, groups in counts for group in groups):
            if documents:
                np.testing.assert_array_equal(reader.read(key, documents), rows[row : row + documents])
            row += documents
        np.testing.assert_array_equal(reader.read((0, 1), 1), [[0]])  # also out of order


def test_what_is_passed_on_does_not_grow_with_the_groups(tmp_path):
    few, many = (
        [(task, [((task, block), 1) for block in range(groups)]) for task in range(640)] for groups in (1, 60)
    )
    sizes = []
    for name, counts in (("few", few), ("many", many)):
        (tmp_path / name).mkdir()
        starts, _ = find(tmp_path / name, counts)
        assert len(starts.runs) == 10
        sizes.append(len(pickle.dumps(starts.runs)))
    assert sizes[1] < sizes[0] + 50 < 1100


def test_tasks_without_a_group_have_no_rows(tmp_path):
    starts, _ = find(tmp_path, [(0, []), (1, [((0, 0), 2)]), (64, [])])
    assert [run.files for run in starts.runs] == [(0,)]


@pytest.mark.parametrize("groups", [[], [((0, 0), 2)]])
def test_there_must_be_a_row_for_each_document(tmp_path, groups):
    documents = sum(documents for _, documents in groups)
    with pytest.raises(Exception, match=rf"3 rows in .*rows-\*.npy, but {documents} documents in raw.jsonl"):
        find(tmp_path, [(0, groups)], table=3)
