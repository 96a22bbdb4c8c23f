import os

import pytest

from hir_transforms import storage, stores
from hir_transforms.errors import UserError
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
    storage.publish_folder(folder, f"{folder}-final", last="a")
    assert stored(f"{folder}-final") == {"a": b"content"}
    storage.remove_folder(f"{folder}-final")
    assert sorted(os.listdir(tmp_path)) == ["a1"]


def test_publishing_replaces_the_folder(root):
    final = storage.join(root, "final")
    fill(final, manifest=b"old", part_1=b"old", part_2=b"old", deep__x=b"old")
    fill(f"{final}-other", a=b"kept")
    fill(f"{final}.temporary", manifest=b"new", part_1=b"new", deep__y=b"new")
    storage.publish_folder(f"{final}.temporary", final, last="manifest")
    assert stored(root) == {
        "final/manifest": b"new",
        "final/part_1": b"new",
        "final/deep/y": b"new",
        "final-other/a": b"kept",
    }


def test_publishing_makes_the_folder_above(root):
    fill(f"{root}.temporary", manifest=b"new")
    storage.publish_folder(f"{root}.temporary", storage.join(root, "new", "final"), last="manifest")
    assert stored(root) == {"new/final/manifest": b"new"}


def test_in_an_object_store_the_manifest_goes_first_and_comes_last(memory_store):
    final, temporary = "mem://bucket/out", "mem://bucket/temporary"
    fill(final, a=b"old", manifest=b"old", z=b"old")
    fill(temporary, a=b"new", manifest=b"new", z=b"new")
    memory_store.history.clear()
    storage.publish_folder(temporary, final, last="manifest")
    changes = [change for change in memory_store.history if change[1].startswith(final)]
    assert changes[0] == ("delete", f"{final}/manifest")
    assert changes[-1] == ("put", f"{final}/manifest")


OLD = {"manifest": b"old", "a": b"old", "gone": b"old"}
NEW = {"manifest": b"new", "a": b"new", "z": b"new"}


@pytest.mark.parametrize("old", [{}, OLD], ids=["nothing before", "another before"])
@pytest.mark.parametrize("step", range(12))
def test_publishing_that_breaks_off_shows_all_or_nothing_and_can_be_repaired(memory_store, old, step):
    final, temporary = "mem://bucket/out", "mem://bucket/out.incomplete"

    def reader():
        """What a reader that goes by the manifest sees."""
        seen = stored(final)
        return seen if "manifest" in seen else {}

    fill(final, **old)
    fill(temporary, **NEW)
    memory_store.fail_at = len(memory_store.history) + step
    try:
        storage.publish_folder(temporary, final, last="manifest")
    except UserError:
        assert reader() in ({}, old, NEW)
        storage.discard_half_published(temporary, final, last="manifest")
        assert stored(final) in ({}, old, NEW)  # complete, or out of the way of the same command
        storage.remove_folder(temporary)
        fill(temporary, **NEW)
        storage.publish_folder(temporary, final, last="manifest")
    assert stored(final) == NEW
    assert stored(temporary) == {}


def test_two_that_publish_at_the_same_time_take_nothing_from_each_other(memory_store, monkeypatch):
    final, temporary = "mem://bucket/out", "mem://bucket/out.incomplete"
    fill(temporary, **NEW)
    copy = stores.copy

    def overtaken(source, destination):
        monkeypatch.setattr(stores, "copy", copy)
        storage.publish_folder(temporary, final, last="manifest")  # the other one, from begin to end
        copy(source, destination)

    monkeypatch.setattr(stores, "copy", overtaken)
    with pytest.raises(UserError, match=f"cannot write {final}"):
        storage.publish_folder(temporary, final, last="manifest")
    assert stored(final) == NEW


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


def test_publishing_starts_without_what_killed_runs_left(root):
    final = storage.join(root, "final")
    fill(f"{final}.incomplete", part=b"half")
    fill(f"{final}.replaced", part=b"old")
    fill(final, part=b"kept")
    assert storage.start_publishing(final) == f"{final}.incomplete"
    assert stored(root) == {"final/part": b"kept"}


def test_a_publication_that_was_killed_half_way_is_done_again(tmp_path):
    final = str(tmp_path / "final")
    fill(f"{final}.replaced", part=b"older")
    fill(final, part=b"old")
    fill(f"{final}.incomplete", part=b"new")
    storage.publish_folder(f"{final}.incomplete", final, last="part")
    assert stored(str(tmp_path)) == {"final/part": b"new"}


def test_only_temporary_files_of_this_project_are_removed(tmp_path):
    fill(
        str(tmp_path), deep__a=b"", **{"mine.tmp-1": b"", f"deep__a.tmp-{'0' * 32}": b"", f"b.tmp-{'0' * 32}.txt": b""}
    )
    storage.remove_temporary_files(str(tmp_path))
    assert set(stored(str(tmp_path))) == {"deep/a", "mine.tmp-1", f"b.tmp-{'0' * 32}.txt"}
