"""The last part of a graph, from score shards to the output; the same for `select` and `resample`."""

import json
import os
from collections.abc import Collection, Mapping
from typing import Any

import apache_beam as beam

from hir_transforms.artifacts.output_folder import MANIFEST, OutputFolder, own_files, read_result
from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import digest
from hir_transforms.common.messages import tell
from hir_transforms.documents.known_files import KnownFiles
from hir_transforms.documents.listings import load_files
from hir_transforms.files import storage
from hir_transforms.selection.duplicates import FindDuplicates
from hir_transforms.selection.eligible import SelectionSettings
from hir_transforms.selection.select import SelectDocuments
from hir_transforms.selection.write import OutputSettings, RejectedLines, WriteSelection
from hir_transforms.settings.config import SelectionConfig

# Which stage keeps which rejected lines: its name, and what their files' names begin with.
_REJECTED = (
    ("documents", "raw-"),
    ("embeddings/raw", "raw-embedding-"),
    ("ngram_weights", "raw-ngram_weights-"),
    ("gmm_weights", "raw-gmm_weights-"),
    ("embeddings/target", "target-"),
    ("embeddings/target", "target-embedding-"),
    ("counts/target", "target-"),
)


def _fingerprint(settings: Mapping[str, Any], scores: Stage) -> str:
    """Digest of everything that an output depends on."""
    return digest({"settings": settings, "scores": scores.fingerprint})


def is_selected(config: SelectionConfig, scores: Stage, settings: Mapping[str, Any]) -> bool:
    """Whether a run that was interrupted while it put its output in place has written this very one.

    Whatever output such a run has completed is put in place first.

    Raises:
        UserError: for an output that is in the way, or another folder to be cleared that holds what is not ours.
    """
    output = config.output
    assert output
    if storage.is_local(output) and os.path.islink(output):
        raise UserError(f"--output: {output} is a symbolic link; name the folder itself")
    duplicates = duplicates_stage(scores) if config.skip_duplicates else None
    if duplicates and duplicates.manifest() is None:
        duplicates.own_files()
    interrupted = OutputFolder(output).recover()
    if not storage.exists(output):
        return False
    if interrupted and (result := read_result(output)) and result.fingerprint == _fingerprint(settings, scores):
        return True
    if not config.overwrite:
        raise UserError(f"--output: {output} exists and is not empty; add --overwrite to replace it")
    own_files(output)
    return False


def duplicates_stage(scores: Stage) -> Stage:
    """The stage that finds the documents whose text an earlier one has too."""
    return Stage.create("duplicates", scores.work_dir, None, [], [scores])


def rejected_lines(work_dir: str, stages: Collection[str]) -> list[RejectedLines]:
    """Where the lines are that the stages of these names rejected; of two that reject the same, the first."""
    found: dict[str, RejectedLines] = {}
    for name, prefix in _REJECTED:
        if name in stages:
            found.setdefault(prefix, RejectedLines(storage.join(work_dir, *name.split("/")), prefix))
    return list(found.values())


def add_selection(
    complete: beam.PCollection[Stage],
    config: SelectionConfig,
    scores: Stage,
    *,
    num_targets: int,
    stages: Collection[str],
    settings: dict[str, Any],
) -> None:
    """Adds the selection and its writing to the graph.

    Args:
        complete: the stage of the score shards, a single element, once it is complete.
        config: what to select and where to.
        scores: the same stage, as planned.
        num_targets: T.
        stages: names of the stages that the scores come from.
        settings: of the run, for the output's manifest.
    """
    assert config.output
    proportions = None
    if config.target_proportions:
        proportions = tuple(share / sum(config.target_proportions) for share in config.target_proportions)
    duplicates = duplicates_stage(scores) if config.skip_duplicates else None
    if duplicates and duplicates.manifest() is None:
        duplicates.prepare()
        found = complete | "FindDuplicates" >> FindDuplicates(duplicates)
        complete = found | "AllDuplicates" >> beam.Map(lambda _, scores: scores, scores.alone())
    selection = selection_settings(config, duplicates.folder if duplicates else None)
    folder = OutputFolder(config.output)
    folder.start()
    output = OutputSettings(
        folder,
        config.num_shards,
        config.compression,
        settings,
        _fingerprint(settings, scores),
        rejected_lines(config.work_dir, stages),
    )
    picked = complete | "Select" >> SelectDocuments(
        selection, folder.picked, num_targets=num_targets, proportions=proportions
    )
    known_files = complete.pipeline | "Scored" >> beam.Create([scores]) | "KnownFiles" >> beam.Map(_known_files)
    picked | "Write" >> WriteSelection(output, known_files)


def selection_settings(config: SelectionConfig, duplicates: str | None = None) -> SelectionSettings:
    """What a config asks for; `duplicates` is the folder that tells them, None selects them."""
    return SelectionSettings(
        config.num_to_sample,
        config.num_tokens_to_sample,
        config.top_k,
        config.seed,
        config.min_example_length,
        duplicates,
    )


def _known_files(scores: Stage) -> KnownFiles:
    """The files that were scored: of a planned stage those of its dataset, else those that the manifest tells."""
    if scores.datasets:
        return KnownFiles(scores.dataset.list_files())
    return KnownFiles(load_files(scores.work_dir, scores.complete_manifest()["inputs"]["raw"]["files"]))


def print_counts(config: SelectionConfig) -> None:
    """Prints what came out and where it is."""
    assert config.output
    counts = json.loads(storage.read_bytes(storage.join(config.output, MANIFEST)))["counts"]
    shown = ["read", "rejected", "short", *(["duplicate"] if counts["duplicate"] else []), "eligible", "selected"]
    tell(", ".join(f"{counts[name]} {name}" for name in shown))
    tell(config.output)
