import glob
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from apache_beam.io.filesystems import FileSystems

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset, list_files, listed_once, split_patterns
from hir_transforms.files import storage


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


@pytest.mark.parametrize("name", [b"\xff.jsonl", b"\xff/a.jsonl"])
def test_a_name_that_is_not_utf8_is_an_error(tmp_path, name):
    (tmp_path / "ü.jsonl").write_bytes(b"{}")
    assert names(tmp_path / "*.jsonl") == ["ü.jsonl"]
    path = os.path.join(os.fsencode(tmp_path), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"{}")
    message = error(os.fsdecode(os.path.dirname(path)) + "/*.jsonl")
    assert "is not valid UTF-8; rename the file" in message
    assert message.isprintable()


def test_a_dataset_names_its_flag(tmp_path):
    with pytest.raises(UserError, match=r"^--target: no file matches"):
        Dataset("target", (str(tmp_path / "*.jsonl"),)).list_files()


def test_a_name_with_a_comma_or_wildcards_in_it_is_escaped(tmp_path):
    odd = ["a,b.jsonl", "a[1].jsonl", "a*.jsonl", "@a.jsonl", "a{b}.jsonl", "a\\b.jsonl", "a1.jsonl"]
    for name in odd:
        (tmp_path / name).touch()
    for name, escaped in {name: glob.escape(name).replace(",", "[,]") for name in odd}.items():
        assert names(*split_patterns(f"{tmp_path}/{escaped}")) == [name]
    assert sorted(names(*split_patterns(f"{tmp_path}/*,{tmp_path}/a[,]b.jsonl"))) == sorted(odd)
    assert error(f"{tmp_path}/x[12].jsonl").endswith("x[12].jsonl")
    (tmp_path / "a1.jsonl").unlink()
    assert "there is a file of just this name: in patterns [[] stands for [" in error(tmp_path / "a[1].jsonl")


def test_names_below_an_escaped_folder_are_relative_to_it(tmp_path):
    (tmp_path / "a[1],b").mkdir()
    (tmp_path / "a[1],b/c.jsonl").touch()
    (found,) = list_files(split_patterns(f"{tmp_path}/a[[]1][,]b/*.jsonl"), flag="--raw")
    assert (found.path, found.name) == (f"{tmp_path}/a[1],b/c.jsonl", "c.jsonl")


@pytest.fixture(params=["local", "object store"])
def listed(request, tmp_path, memory_store):
    """(folder, write) of a store with some files, and a function that writes a list file there."""
    folder = str(tmp_path / "d") if request.param == "local" else "mem://bucket/d"
    for name in ("b.jsonl", "a.jsonl", "x, [1].jsonl", "deep/ü.jsonl", "deep/v.jsonl"):
        storage.write_bytes(f"{folder}/{name}", name.encode())

    def write(name, content):
        storage.write_bytes(f"{folder}/{name}", content)
        return f"@{folder}/{name}"

    return folder, write


def test_a_list_file_names_files_a_line(listed):
    folder, write = listed
    lines = f"b.jsonl\r\n\n{folder}/x, [[]1].jsonl\na.jsonl\ndeep/*\nb.jsonl"
    pattern = write("files.txt", b"\xef\xbb\xbf" + lines.encode())
    expected = ["b.jsonl", "x, [1].jsonl", "a.jsonl", "deep/v.jsonl", "deep/ü.jsonl"]
    assert names(pattern) == expected
    assert [file.path for file in list_files([pattern], flag="--raw")] == [f"{folder}/{name}" for name in expected]


def test_a_list_is_one_pattern_among_others_and_one_target(listed):
    folder, write = listed
    law, code = write("law.txt", b"b.jsonl\na.jsonl\n"), write("code.txt", b"deep/*\na.jsonl\n")
    files = Dataset("target", (law, code)).list_files()
    assert [(file.name, file.target) for file in files] == [
        ("b.jsonl", 0),
        ("a.jsonl", 0),
        ("deep/v.jsonl", 1),
        ("deep/ü.jsonl", 1),
    ]
    assert Dataset("target", (law, code)).target_starts() == [0, 2, 4]
    assert names(f"{folder}/deep/*", law) == ["deep/v.jsonl", "deep/ü.jsonl", "b.jsonl", "a.jsonl"]


def test_what_a_list_cannot_name_is_an_error(listed):
    folder, write = listed
    assert f"no file matches {folder}/none.jsonl" in error(write("1.txt", b"a.jsonl\nnone.jsonl\n"))
    assert f"no file named in {folder}/2.txt" in error(write("2.txt", b"\n\r\n"))
    assert f"cannot read {folder}/missing.txt" in error(f"@{folder}/missing.txt")
    assert "no file matches" in error(write("3.txt", b"@1.txt\n"))


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
    assert split_patterns("@a.txt,@~/b,@mem://c,d[,]e,[@]f") == (
        f"@{tmp_path}/a.txt",
        "@/home/alice/b",
        "@mem://c",
        f"{tmp_path}/d[,]e",
        f"{tmp_path}/[@]f",
    )


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.jsonl", "**", "**.jsonl", "a/*", "a?1.jsonl", "a[/]*", "b/[12]*", "*/*.jsonl", "to*", "?/**.txt", "x/*"],
)
def test_local_patterns_match_what_beam_matches(folder, pattern):
    (folder / "link.jsonl").symlink_to(folder / "top.jsonl")
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


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("max_document_bytes", [0, -1]),
        ("on_bad_record", ["", "Fail", "skip"]),
        ("max_rejected_share", [-0.1, 1.1, float("nan")]),
    ],
)
def test_a_bad_value_is_named_with_its_flag(name, values):
    for value in values:
        with pytest.raises(UserError, match=f"^--{name}: must be .*, not {value}$"):
            Dataset("raw", ("/data/a.jsonl",), **{name: value})
