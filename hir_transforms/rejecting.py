"""Rejected lines: kept aside in files of their own, one a read task."""

from collections.abc import Sequence
from dataclasses import asdict

import msgspec

from hir_transforms import storage
from hir_transforms.records import Reject

FOLDER = "rejected"


def write_rejects(stage_folder: str, role: str, task_index: int, rejects: Sequence[Reject]) -> None:
    """Writes a task's rejected lines, if there are any, to `rejected/ROLE-INDEX.jsonl` in a stage's folder."""
    if rejects:
        lines = b"".join(msgspec.json.encode(asdict(reject)) + b"\n" for reject in rejects)
        storage.write_bytes(storage.join(stage_folder, FOLDER, f"{role}-{task_index:05d}.jsonl"), lines)


def list_rejects(stage_folder: str, role: str) -> list[str]:
    """Paths of the files that `write_rejects` wrote for a dataset, in corpus order."""
    paths = storage.list_folder(storage.join(stage_folder, FOLDER))
    return [path for path in paths if path.rpartition("/")[2].startswith(f"{role}-")]
