import os
import re
import tempfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from tests.helpers.folders import stored


@pytest.fixture(params=["local", "object store"])
def root(request, tmp_path, memory_store):
    """A folder on the local disk, or of an object store."""
    return str(tmp_path / "folder") if request.param == "local" else "mem://bucket/folder"


def fill(folder, **contents):
    """Writes files; two underscores in a name stand for a slash."""
    for name, content in contents.items():
        storage.write_bytes(storage.join(folder, *name.split("__")), content)


def test_a_written_file_has_its_content(root):
    path = storage.join(root, "deep", "a")
    storage.write_bytes(path, b"first")
    storage.write_bytes(path, b"second")
    assert stored(root) == {"deep/a": b"second"}


def test_a_large_file_is_written_whole(root):
    block = os.urandom(1 << 20)
    with storage.atomic_write(storage.join(root, "a")) as file:
        for _ in range(40):
            file.write(block)
    assert storage.read_bytes(storage.join(root, "a")) == block * 40


class Stop(Exception):  # noqa: N818
    pass


def write_half(path):
    with storage.atomic_write(path) as file:
        file.write(b"half")
        raise Stop


def test_a_file_that_was_not_completed_leaves_nothing(root):
    with pytest.raises(Stop):
        write_half(storage.join(root, "a"))
    assert stored(root) == {}


def test_a_file_that_was_not_completed_leaves_the_old_one(root):
    fill(root, a=b"old")
    with pytest.raises(Stop):
        write_half(storage.join(root, "a"))
    assert stored(root) == {"a": b"old"}


def test_two_writers_of_one_file_do_not_meet(root):
    path = storage.join(root, "a")
    with storage.atomic_write(path) as one, storage.atomic_write(path) as other:
        one.write(b"same")
        other.write(b"same")
    assert stored(root) == {"a": b"same"}


def test_a_missing_file_cannot_be_read(root):
    with pytest.raises(UserError, match=f"cannot read {root}/a"):
        storage.read_bytes(storage.join(root, "a"))


def test_exists(root):
    assert not storage.exists(root)
    fill(root, deep__a=b"")
    assert storage.exists(root)
    assert storage.exists(storage.join(root, "deep"))
    assert storage.exists(storage.join(root, "deep", "a"))
    assert not storage.exists(storage.join(root, "dee"))


def test_an_empty_folder_does_not_exist(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not storage.exists(str(tmp_path / "a"))


def test_list_folder(root):
    assert storage.list_folder(root) == []
    fill(root, b=b"", a__z=b"", a__b__c=b"")
    fill(f"{root}-other", a=b"")
    assert storage.list_folder(root) == [f"{root}/{name}" for name in ("a/b/c", "a/z", "b")]


def test_remove_folder(root):
    fill(root, a=b"", deep__b=b"")
    fill(f"{root}-other", a=b"kept")
    storage.remove_folder(root)
    storage.remove_folder(root)
    assert not storage.exists(root)
    assert stored(f"{root}-other") == {"a": b"kept"}


@pytest.mark.parametrize("name", ["a[1]", "what?", "all*", "{x}", "ü b"])
def test_a_local_folder_may_have_any_name(tmp_path, name):
    folder = str(tmp_path / name)
    fill(folder, a=b"content")
    fill(str(tmp_path / "a1"), b=b"other")
    assert stored(folder) == {"a": b"content"}
    assert storage.exists(folder)
    storage.remove_folder(folder)
    assert sorted(os.listdir(tmp_path)) == ["a1"]


def test_a_file_that_fails_while_it_is_read_is_named(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"no gzip")
    with (
        pytest.raises(UserError, match=f"cannot decompress {path}: Not a gzipped file"),
        storage.open_blocks(str(path)) as source,
    ):
        source.read_at(0, 1)
    with pytest.raises(UserError, match=f"cannot read {tmp_path}: "), storage.open_blocks(str(tmp_path)):
        pass


def test_is_local(tmp_path):
    assert storage.is_local(str(tmp_path))
    assert not storage.is_local("mem://bucket/folder")


def test_sha256_of():
    assert storage.sha256_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_only_temporary_files_of_this_project_are_removed(tmp_path):
    others = ("mine.tmp-1", f"b.hir.tmp-{'0' * 32}.txt", f"a.tmp-{'0' * 32}", "a.hir.tmp-0")
    fill(str(tmp_path), deep__a=b"", **dict.fromkeys((*others, f"deep__a.hir.tmp-{'0' * 32}"), b""))
    storage.remove_temporary_files(str(tmp_path))
    assert set(stored(str(tmp_path))) == {"deep/a", *others}


def test_temporary_files_are_known_by_their_names(tmp_path):
    with storage.atomic_write(str(tmp_path / "a")):
        (temporary,) = os.listdir(tmp_path)
        storage.remove_temporary_files(str(tmp_path))
        assert os.listdir(tmp_path) == []
        (tmp_path / temporary).write_bytes(b"back")


def test_a_link_to_a_folder_is_listed_and_not_followed(tmp_path):
    fill(str(tmp_path), real__a=b"", folder__b=b"")
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "real")
    assert storage.list_folder(str(tmp_path / "folder")) == [f"{tmp_path}/folder/{name}" for name in ("b", "link")]
    storage.remove_folder(str(tmp_path / "folder"))
    assert stored(str(tmp_path)) == {"real/a": b""}


def test_removing_files_leaves_the_others(root):
    fill(root, a=b"", b=b"", deep__c=b"")
    storage.remove_files(root, [storage.join(root, "a"), storage.join(root, "deep", "c")])
    assert stored(root) == {"b": b""}


def test_what_is_durable_is_synced_before_it_has_its_name_and_the_name_after_that(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)

        def record(*arguments, name=name, call=call):
            where = os.path.basename(os.readlink(f"/proc/self/fd/{arguments[0]}")) if name == "fsync" else arguments[1]
            done.append((name, os.path.basename(where).partition(".hir")[0]))
            return call(*arguments)

        monkeypatch.setattr(os, name, record)
    storage.write_bytes(str(tmp_path / "a"), b"", durable=True)
    assert done == [("fsync", "a"), ("replace", "a"), ("fsync", tmp_path.name)]
    done.clear()
    fill(str(tmp_path / "folder"), b=b"", deep__c=b"")
    assert [name for name, _ in done] == ["replace", "replace"]
    done.clear()
    storage.sync_folder(str(tmp_path / "folder"))
    assert sorted(done) == sorted(("fsync", name) for name in ("b", "c", "deep", "folder", tmp_path.name))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    path = str(tmp_path / "file" / "a")
    with pytest.raises(UserError, match=f"cannot write {path}: "):
        storage.write_bytes(path, b"")


def test_an_error_of_the_writer_is_passed_on(tmp_path):
    with pytest.raises(OSError, match="mine"), storage.atomic_write(str(tmp_path / "a")):
        raise OSError("mine")


@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk, durable):
    fill(small_disk, old=b"kept")
    expected = re.escape(f"no space left on the disk of {small_disk} (No space left on device): make room there")
    with pytest.raises(UserError, match=expected):
        storage.write_bytes(storage.join(small_disk, "a"), b"x" * (2 << 20), durable=durable)
    assert stored(small_disk) == {"old": b"kept"}


NUMBERS = np.random.default_rng(0).integers(0, 2**62, 1 << 18)
WRITERS = {
    "Parquet": lambda file: pq.write_table(pa.table({"a": NUMBERS}), file),
    "npy": lambda file: np.save(file, NUMBERS, allow_pickle=False),
    "npz": lambda file: np.savez(file, numbers=NUMBERS),
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_under_a_library_that_writes_is_one_line(small_disk, writer):
    def write():
        with storage.atomic_write(storage.join(small_disk, "a")) as file:
            writer(file)

    with pytest.raises(UserError, match="no space left on the disk of"):
        write()
    assert stored(small_disk) == {}


def test_a_full_disk_under_the_upload_to_an_object_store_is_one_line(small_disk, memory_store, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", small_disk)
    with pytest.raises(UserError, match=f"no space left on the disk of {small_disk}"):
        storage.write_bytes("mem://bucket/a", b"x" * (40 << 20))
    assert memory_store.objects == {}
