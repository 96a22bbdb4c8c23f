"""The stage of duplicates, and what it depends on."""

from hir_transforms.artifacts.stages import Stage


def plan_duplicates(scores: Stage) -> Stage[None]:
    """The stage that finds the documents whose text an earlier one has too: it depends on the scores alone."""
    return Stage.create("duplicates", scores.work_dir, None, upstream=[scores])
