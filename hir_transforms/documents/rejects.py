"""Rejected lines: written to files of their own, one per read task."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.records import Reject
from hir_transforms.files import storage

FOLDER = "rejected"
_TOLD = ("file", "offset", "reason", "excerpt")
_SHOWN_REASONS = 5


@dataclass(frozen=True)
class LineCounts:
    """Lines that were read: those that are documents, and those that are rejected by their reason.

    Attributes:
        documents: usable lines.
        reasons: number of rejected lines of each reason.
        first: the first rejected line of the first task that has one, with the task's index.
    """

    documents: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    first: tuple[int, Reject] | None = None

    @classmethod
    def of(cls, task_index: int, documents: int, rejects: Sequence[Reject]) -> "LineCounts":
        """Counts of a task."""
        first = (task_index, rejects[0]) if rejects else None
        return cls(documents, Counter(reject.kind for reject in rejects), first)

    @property
    def rejected(self) -> int:
        """Rejected lines."""
        return sum(self.reasons.values())

    @property
    def first_rejected(self) -> str:
        """What a message says of the first rejected line; empty where there is none."""
        if self.first is None:
            return ""
        return f"; the first of {self.rejected} rejected lines: {describe_reject(self.first[1])}"

    def merge(self, other: "LineCounts") -> "LineCounts":
        """Counts of both."""
        firsts = [counts.first for counts in (self, other) if counts.first]
        first = min(firsts, key=lambda first: (first[0], first[1].offset), default=None)
        return LineCounts(self.documents + other.documents, Counter(self.reasons) + Counter(other.reasons), first)

    def summary(self) -> dict[str, Any]:
        """For a manifest; `check_rejected` reads it."""
        first = {"first_reject": describe_reject(self.first[1])} if self.first else {}
        return {
            "read": self.documents + self.rejected,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            **first,
        }


def check_rejected(counts: Mapping[str, Any], dataset: Dataset) -> None:
    """Raises `UserError` where more lines of a dataset were rejected than it allows.

    Args:
        counts: in the manifest of a stage that reads the dataset's lines; those of others are passed over.
        dataset: tells what is allowed.
    """
    if not counts.get("reasons"):
        return
    if dataset.on_bad_record == "fail":
        raise UserError(f"--{dataset.role}: {counts['first_reject']} (--on_bad_record fail)")
    read, rejected = counts["read"], counts["rejected"]
    if rejected / read > dataset.max_rejected_share:
        reasons = sorted(counts["reasons"].items(), key=lambda item: (-item[1], item[0]))
        shown = ", ".join(f"{number} {reason}" for reason, number in reasons[:_SHOWN_REASONS])
        more = f" and {len(reasons) - _SHOWN_REASONS} more reasons" if len(reasons) > _SHOWN_REASONS else ""
        raise UserError(
            f"--{dataset.role}: {rejected} of {read} lines are rejected ({shown}{more}), a larger share than "
            f"--max_rejected_share {dataset.max_rejected_share:g}; the first: {counts['first_reject']}"
        )


def describe_reject(reject: Reject) -> str:
    """Where a rejected line is, and why."""
    return f"{reject.file}, {reject.unit} {reject.offset}: {reject.reason}"


def write_rejects(stage_folder: str, role: str, task_index: int, rejects: Sequence[Reject]) -> None:
    """Writes a task's rejected lines, if there are any, to `rejected/ROLE-INDEX.jsonl` in a stage's folder."""
    _write(stage_folder, f"{role}-{task_index:05d}.jsonl", rejects)


def write_embedding_rejects(stage_folder: str, role: str, key: tuple[int, int], rejects: Sequence[Reject]) -> None:
    """Writes a group's documents that have no usable embedding, if there are any, to `rejected/ROLE-embedding-KEY`."""
    _write(stage_folder, f"{role}-embedding-{key[0]:06d}-{key[1]:06d}.jsonl", rejects)


def _write(stage_folder: str, name: str, rejects: Sequence[Reject]) -> None:
    if rejects:
        told = [{name: getattr(reject, name) for name in _TOLD} for reject in rejects]
        lines = b"".join(msgspec.json.encode(one) + b"\n" for one in told)
        storage.write_bytes(storage.join(stage_folder, FOLDER, name), lines)


def list_rejects(stage_folder: str, prefix: str) -> list[str]:
    """Paths of a stage's files of rejected lines whose names begin with `prefix` and a number, in corpus order."""
    paths = storage.list_folder(storage.join(stage_folder, FOLDER))
    return [path for path in paths if re.match(rf"{re.escape(prefix)}\d", path.rpartition("/")[2])]
