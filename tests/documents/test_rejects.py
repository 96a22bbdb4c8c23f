import json

import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.records import Reject
from hir_transforms.documents.rejects import LineCounts, check_rejected, list_rejects, write_rejects
from hir_transforms.files import storage


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


def rejects_of(*reasons):
    return [Reject("/data/a.jsonl", 10 * number, reason, "") for number, reason in enumerate(reasons)]


def test_counts_of_lines_do_not_depend_on_the_order_of_merging():
    parts = [
        LineCounts.of(1, 3, rejects_of("not JSON", "no field 'text'", "not JSON")),
        LineCounts.of(0, 5, []),
        LineCounts.of(2, 0, rejects_of("invalid UTF-8", "not JSON")),
        LineCounts(),
    ]
    expected = {
        "read": 13,
        "rejected": 5,
        "reasons": {"not JSON": 3, "no field 'text'": 1, "invalid UTF-8": 1},
        "first_reject": "/data/a.jsonl, byte 0: not JSON",
    }
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        merged = LineCounts()
        for number in order:
            merged = merged.merge(parts[number])
        assert merged.summary() == expected
    assert parts[1].summary() == {"read": 5, "rejected": 0, "reasons": {}}


def check(documents, *reasons, **settings):
    check_rejected(LineCounts.of(0, documents, rejects_of(*reasons)).summary(), Dataset("raw", ("a",), **settings))


def test_a_larger_share_of_rejected_lines_than_allowed_is_an_error():
    check(9, "not JSON", max_rejected_share=0.1)
    check(0, "not JSON", max_rejected_share=1.0)
    check(71, *["not JSON"] * 29, max_rejected_share=0.29)
    check(5, max_rejected_share=0.0)
    with pytest.raises(UserError) as caught:
        check(8, "not JSON", "no field 'text'", "not JSON", max_rejected_share=0.1)
    assert str(caught.value) == (
        "--raw: 3 of 11 lines are rejected (2 not JSON, 1 no field 'text'), a larger share than "
        "--max_rejected_share 0.1; the first: /data/a.jsonl, byte 0: not JSON"
    )
    with pytest.raises(UserError, match=r"\(1 a, 1 b, 1 c, 1 d, 1 e and 2 more reasons\)"):
        check(0, *"abcdefg", max_rejected_share=0.0)


def test_one_rejected_line_is_an_error_where_none_may_be():
    check(3, on_bad_record="fail")
    with pytest.raises(UserError, match=r"^--raw: /data/a.jsonl, byte 0: not JSON \(--on_bad_record fail\)$"):
        check(99, "not JSON", "no", on_bad_record="fail")
