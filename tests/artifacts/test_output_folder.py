import contextlib
import json
import os
import re

import pytest

from hir_transforms.artifacts.output_folder import OutputFolder, is_complete, own_files
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import to_json
from hir_transforms.files import object_stores, storage
from tests.helpers.killing import kill_at


def manifest(content, *names):
    """That of an output with these files."""
    shards = [{"name": name, "documents": 1} for name in names if name.startswith("part")]
    others = sorted(name for name in names if not name.startswith("part"))
    return to_json({"kind": "hir output", "fingerprint": content, "shards": shards, "files": others})


def result(content, *names):
    """An output: content by name."""
    return {name: content.encode() for name in names} | {"manifest.json": manifest(content, *names)}


OLD = result("old", "part-0", "gone", "rejected/x")
NEW = result("new", "part-0", "part-1", "rejected/y")


@pytest.fixture(params=["local", "object store"])
def root(request, tmp_path, memory_store):
    """A folder on the local disk, or of an object store."""
    return str(tmp_path / "folder") if request.param == "local" else "mem://bucket/folder"


@pytest.fixture
def output(root):
    return OutputFolder(storage.join(root, "out"))


def fill(folder, files):
    for name, content in files.items():
        storage.write_bytes(storage.join(folder, *name.split("/")), content)


def contents(folder):
    """Relative path and content of everything in a folder."""
    return {path[len(folder) + 1 :]: storage.read_bytes(path) for path in storage.list_folder(folder)}


def put_together(output, files=NEW):
    """What a run does until it publishes."""
    output.start()
    fill(output.picked, {"part-00000.parquet": b"rows"})
    fill(output.new, {name: content for name, content in files.items() if name != "manifest.json"})
    output.complete(files["manifest.json"])


@pytest.mark.parametrize("old", [{}, OLD, NEW], ids=["nothing before", "another before", "the same before"])
def test_a_complete_output_takes_the_place_of_the_old_one(root, output, old):
    fill(output.path, old)
    fill(f"{output.path}-other", {"a": b"kept"})
    put_together(output)
    output.publish()
    output.discard()
    assert contents(output.path) == NEW
    assert contents(root).keys() == {f"out/{name}" for name in NEW} | {"out-other/a"}


def test_an_empty_folder_is_in_nobodys_way(tmp_path):
    (tmp_path / "out" / "deep").mkdir(parents=True)
    output = OutputFolder(str(tmp_path / "out"))
    put_together(output)
    output.publish()
    output.discard()
    assert contents(output.path) == NEW
    assert os.listdir(tmp_path) == ["out"]


def test_the_folder_above_is_made(root):
    output = OutputFolder(storage.join(root, "deep", "er", "out"))
    put_together(output)
    output.publish()
    assert contents(output.path) == NEW


FOREIGN = ["thesis.txt", "deep/part-0", "part-00", "rejected/notes", ".hidden", "Part-0"]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_the_manifest_does_not_name_is_never_replaced(root, output, name):
    fill(output.path, OLD | {name: b"precious"})
    expected = re.escape(f"--output: {output.path} holds other files than an output of this tool, such as {name};")
    with pytest.raises(UserError, match=expected):
        own_files(output.path)
    put_together(output)
    before = contents(root)
    with pytest.raises(UserError, match=expected):
        output.publish()
    assert contents(root) == before
    with pytest.raises(UserError, match=expected):
        output.recover()
    assert contents(root) == before
    output.discard_unfinished()
    assert contents(root) == before
    storage.remove_files(output.path, [storage.join(output.path, *name.split("/"))])
    assert output.recover()
    assert contents(root) == {f"out/{name}": content for name, content in NEW.items()}


def test_a_link_in_the_output_is_not_ours(tmp_path):
    output = OutputFolder(str(tmp_path / "out"))
    fill(output.path, OLD)
    fill(str(tmp_path / "far"), {"thesis.txt": b"precious"})
    (tmp_path / "out" / "link").symlink_to(tmp_path / "far")
    with pytest.raises(UserError, match="such as link;"):
        own_files(output.path)


NO_MANIFESTS = [
    b"",
    b"[]",
    b"{}",
    b"no json",
    b'{"kind": "other", "fingerprint": "", "shards": [], "files": []}',
    b'{"format_version": 1, "settings": {}, "counts": {}, "shards": []}',
]


@pytest.mark.parametrize("content", NO_MANIFESTS)
def test_a_folder_with_the_manifest_of_something_else_is_never_replaced(output, content):
    fill(output.path, {"manifest.json": content})
    with pytest.raises(UserError, match=r"such as manifest\.json;"):
        own_files(output.path)


def test_a_manifest_gives_no_claim_to_files_elsewhere(root, output):
    fill(output.path, {"manifest.json": manifest("old", "../precious")})
    fill(root, {"precious": b"precious"})
    put_together(output)
    output.publish()
    output.discard()
    assert contents(root)["precious"] == b"precious"


def test_an_output_is_complete_with_its_last_file(root):
    fill(root, NEW)
    assert is_complete(root)
    storage.remove_files(root, [storage.join(root, "part-1")])
    assert not is_complete(root)
    assert not is_complete(f"{root}-other")


def test_a_folder_beside_the_output_that_is_not_ours_is_left_alone(root, output):
    fill(output.incomplete, {"output/thesis.txt": b"precious"} | {f"output/{name}": NEW[name] for name in NEW})
    before = contents(root)
    for act in (output.recover, output.start):
        with pytest.raises(UserError, match=r"out\.incomplete is where an output is put together, but holds "):
            act()
    output.discard_unfinished()
    assert contents(root) == before


def test_what_a_run_left_that_was_not_complete_is_removed(root, output):
    fill(output.path, OLD)
    put_together(output)
    storage.remove_files(output.new, [storage.join(output.new, "part-1")])
    assert output.recover()
    assert contents(output.path) == OLD
    assert not storage.exists(output.incomplete)
    assert not output.recover()


def test_a_failed_run_takes_away_what_is_not_complete_alone(root, output):
    output.discard_unfinished()
    put_together(output)
    output.discard_unfinished()
    assert contents(output.new) == NEW
    storage.remove_files(output.new, [storage.join(output.new, "part-1")])
    output.discard_unfinished()
    assert contents(root) == {}


def run(output, files=NEW):
    """What one run does to the folders."""
    put_together(output, files)
    output.publish()
    output.discard()


@pytest.mark.parametrize("old", [{}, result("old", "gone")], ids=["nothing before", "another before"])
def test_a_run_killed_at_any_step_loses_neither_the_old_output_nor_the_new(tmp_path, old):
    new = result("new", "part-0")
    killed, outcomes = True, []
    while killed:
        step = len(outcomes)
        output = OutputFolder(str(tmp_path / str(step) / "out"))
        fill(output.path, old)
        killed = kill_at(step, str(tmp_path), run, output, new)
        was_complete = is_complete(output.new)
        assert is_complete(output.path) or is_complete(output.replaced) or was_complete or not old
        # The recovery itself is killed at every step, too.
        again = 0
        while kill_at(again, str(tmp_path), output.recover):
            again += 1
            assert is_complete(output.path) or is_complete(output.replaced) or is_complete(output.new) or not old
        assert contents(output.path) in ([new] if was_complete else [old, new])
        assert contents(os.path.dirname(output.path)).keys() == {f"out/{name}" for name in contents(output.path)}
        outcomes.append(contents(output.path) == new)
    assert outcomes == sorted(outcomes)  # from some step on it is the new one
    assert {False, True} == {*outcomes}
    assert len(outcomes) > 15


@pytest.mark.parametrize("old", [{}, OLD], ids=["nothing before", "another before"])
def test_an_output_in_an_object_store_is_recovered_from_a_connection_that_broke_at_any_step(memory_store, old):
    """A reader that goes by the manifest sees all of the old output, all of the new one, or nothing."""
    output = OutputFolder("mem://bucket/out")
    outcomes, broken = [], True
    while broken:
        memory_store.clear()
        fill(output.path, old)
        memory_store.fail_at = len(memory_store.history) + len(outcomes)
        with contextlib.suppress(UserError, OSError):
            run(output)
        broken = memory_store.fail_at is None
        memory_store.fail_at = None
        seen, was_complete = contents(output.path), is_complete(output.new)
        assert seen in (old, NEW) or ("manifest.json" not in seen and was_complete)
        output.recover()
        assert contents(output.path) == (NEW if was_complete else seen)
        assert not storage.exists(output.incomplete)
        outcomes.append(contents(output.path) == NEW)
    assert outcomes == sorted(outcomes)
    assert {False, True} == {*outcomes}
    assert len(outcomes) > 15


def test_in_an_object_store_the_manifest_goes_first_and_comes_last(memory_store):
    output = OutputFolder("mem://bucket/out")
    fill(output.path, OLD)
    put_together(output)
    memory_store.history.clear()
    output.publish()
    changes = [change for change in memory_store.history if change[1].startswith(f"{output.path}/")]
    assert changes[0] == ("delete", f"{output.path}/manifest.json")
    assert changes[-1] == ("put", f"{output.path}/manifest.json")


def test_two_that_publish_at_the_same_time_take_nothing_from_each_other(memory_store, monkeypatch):
    output = OutputFolder("mem://bucket/out")
    put_together(output)
    copy = object_stores.copy

    def overtaken(source, destination):
        monkeypatch.setattr(object_stores, "copy", copy)
        output.publish()  # the other one, from begin to end
        output.discard()
        copy(source, destination)

    monkeypatch.setattr(object_stores, "copy", overtaken)
    with pytest.raises(UserError, match=f"cannot write {output.path}"):
        output.publish()
    assert contents(output.path) == NEW


def test_a_manifest_is_written_when_all_else_is_on_the_disk(output, monkeypatch):
    synced = []
    monkeypatch.setattr(storage, "sync_folder", lambda folder: synced.append(contents(folder)))
    put_together(output)
    assert synced == [{name: content for name, content in NEW.items() if name != "manifest.json"}]
    assert json.loads(contents(output.new)["manifest.json"])["fingerprint"] == "new"
