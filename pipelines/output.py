"""What `select` and `resample` share: checking the output's place, and telling what came out."""

import json
import os

from hir_transforms import storage
from hir_transforms.errors import UserError
from hir_transforms.stages import MANIFEST


def check_output(output: str, work_dir: str, *, overwrite: bool) -> None:
    """Raises `UserError` for an output that is in the way or would hold the work folder."""
    if f"{work_dir}/".startswith(f"{output}/"):
        raise UserError(f"--work_dir: {work_dir} must not be in --output {output}, which is replaced whole")
    if storage.exists(output):
        if not overwrite:
            raise UserError(f"--output: {output} exists and is not empty; add --overwrite to replace it")
        if storage.is_local(output) and not os.path.isdir(output):
            raise UserError(f"--output: {output} is a file, not a folder")
        if not storage.exists(storage.join(output, MANIFEST)):
            raise UserError(f"--output: {output} holds other files than a selection; --overwrite keeps off them")


def prepare_temporary(output: str) -> str:
    """The folder, empty, where an output is put together: beside its final place, so that one rename moves it."""
    temporary = f"{output}.incomplete"
    storage.remove_folder(temporary)
    return temporary


def print_counts(output: str) -> None:
    """Prints what came out and where it is."""
    counts = json.loads(storage.read_bytes(storage.join(output, MANIFEST)))["counts"]
    shown = ["read", "rejected", "short", *(["duplicate"] if counts["duplicate"] else []), "eligible", "selected"]
    print(", ".join(f"{counts[name]} {name}" for name in shown))
    print(output)
