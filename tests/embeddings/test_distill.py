import json
import os
from pathlib import Path

import numpy as np
import pytest

from hir_transforms.artifacts.stages import MANIFEST
from hir_transforms.common import messages
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import describe
from hir_transforms.embeddings import distill as module
from hir_transforms.embeddings.distill import distill, distilled_model, write_distilled
from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.static_model import load_static_model


def test_the_same_model_gives_the_same_bytes(small_transformer, static_folder):
    files, revision = distill(find_model(small_transformer))
    assert {path.name: path.read_bytes() for path in Path(static_folder).iterdir()} == files
    assert find_model(static_folder).revision == revision
    assert json.loads(files["config.json"])["tokenizer_name"] == small_transformer


def test_a_static_model_is_not_distilled_again(static_folder):
    with pytest.raises(UserError, match="is static already"):
        distill(find_model(static_folder))


def test_a_model_that_cannot_be_distilled_is_one_line(small_transformer, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match=f"^--embedding_model: {tmp_path} cannot be loaded: ") as caught:
        distill(find_model(str(tmp_path)))
    assert "\n" not in str(caught.value)


@pytest.fixture
def as_before(small_transformer, static_folder, monkeypatch):
    """What has been distilled already, and how often it is asked for."""
    files = {path.name: path.read_bytes() for path in sorted(Path(static_folder).iterdir())}
    asked = []

    def known(teacher):
        asked.append(teacher.name)
        return files, find_model(static_folder).revision

    monkeypatch.setattr(module, "distill", known)
    return asked


@pytest.mark.parametrize("work", ["{folder}/work", "mem://bucket/work"])
def test_it_is_distilled_once_into_the_work_folder(
    work, as_before, small_transformer, static_folder, memory_store, tmp_path, capsys, monkeypatch
):
    phases = []
    monkeypatch.setattr(messages, "_followers", [phases.append])
    work = work.replace("{folder}", str(tmp_path))
    teacher = find_model(small_transformer)
    model = distilled_model(work, teacher)
    assert "once" in capsys.readouterr().err
    assert distilled_model(work, teacher) == model
    assert capsys.readouterr().err == ""
    assert as_before == [small_transformer]
    assert phases == [f"distilling {small_transformer}"]
    assert (model.name, model.is_static) == (f"static:{small_transformer}", True)
    assert model.revision == find_model(static_folder).revision
    expected = load_static_model(find_model(static_folder)).encode(["a text"])
    np.testing.assert_array_equal(load_static_model(model).encode(["a text"]), expected)


def test_an_unfinished_one_is_made_again(as_before, small_transformer, tmp_path):
    teacher = find_model(small_transformer)
    model = distilled_model(str(tmp_path), teacher)
    (tmp_path / "static_model" / MANIFEST).unlink()
    (tmp_path / "static_model" / "model" / "config.json").unlink()
    assert distilled_model(str(tmp_path), teacher) == model
    assert len(as_before) == 2
    model.locate()


def test_another_teacher_or_prompt_makes_other_embeddings(as_before, small_transformer, tmp_path):
    teacher = find_model(small_transformer)
    model = distilled_model(str(tmp_path), teacher)
    assert describe(model)["revision"] == model.revision
    assert describe(distilled_model(str(tmp_path), teacher, "query: ")) != describe(model)
    assert len(as_before) == 1
    distilled_model(str(tmp_path), find_model("all-MiniLM-L6-v2"))
    assert as_before[1:] == ["all-MiniLM-L6-v2"]


def test_a_model_that_was_changed_since_is_an_error(as_before, small_transformer, tmp_path):
    model = distilled_model(str(tmp_path), find_model(small_transformer))
    with (tmp_path / "static_model" / "model" / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(UserError, match=r"static:.* where the command was started, but [0-9a-f]{32} on "):
        load_static_model(model)


def test_what_others_keep_there_is_not_cleared(as_before, small_transformer, tmp_path):
    (tmp_path / "static_model").mkdir()
    (tmp_path / "static_model" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"^--work_dir: .*notes\.txt"):
        distilled_model(str(tmp_path), find_model(small_transformer))


def test_a_folder_in_use_is_refused_and_an_empty_one_filled(as_before, small_transformer, tmp_path):
    teacher = find_model(small_transformer)
    (tmp_path / "empty").mkdir()
    write_distilled(teacher, str(tmp_path / "empty"))
    assert find_model(str(tmp_path / "empty")).is_static
    for folder, message in ((tmp_path / "empty", "exists already"), ("mem://bucket/model", "must be a local folder")):
        with pytest.raises(UserError, match=f"^--output: {folder} {message}"):
            write_distilled(teacher, str(folder))
    assert len(as_before) == 1
    assert os.listdir(tmp_path) == ["empty"]
