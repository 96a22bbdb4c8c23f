"""Rejected lines: kept aside in files of their own, one a read task."""

import re
from collections.abc import Sequence
from dataclasses import asdict

import msgspec

from hir_transforms import storage
from hir_transforms.records import Reject

FOLDER = "rejected"


def write_rejects(stage_folder: str, role: str, task_index: int, rejects: Sequence[Reject]) -> None:
    """Writes a task's rejected lines, if there are any, to `rejected/ROLE-INDEX.jsonl` in a stage's folder."""
    _write(stage_folder, f"{role}-{task_index:05d}.jsonl", rejects)


def write_embedding_rejects(stage_folder: str, role: str, key: tuple[int, int], rejects: Sequence[Reject]) -> None:
    """Writes a group's documents that have no usable embedding, if there are any, to `rejected/ROLE-embedding-KEY`."""
    _write(stage_folder, f"{role}-embedding-{key[0]:06d}-{key[1]:06d}.jsonl", rejects)


def _write(stage_folder: str, name: str, rejects: Sequence[Reject]) -> None:
    if rejects:
        lines = b"".join(msgspec.json.encode(asdict(reject)) + b"\n" for reject in rejects)
        storage.write_bytes(storage.join(stage_folder, FOLDER, name), lines)


def list_rejects(stage_folder: str, prefix: str) -> list[str]:
    """Paths of a stage's files of rejected lines whose names begin with `prefix` and a number, in corpus order."""
    paths = storage.list_folder(storage.join(stage_folder, FOLDER))
    return [path for path in paths if re.match(rf"{re.escape(prefix)}\d", path.rpartition("/")[2])]
