import json

import pytest

from hir_transforms import storage
from hir_transforms.records import Reject
from hir_transforms.rejecting import list_rejects, write_rejects


@pytest.fixture(params=["local", "object store"])
def folder(request, tmp_path, memory_store):
    return str(tmp_path / "scores") if request.param == "local" else "mem://bucket/scores"


REJECTS = [Reject("/data/ü.jsonl", 7, "not JSON", 'half "a\n\0\ufffd😀'), Reject("/data/b.jsonl", 2**40, "", "")]


def test_each_rejected_line_is_a_line_of_json(folder):
    write_rejects(folder, "raw", 12, REJECTS)
    (path,) = list_rejects(folder, "raw-")
    assert path == f"{folder}/rejected/raw-00012.jsonl"
    *lines, rest = storage.read_bytes(path).split(b"\n")
    assert rest == b""
    assert [json.loads(line) for line in lines] == [
        {"file": "/data/ü.jsonl", "offset": 7, "reason": "not JSON", "excerpt": 'half "a\n\0\ufffd😀'},
        {"file": "/data/b.jsonl", "offset": 2**40, "reason": "", "excerpt": ""},
    ]


def test_no_rejects_are_no_file(folder):
    write_rejects(folder, "raw", 0, [])
    assert not storage.exists(folder)
    assert list_rejects(folder, "raw-") == []


def test_files_are_listed_in_corpus_order_for_one_dataset(folder):
    for role, index in (("raw", 10), ("raw-embedding", 1), ("target", 3), ("raw", 9), ("raw", 99_999)):
        write_rejects(folder, role, index, REJECTS)
    names = [path.rpartition("/")[2] for path in list_rejects(folder, "raw-")]
    assert names == ["raw-00009.jsonl", "raw-00010.jsonl", "raw-99999.jsonl"]
    assert [path.rpartition("/")[2] for path in list_rejects(folder, "target-")] == ["target-00003.jsonl"]


def test_a_retry_writes_the_same_file(folder):
    for _ in range(2):
        write_rejects(folder, "raw", 0, REJECTS)
    (path,) = list_rejects(folder, "raw-")
    assert storage.read_bytes(path).count(b"\n") == len(REJECTS)
