import decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.excerpts import Excerpts
from hir_transforms.documents.read_tasks import plan_tasks, with_block
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import ReadTask, Stream
from hir_transforms.documents.table_documents import TableDocuments
from tests.helpers.corpora import source_file


def read(path, id_field=None, **settings):
    """(batch, rejects) of a file in one block."""
    dataset = Dataset("raw", (str(path),), **settings)
    (group,) = [
        group for task in plan_tasks(dataset.list_files()) for group in DocumentReader(dataset, id_field).read(task)
    ]
    (batch,) = group.batches
    return batch, group.rejects


def write(path, table, **options):
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path, **options)
    return path


STRINGS = ["a", "", "dé", None, "x" * 50]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(STRINGS),
        pa.array(STRINGS, pa.large_string()),
        pa.array(STRINGS, pa.string_view()),
        pa.array(STRINGS).dictionary_encode(),
    ],
    ids=["string", "large", "view", "dictionary"],
)
def test_texts_of_all_kinds_of_strings(tmp_path, column):
    batch, rejects = read(write(tmp_path / "a.parquet", {"text": column, "x": range(5)}), max_document_bytes=20)
    assert batch.texts == ["a", "", "dé"]
    assert batch.offsets.tolist() == [0, 1, 2]
    assert batch.lengths.tolist() == [1, 0, 3]
    assert batch.offsets.dtype == batch.lengths.dtype == np.int64
    assert [(reject.offset, reject.reason, reject.excerpt) for reject in rejects] == [
        (3, "field 'text' is not a string", "None"),
        (4, "longer than 20 bytes", "x" * 50),
    ]


@pytest.mark.parametrize(
    ("column", "excerpts"),
    [
        (pa.array([1, None]), ["1", "None"]),
        (pa.array([None, None]), ["None", "None"]),
        (pa.array([["a"], []]), ["['a']", "[]"]),
        (pa.array([b"a", b"b"]), ["b'a'", "b'b'"]),
        (pa.array([1, None], pa.timestamp("ns")), ["timestamp[ns]", "None"]),
    ],
)
def test_what_is_no_string_is_rejected(tmp_path, column, excerpts):
    batch, rejects = read(write(tmp_path / "a.parquet", {"text": column}))
    assert batch.texts == []
    assert [reject.reason for reject in rejects] == ["field 'text' is not a string"] * 2
    assert [reject.excerpt for reject in rejects] == excerpts


def test_invalid_utf8_is_rejected_alone(tmp_path):
    column = pa.array([b"good", b"\xff" + b"y" * 300, "é".encode()]).view(pa.string())
    batch, (reject,) = read(write(tmp_path / "a.parquet", {"text": column}))
    assert batch.texts == ["good", "é"]
    assert (reject.offset, reject.reason, reject.excerpt) == (1, "invalid UTF-8", "\ufffd" + "y" * 199)


NESTED = {
    "title": ["t", "u", None],
    "doc": [{"content": "a", "more": {"deep": "d"}}, None, {"content": "c", "more": None}],
}


@pytest.mark.parametrize(
    ("text_field", "texts"),
    [
        ("doc.content", ["a", "c"]),
        ("doc.more.deep", ["d"]),
        ("title,doc.content", ["t\na"]),
        ("doc.content, title", ["a\nt"]),
    ],
)
def test_nested_and_joined_fields(tmp_path, text_field, texts):
    batch, rejects = read(write(tmp_path / "a.parquet", NESTED), text_field=text_field)
    assert batch.texts == texts
    assert batch.lengths.tolist() == [len(text) for text in texts]
    assert len(rejects) == 3 - len(texts)


def test_a_column_of_just_the_name_comes_before_a_nested_one(tmp_path):
    write(tmp_path / "a.parquet", {"doc": [{"content": "nested"}], "doc.content": ["own"]})
    assert read(tmp_path / "a.parquet", text_field="doc.content")[0].texts == ["own"]


@pytest.mark.parametrize("name", ["body", "doc.body", "title.x", "doc.content.x", "doc."])
def test_a_column_that_is_not_there_is_one_line(tmp_path, name):
    write(tmp_path / "a.parquet", NESTED)
    message = rf"a\.parquet has no column '{name}' but title, doc; --text_field names that of the text"
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.parquet", text_field=name)


@pytest.mark.parametrize(
    ("column", "ids"),
    [
        (["x", None, ""], ["x", None, ""]),
        ([7, -1, None], ["7", "-1", None]),
        ([1.5, 2.0, None], ["1.5", "2", None]),
        ([decimal.Decimal("1.10"), None, None], ["1.10", None, None]),
        ([["x"], None, []], [None, None, None]),
    ],
)
def test_ids(tmp_path, column, ids):
    write(tmp_path / "a.parquet", {"text": ["a", None, "c"], "key": column})
    assert read(tmp_path / "a.parquet", "key")[0].ids == [ids[0], ids[2]]
    assert read(tmp_path / "a.parquet", "text")[0].ids == ["a", "c"]
    assert read(tmp_path / "a.parquet", "other")[0].ids == [None, None]
    assert read(tmp_path / "a.parquet")[0].ids is None


def test_the_first_bad_row_fails_where_that_is_asked(tmp_path):
    with pytest.raises(UserError, match=r"^--raw: .*a\.parquet, row 3: field 'text' is not a string \(--on_bad"):
        read(write(tmp_path / "a.parquet", {"text": STRINGS}), on_bad_record="fail")


@pytest.mark.parametrize("row_group_size", [1, 10, 33, 100])
@pytest.mark.parametrize("block_size", [1, 50, 10**6])
def test_parts_have_each_row_once_in_the_same_blocks(tmp_path, row_group_size, block_size):
    texts = [f"text number {row}" for row in range(100)]
    path = write(tmp_path / "a.parquet", {"text": texts}, row_group_size=row_group_size)
    file, dataset = source_file(path), Dataset("raw", (str(path),))
    whole = None
    for parts in (1, 2, 3, 7, 64):
        tasks = [ReadTask(part, block_size, stream=Stream(file, part, parts)) for part in range(parts)]
        groups = [group for task in tasks for group in DocumentReader(dataset).read(task)]
        documents = [(group.key, group.batches[0].offsets.tolist(), group.texts) for group in groups]
        assert [text for *_, of_group in documents for text in of_group] == texts
        assert [key for key, *_ in documents] == [(0, number) for number in range(len(documents))]
        whole = whole or documents
        assert documents == whole
    task = ReadTask(0, block_size, stream=Stream(file, 0, 3))
    for number in {0, len(documents) // 2, len(documents) - 1}:
        (group,) = DocumentReader(dataset).read(with_block(task, number))
        assert (group.key, group.batches[0].offsets.tolist(), group.texts) == documents[number]
    assert list(DocumentReader(dataset).read(with_block(task, len(documents)))) == []


def test_a_file_without_rows_has_no_documents(tmp_path):
    dataset = Dataset("raw", (str(write(tmp_path / "a.parquet", {"text": pa.array([], pa.string())})),))
    assert [group for task in plan_tasks(dataset.list_files()) for group in DocumentReader(dataset).read(task)] == []


def test_excerpts_of_lines_and_rows(tmp_path):
    write(tmp_path / "a.parquet", {"text": ["first", "x" * 300]})
    (tmp_path / "b.jsonl").write_bytes(b'{"text":1}\n{"text":2}\n')
    with Excerpts(Dataset("raw", ())) as excerpts:
        assert excerpts.read(f"{tmp_path}/a.parquet", 1, 300) == "x" * 200
        assert excerpts.read(f"{tmp_path}/b.jsonl", 11, 10) == '{"text":2}'
        assert excerpts.read(f"{tmp_path}/a.parquet", 0, 5) == "first"


def test_a_large_row_group_is_cut_into_blocks(tmp_path):
    path = write(tmp_path / "a.parquet", {"text": ["x" * 1000] * 1000}, use_dictionary=False)
    dataset = Dataset("raw", (str(path),))
    found = TableDocuments(dataset).read(source_file(path), 0, 1, 1 << 16, lambda _: True)
    sizes = [int(batch.lengths.sum()) for batch, _ in found]
    assert len(sizes) == 16
    assert max(sizes) <= 1 << 16
