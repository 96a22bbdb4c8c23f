import os
import re
import tempfile
from pathlib import Path

import pytest
from apache_beam.io.filesystem import FileSystem
from hypothesis import example, given
from hypothesis import strategies as st

from hir_transforms.common.errors import UserError
from hir_transforms.files.patterns import compile_pattern, fixed_part, look_up, match_files
from tests.helpers.forking import CONTEXT


@pytest.mark.parametrize(
    ("pattern", "fixed", "is_whole"),
    [
        ("/a/b.jsonl", "/a/b.jsonl", True),
        ("/a/*.jsonl", "/a/", False),
        ("/a/b?", "/a/b", False),
        ("/a[,]b[[]1]/*", "/a,b[1]/", False),
        ("/a[*][?][[][]]", "/a*?[]", True),
        ("/a[ab]", "/a", False),
        ("/a[!b]", "/a", False),
        ("/a[!]", "/a[!]", True),
        ("/a[]", "/a[]", True),
        ("/a[b", "/a[b", True),
        ("/a{b}", "/a{b}", True),
    ],
)
def test_the_part_before_the_first_wildcard(pattern, fixed, is_whole):
    assert fixed_part(pattern) == (fixed, is_whole)


PATTERNS = st.lists(st.sampled_from([*"ab/*?[]!^-,&~|.", "**", "[ab]", "[!a]", "[a-b]"]), max_size=8).map("".join)


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@given(PATTERNS, st.text("ab/.[]!^-,&~|", max_size=6))
@example("[[]", "[")
@example("[b-a]", "b")
@example("[!]]", "a")
def test_patterns_mean_what_they_mean_to_beam(pattern, path):
    try:
        expected = re.match(FileSystem.translate_pattern(pattern), path)
    except re.error:
        with pytest.raises(re.error):
            compile_pattern(pattern)
        return
    assert bool(compile_pattern(pattern).fullmatch(path)) == bool(expected)


def test_a_name_with_a_backslash_or_a_line_break_is_matched(tmp_path):
    for name in ("a\\b", "a\nb"):
        (tmp_path / name).touch()
    assert sorted(path for path, _, _ in match_files(f"{tmp_path}/*")) == [f"{tmp_path}/a\nb", f"{tmp_path}/a\\b"]


@pytest.fixture
def ten(tmp_path):
    """A folder with ten files in it."""
    for number in range(10):
        (tmp_path / f"{number}.jsonl").touch()
    return tmp_path


def test_a_link_to_itself_is_named(ten):
    (ten / "5a.jsonl").symlink_to(ten / "5a.jsonl")
    with pytest.raises(
        UserError, match=rf"^cannot read {ten}/5a.jsonl: Too many levels .* \(it is a link to {ten}/5a"
    ):
        match_files(f"{ten}/*.jsonl")
    with pytest.raises(UserError, match=f"^cannot read {ten}/5a.jsonl: "):
        match_files(f"{ten}/5a.jsonl")


def test_a_link_to_nothing_is_named(ten):
    (ten / "5a.jsonl").symlink_to(ten / "missing")
    with pytest.raises(
        UserError, match=rf"^cannot read {ten}/5a.jsonl: No such file .* \(it is a link to {ten}/missing\)"
    ):
        match_files(f"{ten}/*.jsonl")
    with pytest.raises(UserError, match=f"^cannot read {ten}/5a.jsonl: "):
        look_up([f"{ten}/0.jsonl", f"{ten}/5a.jsonl"])


def test_a_link_that_no_pattern_asks_for_is_no_obstacle(ten):
    (ten / "loop").symlink_to(ten / "loop")
    (ten / "broken").symlink_to(ten / "missing")
    assert len(match_files(f"{ten}/*.jsonl")) == 10


def test_what_is_no_file_is_named(ten):
    os.mkfifo(ten / "5a.jsonl")
    with pytest.raises(UserError, match=f"^{ten}/5a.jsonl is a pipe or a device"):
        match_files(f"{ten}/*.jsonl")


def _outcome(pattern, results):
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        results.put([path for path, _, _ in match_files(pattern)])
    except UserError as error:
        results.put(str(error))


def matched_without_rights(pattern):
    """What an ordinary user finds: paths, or the message."""
    results = CONTEXT.SimpleQueue()
    process = CONTEXT.Process(target=_outcome, args=(pattern, results))
    process.start()
    found = results.get()
    process.join()
    return found


@pytest.fixture
def forbidden():
    """A folder that others may enter, with three folders of a file each: that one may enter, not list, not enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for name, mode in {"open": 0o755, "unlisted": 0o311, "closed": 0o000}.items():
            (Path(folder) / name).mkdir()
            (Path(folder) / name / "1.jsonl").touch()
            os.chmod(Path(folder) / name, mode)
        (Path(folder) / "link.jsonl").symlink_to(f"{folder}/closed/1.jsonl")
        yield folder


def test_what_may_not_be_entered_is_named(forbidden):
    for pattern in ("*/*.jsonl", "**.jsonl", "closed/*", "c*/1.jsonl"):
        found = matched_without_rights(f"{forbidden}/{pattern}")
        assert re.match(rf"cannot (list|read) {forbidden}/(closed|unlisted|link).*Permission", str(found)), found
    for pattern in ("closed/1.jsonl", "link.jsonl", "*.jsonl", "link*"):
        found = matched_without_rights(f"{forbidden}/{pattern}")
        assert re.match(rf"cannot read {forbidden}/(closed|link).*: Permission denied", str(found)), found


def test_folders_that_cannot_hold_a_match_are_not_entered(forbidden):
    assert matched_without_rights(f"{forbidden}/o*/*.jsonl") == [f"{forbidden}/open/1.jsonl"]
    assert matched_without_rights(f"{forbidden}/open/**") == [f"{forbidden}/open/1.jsonl"]
    assert matched_without_rights(f"{forbidden}/unlisted/1.jsonl") == [f"{forbidden}/unlisted/1.jsonl"]


def test_objects_with_wildcards_in_their_names(memory_store):
    for name in ("a[1]/x*.jsonl", "a1/x.jsonl", "a[1]/y,z.jsonl"):
        memory_store.put(f"mem://bucket/{name}", b"12")
    (found,) = match_files("mem://bucket/a[[]1]/x[*].jsonl")
    assert found[:2] == ("mem://bucket/a[1]/x*.jsonl", 2)
    paths = [path for path, _, _ in match_files("mem://bucket/a[[]1]/*.jsonl")]
    assert sorted(paths) == ["mem://bucket/a[1]/x*.jsonl", "mem://bucket/a[1]/y,z.jsonl"]
    assert match_files("mem://bucket/none") == []


@pytest.mark.parametrize("number", [3, 300])
def test_files_are_looked_up_by_name(memory_store, tmp_path, number):
    local = [str(tmp_path / f"{index}.jsonl") for index in range(number)]
    for path in local:
        Path(path).write_bytes(b"123")
    stored = [f"mem://bucket/data[1]/{index % 3}/{index}.jsonl" for index in range(number)]
    for path in [*stored, "mem://bucket/data[1]/0/other.jsonl"]:
        memory_store.put(path, b"1")
    missing = [f"{tmp_path}/none.jsonl", "mem://bucket/data[1]/0/none.jsonl", f"{local[0]}/below"]
    memory_store.questions.clear()
    found = look_up([*local, *stored, *missing])
    assert list(found) == [*local, *stored] if number == 3 else sorted(found) == sorted([*local, *stored])
    assert {size for path, size, _ in found.values() if path in local} == {3}
    assert [found[path][0] for path in stored] == stored
    # One folder has all the rest; what is few is asked for by name.
    assert len(memory_store.questions) == (7 if number == 3 else 3)
