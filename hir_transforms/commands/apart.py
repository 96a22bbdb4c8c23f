"""What a run writes, kept apart from what it reads and from itself, before anything is touched."""

import os
from collections.abc import Iterable, Iterator, Sequence

from hir_transforms.artifacts.output_folder import OutputFolder
from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.files import storage
from hir_transforms.files.overlaps import reaches, without_links
from hir_transforms.settings.config import PipelineConfig


def inputs_of(config: PipelineConfig) -> list[Dataset]:
    """All files that a selection reads, by the flags that name them."""
    embeddings = [config.embeddings.files(role) for role in ("raw", "target")]
    weights = [config.weights.files(name) for name in ("ngram_weights", "gmm_weights")]
    found = [config.raw, config.target, *embeddings, *weights, *config.mixtures.files()]
    return [dataset for dataset in found if dataset and dataset.patterns]


def check_apart(
    inputs: Iterable[Dataset], stages: Sequence[Stage], output: str | None = None, checkpoints: str | None = None
) -> None:
    """Raises `UserError` where a run would clear, replace or read again what it must not.

    Args:
        inputs: what it reads. A pattern that would match files that the run is to write counts, too.
        stages: all that it may compute.
        output: the folder that it replaces.
        checkpoints: the folder of checkpoints.
    """
    kept = {without_links(place): place for stage in stages for place in stage.places}
    folders = (output, OutputFolder(output).incomplete) if output else ()
    replaced = {without_links(place): place for place in (storage.join(folder, "") for folder in folders)}
    for dataset in inputs:
        for pattern in _patterns(dataset):
            resolved_pattern = without_links(pattern)
            for resolved, place in (kept | replaced).items():
                if reaches(pattern, place) or reaches(resolved_pattern, resolved):
                    raise UserError(
                        f"--{dataset.role}: {pattern} reaches into {place}, where this run writes; name other files, "
                        "or choose another --output or --work_dir"
                    )
    for resolved, place in kept.items():
        for folder in replaced:
            if resolved.startswith(folder) or folder.startswith(resolved):
                raise UserError(
                    f"--output: {output} is replaced whole, but shares files with {place}, which is kept; choose "
                    "another --output or --work_dir"
                )
    if checkpoints and (
        clearing := [place for place in kept | replaced if without_links(f"{checkpoints}/").startswith(place)]
    ):
        raise UserError(f"--gmm_checkpoint_dir: {checkpoints} must not be in {clearing[0]}, which is cleared")


def _patterns(dataset: Dataset) -> Iterator[str]:
    """What a dataset reads: its patterns, and those of the files that they match that are links to elsewhere."""
    yield from dataset.patterns
    if dataset.role in ("raw", "target"):
        for file in dataset.list_files():
            if storage.is_local(file.path) and os.path.islink(file.path):
                yield file.path
