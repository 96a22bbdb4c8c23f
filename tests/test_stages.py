import json
import os
from contextlib import suppress

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from hir_transforms import storage
from hir_transforms.datasets import Dataset
from hir_transforms.errors import UserError
from hir_transforms.stages import ListResults, Stage, WriteStageManifest, to_json
from tests.helpers.corpora import jsonl

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
    with pytest.raises(ValueError, match="not complete"):
        stage.counts()


def test_the_manifest_tells_what_the_result_depends_on(tmp_path, stage):
    stage.write_manifest({"documents": 2})
    manifest = json.loads((tmp_path / "work" / "ngram" / "manifest.json").read_text("utf-8"))
    assert stage.manifest() == manifest
    assert stage.counts() == manifest["counts"] == {"documents": 2}
    assert manifest["settings"] == SETTINGS
    assert manifest["fingerprint"] == stage.fingerprint
    assert manifest["inputs"]["raw"]["files"] == [
        [str(tmp_path / f"{name}.jsonl"), f"{name}.jsonl", len(jsonl([name])), 1000.5] for name in ("a", "b")
    ]


def test_the_manifest_names_what_is_upstream(tmp_path, stage):
    fitted = create(tmp_path, {}, [], [stage], name="gmm/raw")
    fitted.write_manifest({})
    assert fitted.manifest()["upstream"] == {"ngram": stage.fingerprint}
    assert (tmp_path / "work" / "gmm" / "raw" / "manifest.json").exists()


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
    assert [path.name for path in (tmp_path / "work" / "ngram").iterdir()] == ["started"]


def test_prepare_keeps_what_a_run_of_the_same_stage_left_but_its_temporary_files(tmp_path, stage):
    stage.prepare()
    storage.write_bytes(stage.path("shard"), b"finished")
    with suppress(KeyboardInterrupt), storage.atomic_write(stage.path("half")) as file:
        file.write(b"half")
        file.flush()
        (leftover,) = (tmp_path / "work" / "ngram").glob("half*")
        content = leftover.read_bytes()
        raise KeyboardInterrupt
    leftover.write_bytes(content)  # as if the process had been killed
    stage.prepare()
    assert {path.name for path in (tmp_path / "work" / "ngram").iterdir()} == {"started", "shard"}


def test_stages_in_an_object_store(memory_store):
    memory_store.put("mem://data/a.jsonl", jsonl(["a"]))
    dataset = Dataset("raw", ("mem://data/*.jsonl",))
    stage = Stage.create("embeddings/raw", "mem://bucket/work", {}, [dataset])
    stage.write_manifest({"documents": 1})
    assert "mem://bucket/work/embeddings/raw/manifest.json" in memory_store.objects
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


def test_json_is_the_same_for_the_same_content():
    assert to_json({"b": 1, "a": "ü"}) == to_json({"a": "ü", "b": 1}) == '{\n  "a": "ü",\n  "b": 1\n}\n'.encode()


def test_manifests_are_indented_as_by_the_json_module():
    content = {
        **SETTINGS,
        "none": [],
        "empty": {},
        "text": '"\\\n\u2028',
        "numbers": [0.1, -0.5, 2**70],
        "x": [[1, {}]],
    }
    assert to_json(content) == (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
