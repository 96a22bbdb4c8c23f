"""Static models distilled from transformers by the library `model2vec`."""

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.common.extras import require_extra
from hir_transforms.common.messages import enter_phase, warn
from hir_transforms.common.threads import use_one_thread
from hir_transforms.embeddings.model import STATIC, EmbeddingModel, folder_revision, loading_error
from hir_transforms.files import storage

# In the place of the revision of a model that is still to be distilled: no stage is of it.
UNDISTILLED = "not distilled yet"


@dataclass(frozen=True)
class DistillSettings:
    """What a distilled model depends on."""

    teacher: EmbeddingModel


def require_distill(name: str) -> None:
    """Raises `UserError` where what distills a model is not installed."""
    require_extra("embeddings,static", f"--embedding_model: {name}", "; n-grams alone (--alpha 1) need none of them")


def distill(teacher: EmbeddingModel) -> tuple[dict[str, bytes], str]:
    """The static model of a transformer: each token of its vocabulary embedded by itself.

    The number of components and the weights of tokens are the library's defaults. The same bytes on one processor
    family.

    Returns:
        (files, revision): content by name, and the digest of it.

    Raises:
        UserError: if it is static already, or the library can make nothing of it.
    """
    if teacher.is_static:
        raise UserError(f"--embedding_model: {teacher.name} is static already")
    use_one_thread()
    import torch
    from model2vec.distill import distill as distill_model
    from model2vec.persistence import save_pretrained
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    folder = teacher.locate()
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
            model = distill_model(folder, trust_remote_code=teacher.trust_remote_code, device="cpu")
    except Exception as error:
        raise loading_error(teacher.name, error) from error
    model.config["tokenizer_name"] = teacher.name  # instead of its path here
    with tempfile.TemporaryDirectory() as written:
        save_pretrained(Path(written), model.embedding, model.tokenizer, model.config, create_model_card=False)
        return {path.name: path.read_bytes() for path in sorted(Path(written).iterdir())}, folder_revision(written)


def _announce(teacher: EmbeddingModel, folder: str) -> None:
    """Tells what is about to take long; nothing of a model that `distill` will refuse."""
    if not teacher.is_static:
        warn(f"{teacher.name} is distilled into {folder}, once: one to two minutes")
        enter_phase(f"distilling {teacher.name}")


def write_distilled(teacher: EmbeddingModel, folder: str) -> None:
    """Distills a model into a local folder, which appears when it is complete.

    Raises:
        UserError: if the folder holds something already, or `distill` does.
    """
    if not storage.is_local(folder):
        raise UserError(f"--output: {folder} must be a local folder")
    if os.path.exists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise UserError(f"--output: {folder} exists already; choose another folder")
    _announce(teacher, folder)
    files, _ = distill(teacher)
    parent = os.path.dirname(os.path.abspath(folder))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as beside:
        new = os.path.join(beside, "model")
        for name, content in files.items():
            storage.write_bytes(os.path.join(new, name), content, durable=True)
        os.rename(new, folder)


def plan_static_model(work_dir: str, teacher: EmbeddingModel) -> Stage[DistillSettings]:
    """The stage of the static model of a transformer."""
    return Stage.create("static_model", work_dir, DistillSettings(teacher))


def static_model(stage: Stage[DistillSettings], revision: str, prompt: str = "") -> EmbeddingModel:
    """The static model in a stage; `revision` is `UNDISTILLED` while it is not there."""
    name = f"{STATIC}{stage.settings.teacher.name}"
    return EmbeddingModel(name, "folder", revision, stage.path("model"), prompt, is_static=True)


def distilled_model(work_dir: str, teacher: EmbeddingModel, prompt: str = "") -> EmbeddingModel:
    """The static model of a transformer, in a stage of the work folder; distilled now if it is not there.

    It is made before anything is planned, since the digest of its content is in the fingerprints of its embeddings.
    """
    stage = plan_static_model(work_dir, teacher)
    folder = stage.path("model")
    if stage.manifest() is None:
        stage.prepare()
        _announce(teacher, folder)
        files, revision = distill(teacher)
        for name, content in files.items():
            storage.write_bytes(storage.join(folder, name), content, durable=True)
        stage.write_manifest({"revision": revision})
    return static_model(stage, stage.counts()["revision"], prompt)
