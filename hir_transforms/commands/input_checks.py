"""What can be told of inputs before anything runs."""

import itertools

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import plan_tasks
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import Reject, SourceFile
from hir_transforms.documents.rejects import LineCounts, check_rejected


def check_has_text(dataset: Dataset, *, by_target: bool = False, max_groups: int | None = None) -> None:
    """Raises `UserError` for a dataset without a single text; reads no further than the first.

    Args:
        dataset: what is read.
        by_target: whether each of its patterns must have a text.
        max_groups: how many groups of blocks are read at most, even if there is no text in them.
    """
    by_pattern = itertools.groupby(dataset.list_files(), key=lambda file: file.target if by_target else 0)
    for target, files in by_pattern:
        patterns = [dataset.patterns[target]] if by_target else dataset.patterns
        _check_files(dataset, list(files), ", ".join(patterns), max_groups)


def _check_files(dataset: Dataset, files: list[SourceFile], patterns: str, max_groups: int | None) -> None:
    rejects: list[Reject] = []
    reader = DocumentReader(dataset)
    groups = (group for task in plan_tasks(files, max_task_blocks=1) for group in reader.read(task))
    for number, group in enumerate(groups):
        if number == max_groups or any(text and not text.isspace() for text in group.texts):
            return
        rejects += group.rejects
    raise UserError(f"--{dataset.role}: no text in {patterns}{LineCounts.of(0, 0, rejects).first_rejected}")


def check_complete_stage(stage: Stage) -> None:
    """Raises `UserError` where an earlier run rejected more lines for a stage than its dataset now allows."""
    manifest = stage.manifest()
    if manifest and stage.datasets:
        check_rejected(manifest["counts"], stage.dataset)
