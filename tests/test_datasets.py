import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from apache_beam.io.filesystems import FileSystems

from hir_transforms.datasets import Dataset, list_files, listed_once, split_patterns
from hir_transforms.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A folder `data` with files in two levels."""
    for name in ("b/2.jsonl", "b/10.jsonl", "a/1.jsonl", "a/deep/3.jsonl", "top.jsonl", "a/notes.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path / "data"


def names(*patterns):
    return [file.name for file in list_files(map(str, patterns), flag="--raw")]


def error(*patterns):
    with pytest.raises(UserError) as caught:
        list_files(map(str, patterns), flag="--raw")
    assert str(caught.value).startswith("--raw: ")
    return str(caught.value)


def test_files_are_described_as_they_are_stored(folder):
    os.utime(folder / "top.jsonl", (0, 1_234_567.5))
    (file,) = list_files([str(folder / "top.jsonl")], flag="--raw")
    assert (file.index, file.path, file.name) == (0, str(folder / "top.jsonl"), "top.jsonl")
    assert (file.size, file.modified) == (9, 1_234_567.5)


def test_paths_are_sorted_within_a_pattern(folder):
    assert names(folder / "b/*.jsonl") == ["10.jsonl", "2.jsonl"]
    assert names(folder / "*/*.jsonl") == ["a/1.jsonl", "b/10.jsonl", "b/2.jsonl"]


def test_two_stars_go_into_all_folders_below(folder):
    assert names(folder / "a/**.jsonl") == ["1.jsonl", "deep/3.jsonl"]
    assert names(folder / "**.jsonl") == ["a/1.jsonl", "a/deep/3.jsonl", "b/10.jsonl", "b/2.jsonl", "top.jsonl"]


def test_patterns_keep_the_order_given(folder):
    files = list_files([str(folder / "b/*.jsonl"), str(folder / "a/*.jsonl")], flag="--raw")
    assert [file.name for file in files] == ["b/10.jsonl", "b/2.jsonl", "a/1.jsonl"]
    assert [file.index for file in files] == [0, 1, 2]


def test_a_file_that_several_patterns_name_is_listed_once_where_it_comes_first(folder):
    assert names(folder / "b/2.jsonl", folder / "b/*.jsonl", folder / "b/2.jsonl") == ["2.jsonl", "10.jsonl"]


@pytest.mark.parametrize(
    "patterns",
    [
        ["top.jsonl"],
        ["*.jsonl"],
        ["a/*.jsonl"],
        ["?/*.jsonl"],
        ["[ab]/[0-9]*.jsonl"],
        ["**.jsonl"],
        ["a/*.jsonl", "b/2.jsonl"],
        ["a/1.jsonl", "a/deep/*.jsonl"],
        ["b/*.jsonl", "top.jsonl"],
    ],
)
def test_names_do_not_change_when_the_dataset_moves(folder, tmp_path, patterns):
    before = names(*(folder / pattern for pattern in patterns))
    moved = tmp_path / "else" / "where" / "b"
    shutil.copytree(folder, moved)
    assert names(*(moved / pattern for pattern in patterns)) == before
    assert len(set(before)) == len(before)


def test_names_do_not_depend_on_what_else_matches_elsewhere(folder):
    assert names(folder / "a/*.jsonl") == ["1.jsonl"]
    assert names(folder / "a/1.jsonl") == ["1.jsonl"]


def test_names_of_files_without_a_common_store_are_their_paths(folder, memory_store):
    memory_store.put("mem://bucket/x.jsonl", b"{}")
    local = str(folder / "top.jsonl")
    assert names(local, "mem://bucket/x.jsonl") == [local.lstrip("/"), "mem://bucket/x.jsonl"]


def test_files_of_an_object_store(memory_store):
    for name in ("b/2", "a/1", "a/deep/3", "ab"):
        memory_store.put(f"mem://bucket/data/{name}", b"12345")
    files = list_files(["mem://bucket/data/a/*", "mem://bucket/data/b/*"], flag="--raw")
    assert [(file.path, file.name, file.size) for file in files] == [
        ("mem://bucket/data/a/1", "a/1", 5),
        ("mem://bucket/data/b/2", "b/2", 5),
    ]
    assert all(file.modified > 0 for file in files)


def test_a_folder_is_no_pattern(folder):
    assert f"{folder} is a folder" in error(folder)
    assert f"{folder}/*.jsonl" in error(folder)


def test_a_pattern_without_a_match_is_an_error(folder):
    assert error(folder / "none-*.jsonl").endswith(f"no file matches {folder}/none-*.jsonl")
    assert f"{folder}/none.jsonl" in error(folder / "*.jsonl", folder / "none.jsonl")
    assert "no file matches" in error("/no/such/folder/*.jsonl")


def test_a_pattern_that_matches_folders_only_matches_no_file(folder):
    assert "no file matches" in error(folder / "[ab]")


@pytest.mark.parametrize(
    ("pattern", "message"), [("nowhere://bucket/*.jsonl", "nowhere"), ("/data/[b-a].jsonl", "/data/[b-a].jsonl")]
)
def test_a_pattern_that_cannot_be_looked_up_is_an_error(pattern, message):
    assert message in error(pattern)


def test_no_pattern_is_an_error():
    assert "no file named" in error()


def test_a_name_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "ü.jsonl").write_bytes(b"{}")
    assert names(tmp_path / "*.jsonl") == ["ü.jsonl"]
    with open(os.fsencode(tmp_path) + b"/\xff.jsonl", "wb") as file:
        file.write(b"{}")
    assert "not valid UTF-8" in error(tmp_path / "*.jsonl")


def test_a_dataset_names_its_flag(tmp_path):
    with pytest.raises(UserError, match=r"^--target: no file matches"):
        Dataset("target", (str(tmp_path / "*.jsonl"),)).list_files()


def test_split_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/alice")
    assert split_patterns("a/*.jsonl, ~/b.jsonl,,/c/../d.jsonl ,mem://bucket/x/../*") == (
        str(tmp_path / "a/*.jsonl"),
        "/home/alice/b.jsonl",
        "/d.jsonl",
        "mem://bucket/x/../*",
    )
    assert split_patterns(" , ") == ()


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.jsonl", "**", "**.jsonl", "a/*", "a?1.jsonl", "a[/]*", "b/[12]*", "*/*.jsonl", "to*", "?/**.txt", "x/*"],
)
def test_local_patterns_match_what_beam_matches(folder, pattern):
    (folder / "link.jsonl").symlink_to(folder / "top.jsonl")
    (folder / "nothing.jsonl").symlink_to(folder / "missing")
    (folder / "linked").symlink_to(folder / "a")
    (folder / ".hidden.jsonl").write_bytes(b"")
    beams = FileSystems.match([f"{folder}/{pattern}"])[0].metadata_list
    expected = sorted((found.path, found.size_in_bytes, found.last_updated_in_seconds) for found in beams)
    if not expected:
        assert "no file matches" in error(folder / pattern)
        return
    files = list_files([f"{folder}/{pattern}"], flag="--raw")
    assert [(file.path, file.size, file.modified) for file in files] == expected


def test_a_pattern_that_is_no_regular_expression_is_an_error(folder):
    assert "bad character range" in error(folder / "[z-a].jsonl")


def test_listed_once_does_not_look_again_but_for_its_own_thread_alone(folder):
    dataset = Dataset("raw", (f"{folder}/*.jsonl",))
    with listed_once():
        first = dataset.list_files()
        (folder / "new.jsonl").write_bytes(b"{}\n")
        assert dataset.list_files() == first
        with ThreadPoolExecutor(1) as pool:
            assert len(pool.submit(dataset.list_files).result()) == len(first) + 1
    assert len(dataset.list_files()) == len(first) + 1
