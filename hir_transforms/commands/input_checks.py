"""What can be told of inputs before anything runs."""

import itertools
from collections.abc import Iterator

import numpy as np

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import plan_tasks
from hir_transforms.documents.reading import DocumentReader
from hir_transforms.documents.records import Reject, SourceFile
from hir_transforms.documents.rejects import LineCounts, check_rejected
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings

# With fewer n-grams of the target, the ratio finds clearly less than what `small_targets` is asked to name: of seven
# packages' documentation it lost .05 and more of its precision below 140,000, and up to .03 above 200,000.
FEW_TARGET_NGRAMS = 200_000


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
    tasks = plan_tasks(files, loaded=dataset.is_loaded, max_task_blocks=1)
    groups = (group for task in tasks for group in reader.read(task))
    for number, group in enumerate(groups):
        if number == max_groups or any(text and not text.isspace() for text in group.texts):
            return
        rejects += group.rejects
    raise UserError(f"--{dataset.role}: no text in {patterns}{LineCounts.of(0, 0, rejects).first_rejected}")


def small_targets(target: Dataset, ngrams: NgramSettings, *, by_target: bool) -> Iterator[tuple[str, int]]:
    """Patterns of targets of fewer than `FEW_TARGET_NGRAMS` n-grams, and how many these have; reads no more than that.

    Args:
        target: what is read.
        ngrams: what n-grams are.
        by_target: whether each of its patterns is a target.
    """
    # Which bucket an n-gram falls into does not matter here.
    featurizer = NgramFeaturizer(NgramSettings(ngrams.ngrams, 1, ngrams.tokenizer, "fast"))
    reader = DocumentReader(target)
    for number, files in itertools.groupby(target.list_files(), key=lambda file: file.target if by_target else 0):
        counts = np.zeros(1, np.int64)
        for task in plan_tasks(list(files), loaded=target.is_loaded, max_task_blocks=1):
            for group in reader.read(task):
                featurizer.count(group.encoded, counts)
            if counts[0] >= FEW_TARGET_NGRAMS:
                break
        else:
            yield target.patterns[number] if by_target else ", ".join(target.patterns), int(counts[0])


def check_complete_stage(stage: Stage) -> None:
    """Raises `UserError` where an earlier run rejected more lines for a stage than its dataset now allows."""
    manifest = stage.manifest()
    if manifest and stage.datasets:
        check_rejected(manifest["counts"], stage.dataset)
