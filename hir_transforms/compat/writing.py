"""The files of a resampling: written, each whole or not at all, and moved to their place."""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage

INDICES = "selected_indices.npy"
_NUMBERED = re.compile(r"\d+\.jsonl$")


def prepare_folder(folder: str | os.PathLike[str], names: Sequence[str]) -> Path:
    """Makes a folder; raises `UserError` where it has files of a resampling into other virtual shards."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    if others := sorted({name for name in os.listdir(path) if _NUMBERED.match(name)} - {*names}):
        raise UserError(f"{path} holds {others[0]}, which this resampling would not replace; choose another folder")
    return path


def write_chosen(path: str, lines: Iterable[str], mask: npt.NDArray[np.bool_]) -> None:
    """Writes the lines whose place the mask, bool [N], names; raises `UserError` unless there are N."""
    number = -1
    with storage.atomic_write(path) as file:
        for number, line in enumerate(lines):
            if number < len(mask) and mask[number]:
                file.write(line.encode() + b"\n")
        if number + 1 != len(mask):
            raise UserError(f"{number + 1} examples where {len(mask)} were weighed: the dataset has changed")


def publish(folder: Path, out_dir: Path, names: Sequence[str], indices: npt.NDArray[np.int64]) -> None:
    """Moves the files, and then the chosen indices with them, from one folder to another, which may be the same."""
    with storage.atomic_write(str(folder / INDICES)) as file:
        np.save(file, indices)
    if folder.resolve() != out_dir.resolve():
        for name in (*names, INDICES):
            shutil.move(folder / name, out_dir / name)
        if not any(folder.iterdir()):
            folder.rmdir()
