import json
import os
from contextlib import suppress

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from hir_transforms.artifacts.runs import versions
from hir_transforms.artifacts.stages import ListResults, Stage, WriteStageManifest, is_unedited
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.files import storage
from tests.helpers.corpora import jsonl
from tests.helpers.killing import kill_at

SETTINGS = {"alpha": 0.5, "name": "ü", "nested": {"b": [1, None], "a": True}}


@pytest.fixture
def dataset(tmp_path):
    """Two files."""
    for name in ("a", "b"):
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(jsonl([name]))
        os.utime(path, (0, 1000.5))
    return Dataset("raw", (str(tmp_path / "*.jsonl"),))


def create(tmp_path, *arguments, name="ngram", **keywords):
    return Stage.create(name, str(tmp_path / "work"), *arguments, **keywords)


@pytest.fixture
def stage(tmp_path, dataset):
    return create(tmp_path, SETTINGS, [dataset])


def test_the_fingerprint_is_that_of_the_inputs(tmp_path, dataset, stage):
    again = create(tmp_path, SETTINGS, [dataset])
    assert again.fingerprint == stage.fingerprint
    assert len(again.fingerprint) == 64


def test_the_fingerprint_does_not_depend_on_the_order_of_settings(tmp_path, dataset, stage):
    turned = {"nested": {"a": True, "b": [1, None]}, "name": "ü", "alpha": 0.5}
    assert list(turned) != list(SETTINGS)
    assert create(tmp_path, turned, [dataset]).fingerprint == stage.fingerprint


@pytest.mark.parametrize(
    "settings", [{}, SETTINGS | {"alpha": 0.25}, SETTINGS | {"nested": {"b": [None, 1], "a": True}}]
)
def test_the_fingerprint_changes_with_the_settings(tmp_path, dataset, stage, settings):
    assert create(tmp_path, settings, [dataset]).fingerprint != stage.fingerprint


def test_the_fingerprint_changes_with_the_name(tmp_path, dataset, stage):
    assert create(tmp_path, SETTINGS, [dataset], name="scores").fingerprint != stage.fingerprint


@pytest.mark.parametrize("field", [{"text_field": "body"}, {"max_document_bytes": 10}, {"role": "target"}])
def test_the_fingerprint_changes_with_how_the_dataset_is_read(tmp_path, dataset, stage, field):
    other = Dataset(**{**vars(dataset), **field})
    assert create(tmp_path, SETTINGS, [other]).fingerprint != stage.fingerprint


def append(folder):
    with (folder / "a.jsonl").open("ab") as file:
        file.write(jsonl(["more"]))
    os.utime(folder / "a.jsonl", (0, 1000.5))


def touch(folder):
    os.utime(folder / "a.jsonl", (0, 1000.75))


def add(folder):
    (folder / "c.jsonl").write_bytes(b"")


def rename(folder):
    (folder / "a.jsonl").rename(folder / "a2.jsonl")


@pytest.mark.parametrize("change", [append, touch, add, rename])
def test_a_change_of_the_files_makes_a_stage_incomplete(tmp_path, dataset, stage, change):
    stage.write_manifest({})
    assert create(tmp_path, SETTINGS, [dataset]).manifest() is not None
    change(tmp_path)
    changed = create(tmp_path, SETTINGS, [dataset])
    assert changed.fingerprint != stage.fingerprint
    assert changed.manifest() is None


@pytest.mark.parametrize("change", [append, touch, add, rename])
def test_a_stage_whose_input_changed_meanwhile_is_not_declared_complete(tmp_path, stage, change):
    change(tmp_path)
    with pytest.raises(UserError, match=r"--raw changed while ngram was computed; run again"):
        stage.write_manifest({})
    assert stage.manifest() is None


def test_the_fingerprint_changes_with_what_is_upstream(tmp_path, stage):
    other = create(tmp_path, {}, stage.datasets)
    prints = {create(tmp_path, {}, [], upstream, name="gmm").fingerprint for upstream in ([], [stage], [other])}
    assert len(prints) == 3


def test_a_stage_without_a_manifest_is_incomplete(stage):
    assert stage.manifest() is None
    with pytest.raises(UserError, match="ngram is not complete, or was made of other settings or files; run again"):
        stage.counts()


def test_the_manifest_tells_what_the_result_depends_on(tmp_path, stage):
    stage.write_manifest({"documents": 2})
    manifest = json.loads((tmp_path / "work" / "ngram" / "_manifest.json").read_text("utf-8"))
    assert stage.manifest() == manifest
    assert stage.counts() == manifest["counts"] == {"documents": 2}
    assert manifest["settings"] == SETTINGS
    assert manifest["fingerprint"] == stage.fingerprint
    assert manifest["versions"] == versions()
    assert manifest["inputs"]["raw"]["files"] == [
        [str(tmp_path / f"{name}.jsonl"), f"{name}.jsonl", len(jsonl([name])), 1000.5, 0] for name in ("a", "b")
    ]


def test_the_manifest_names_what_is_upstream(tmp_path, stage):
    fitted = create(tmp_path, {}, [], [stage], name="gmm/raw")
    fitted.write_manifest({})
    assert fitted.manifest()["upstream"] == {"ngram": stage.fingerprint}
    assert (tmp_path / "work" / "gmm" / "raw" / "_manifest.json").exists()


def test_prepare_removes_what_other_settings_left_and_no_other_stage(tmp_path, stage):
    other = create(tmp_path, {}, name="ngram2")
    for one in (stage, other):
        one.prepare()
        one.write_manifest({})
    changed = create(tmp_path, {"other": "settings"})
    assert changed.folder == stage.folder
    changed.prepare()
    assert stage.manifest() is None
    assert other.manifest() is not None
    assert [path.name for path in (tmp_path / "work" / "ngram").iterdir()] == ["_started.json"]


def test_prepare_keeps_what_a_run_of_the_same_stage_left_but_its_temporary_files(tmp_path, stage):
    stage.prepare()
    storage.write_bytes(stage.path("part-00000.parquet"), b"finished")
    with suppress(KeyboardInterrupt), storage.atomic_write(stage.path("half")) as file:
        file.write(b"half")
        file.flush()
        (leftover,) = (tmp_path / "work" / "ngram").glob("half*")
        content = leftover.read_bytes()
        raise KeyboardInterrupt
    leftover.write_bytes(content)  # as if the process had been killed
    stage.prepare()
    assert {path.name for path in (tmp_path / "work" / "ngram").iterdir()} == {"_started.json", "part-00000.parquet"}


PRECIOUS = ["documents/a.jsonl", "documents/deep/part-00000.parquet", "documents/manifest.json", "documents/started"]


def put(folder, names, content=b"precious"):
    for name in names:
        storage.write_bytes(storage.join(str(folder), *name.split("/")), content)


def contents(folder):
    return {path[len(str(folder)) + 1 :]: storage.read_bytes(path) for path in storage.list_folder(str(folder))}


@pytest.mark.parametrize("name", PRECIOUS)
def test_a_folder_without_the_mark_of_the_stage_is_left_alone(tmp_path, name):
    put(tmp_path / "work", [name])
    stage = create(tmp_path, {}, name="documents")
    with pytest.raises(UserError, match=f"--work_dir: {tmp_path}/work/{name} lies where the stage documents is kept"):
        stage.prepare()
    assert contents(tmp_path / "work") == {name: b"precious"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"no json", b'{"kind": "hir stage"}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["_manifest.json", "_started.json"])
def test_files_that_only_bear_the_name_are_no_mark(tmp_path, name, content):
    put(tmp_path / "work", [f"ngram/{name}"], content)
    stage = create(tmp_path, {})
    assert stage.manifest() is None
    with pytest.raises(UserError, match=f"ngram/{name} lies where"):
        stage.prepare()
    assert contents(tmp_path / "work") == {f"ngram/{name}": content}


def test_the_mark_of_another_stage_is_none(tmp_path):
    other = create(tmp_path, {}, name="scores")
    other.prepare()
    other.write_manifest({})
    os.rename(tmp_path / "work" / "scores", tmp_path / "work" / "ngram")
    stage = create(tmp_path, {})
    assert stage.read_manifest() is None
    with pytest.raises(UserError, match="lies where the stage ngram is kept"):
        stage.prepare()


@pytest.mark.parametrize("name", ["notes.txt", "mine.parquet", "rejected/notes.txt", "deep/part-00000.parquet"])
@pytest.mark.parametrize("settings", [{}, {"other": "settings"}])
def test_what_no_stage_writes_is_left_alone_in_a_marked_folder(tmp_path, name, settings):
    stage = create(tmp_path, {})
    stage.prepare()
    put(stage.folder, ["part-00000.parquet"])
    stage.write_manifest({})
    put(stage.folder, [name])
    before = contents(stage.folder)
    with pytest.raises(UserError, match=f"ngram/{name} lies where"):
        create(tmp_path, settings).prepare()
    assert contents(stage.folder) == before


def test_a_mixture_that_lies_where_one_is_to_be_kept_is_left_alone(tmp_path):
    put(tmp_path / "work", ["gmm/raw.npz", "ngram.npz"])
    with pytest.raises(UserError, match=r"gmm/raw\.npz lies where the stage gmm/raw is kept"):
        create(tmp_path, {}, name="gmm/raw").prepare()
    create(tmp_path, {}).prepare()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"no json", b'{"kind": "hir stage", "stage": "ngram"}'])
def test_a_manifest_that_was_damaged_makes_the_stage_incomplete(tmp_path, stage, content):
    stage.prepare()
    stage.write_manifest({})
    put(stage.folder, ["_manifest.json"], content)
    assert stage.manifest() is None
    create(tmp_path, {"other": "settings"}).prepare()
    assert set(contents(stage.folder)) == {"_started.json"}


@pytest.mark.parametrize("step", range(6))
def test_clearing_that_is_killed_at_any_step_is_done_again(tmp_path, step):
    """No manifest outlives what it stands for, and the folder is never taken for somebody else's."""
    stage = create(tmp_path, {})
    stage.prepare()
    put(stage.folder, ["part-00000.parquet", "rejected/raw-00000.jsonl"])
    stage.write_manifest({})
    whole = contents(stage.folder)
    other = create(tmp_path, {"other": "settings"})
    was_killed = kill_at(step, str(tmp_path), other.prepare)
    assert (
        stage.manifest() is None
        or contents(stage.folder).items()
        >= {name: content for name, content in whole.items() if name != "_started.json"}.items()
    )
    stage.prepare()
    assert stage.manifest() or set(contents(stage.folder)) == {"_started.json"}
    other.prepare()
    assert set(contents(stage.folder)) == {"_started.json"}
    assert was_killed or step > 4


def test_a_manifest_is_written_when_all_else_is_on_the_disk(stage, monkeypatch):
    stage.prepare()
    put(stage.folder, ["part-00000.parquet"])
    synced = []
    monkeypatch.setattr(storage, "sync_folder", lambda folder: synced.append((folder, stage.read_manifest())))
    stage.write_manifest({})
    assert synced == [(stage.folder, None)]
    assert stage.manifest()


def test_stages_in_an_object_store(memory_store):
    memory_store.put("mem://data/a.jsonl", jsonl(["a"]))
    dataset = Dataset("raw", ("mem://data/*.jsonl",))
    stage = Stage.create("embeddings/raw", "mem://bucket/work", {}, [dataset])
    stage.write_manifest({"documents": 1})
    assert "mem://bucket/work/embeddings/raw/_manifest.json" in memory_store.objects
    assert Stage.create("embeddings/raw", "mem://bucket/work", {}, [dataset]).counts() == {"documents": 1}
    Stage.create("embeddings/raw", "mem://bucket/work", {"other": "settings"}, [dataset]).prepare()
    assert stage.manifest() is None


def test_the_transform_writes_the_manifest(stage):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        pipeline | beam.Create([{"documents": 3}]) | WriteStageManifest(stage)
    assert stage.counts() == {"documents": 3}


def test_results_are_listed_inside_the_pipeline(stage):
    sizes = []
    for number in (10, 10_000):
        stage.write_manifest({"parts": list(range(number))})
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            results = pipeline | ListResults(stage, lambda stage: stage.counts()["parts"])
            sizes.append(pipeline.to_runner_api().ByteSize())
            assert_that(results, equal_to(list(range(number))))
    assert abs(sizes[1] - sizes[0]) < 500  # names of coders and the like vary


def test_no_artefact_is_loaded_that_is_of_something_else(tmp_path, dataset, stage):
    stage.write_manifest({})
    storage.write_bytes(stage.path("counts.npy"), b"counts")
    assert stage.load(stage.path("counts.npy")) == b"counts"
    other = create(tmp_path, {}, [dataset])
    with pytest.raises(UserError, match="was made of other settings or files"):
        other.load(other.path("counts.npy"))


@pytest.mark.parametrize(
    "edit",
    [
        lambda manifest: manifest["settings"].update(alpha=0.25),
        lambda manifest: manifest["inputs"]["raw"]["files"][0].__setitem__(0, "/etc/passwd"),
        lambda manifest: manifest["upstream"].update(ngram="0"),
        lambda manifest: manifest.update(fingerprint="0"),
    ],
    ids=["settings", "files", "upstream", "fingerprint"],
)
def test_an_edited_manifest_is_told_from_one_that_was_written(stage, edit):
    stage.write_manifest({"documents": 2})
    manifest = stage.manifest()
    assert is_unedited(manifest)
    edit(manifest)
    assert not is_unedited(manifest)


def test_the_fingerprint_changes_with_which_files_belong_to_which_target(tmp_path, dataset):
    files = [str(tmp_path / f"{name}.jsonl") for name in ("a", "b")]
    groupings = [(str(tmp_path / "*.jsonl"),), (str(tmp_path / "[ab].jsonl"),), tuple(files), (*files, files[0])]
    prints = [create(tmp_path, None, [Dataset("target", patterns)]).fingerprint for patterns in groupings]
    assert prints[0] == prints[1] != prints[2] == prints[3]
