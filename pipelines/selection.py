"""The last part of a graph, from score shards to the output; the same for `select` and `resample`."""

import json
import os
from collections.abc import Collection
from typing import Any

import apache_beam as beam

from hir_transforms import storage
from hir_transforms.config import SelectionConfig
from hir_transforms.duplicates import FindDuplicates
from hir_transforms.errors import UserError
from hir_transforms.ranking import SelectionSettings
from hir_transforms.score_shards import ScoreShard
from hir_transforms.selecting import SelectDocuments
from hir_transforms.stages import MANIFEST, Stage
from hir_transforms.writing import OutputSettings, RejectedLines, WriteSelection, unpublished
from pipelines.telling import tell

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


def check_output(config: SelectionConfig) -> None:
    """Raises `UserError` for an output that is in the way."""
    output = config.output
    assert output
    storage.discard_half_published(unpublished(storage.temporary_folder(output)), output, last=MANIFEST)
    if storage.exists(output):
        if not config.overwrite:
            raise UserError(f"--output: {output} exists and is not empty; add --overwrite to replace it")
        if storage.is_local(output) and not os.path.isdir(output):
            raise UserError(f"--output: {output} is a file, not a folder")
        if not storage.exists(storage.join(output, MANIFEST)):
            raise UserError(f"--output: {output} holds other files than a selection; --overwrite keeps off them")


def duplicates_stage(scores: Stage) -> Stage:
    """The stage that finds the documents whose text an earlier one has too."""
    return Stage.create("duplicates", scores.work_dir, {}, [], [scores])


def rejected_lines(work_dir: str, stages: Collection[str]) -> list[RejectedLines]:
    """Where the lines are that the stages of these names rejected; of two that reject the same, the first."""
    found: dict[str, RejectedLines] = {}
    for name, prefix in _REJECTED:
        if name in stages:
            found.setdefault(prefix, RejectedLines(storage.join(work_dir, *name.split("/")), prefix))
    return list(found.values())


def add_selection(
    shards: beam.PCollection[ScoreShard],
    config: SelectionConfig,
    scores: Stage,
    *,
    num_targets: int,
    proportions: beam.PCollection[tuple[float, ...]],
    stages: Collection[str],
    settings: dict[str, Any],
) -> None:
    """Adds the selection and its writing to the graph.

    Args:
        shards: all score shards.
        config: what to select and where to.
        scores: the stage of the score shards.
        num_targets: T.
        proportions: PCollection of one tuple of T shares that add up to 1, for a config that gives none.
        stages: names of the stages that the scores come from.
        settings: of the run, for the output's manifest.
    """
    assert config.output
    if config.target_proportions:
        given = [share / sum(config.target_proportions) for share in config.target_proportions]
        proportions = shards.pipeline | "Proportions" >> beam.Create([tuple(given)])
    duplicates = duplicates_stage(scores) if config.skip_duplicates else None
    if duplicates and duplicates.manifest() is None:
        duplicates.prepare()
        found = shards | "FindDuplicates" >> FindDuplicates(duplicates)
        shards = shards | "AllDuplicates" >> beam.Map(lambda shard, _: shard, beam.pvalue.AsSingleton(found))
    selection = SelectionSettings(
        config.num_to_sample,
        config.num_tokens_to_sample,
        config.top_k,
        config.seed,
        config.min_example_length,
        duplicates.folder if duplicates else None,
    )
    temporary = storage.start_publishing(config.output)
    rejected = rejected_lines(config.work_dir, stages)
    output = OutputSettings(config.output, temporary, config.num_shards, config.compression, settings, rejected)
    picked = shards | "Select" >> SelectDocuments(
        selection, output.picked, num_targets=num_targets, proportions=proportions
    )
    picked | "Write" >> WriteSelection(output)


def print_counts(config: SelectionConfig) -> None:
    """Prints what came out and where it is."""
    assert config.output
    counts = json.loads(storage.read_bytes(storage.join(config.output, MANIFEST)))["counts"]
    shown = ["read", "rejected", "short", *(["duplicate"] if counts["duplicate"] else []), "eligible", "selected"]
    tell(", ".join(f"{counts[name]} {name}" for name in shown))
    tell(config.output)
