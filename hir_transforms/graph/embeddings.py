"""The embeddings of one dataset: where they come from, their stage, and its part of the graph."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from hir_transforms.artifacts.stages import ListResults, Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.read_tasks import MAX_TASK_BLOCKS
from hir_transforms.embeddings.embed import EmbedDocuments, load_shards
from hir_transforms.embeddings.lookup import FindRows
from hir_transforms.embeddings.model import EmbeddingModel, find_model
from hir_transforms.embeddings.source import EmbeddingFiles, EmbeddingSource, check_sources, find_embeddings
from hir_transforms.files import storage
from hir_transforms.settings.config import SelectConfig


@dataclass(frozen=True)
class Sources:
    """Where raw's and the target's embeddings come from; None for a target that is not embedded."""

    raw: EmbeddingSource
    target: EmbeddingSource | None


def find_source(given: Dataset | None, flags: Mapping[str, Any]) -> EmbeddingSource:
    """The embedding files that were given, else the model that the flags name; `UserError` if there are none."""
    if given:
        return find_embeddings(given)
    return find_model(
        flags["embedding_model"],
        revision=flags["embedding_revision"],
        prompt=flags["embedding_prompt"],
        trust_remote_code=flags["trust_remote_code"],
    )


def find_sources(config: SelectConfig) -> Sources:
    """Where embeddings come from.

    Raises:
        UserError: if one cannot be found, or both cannot be of one model.
    """
    raw = find_source(config.raw_embeddings, vars(config))
    if not config.fits_target_mixtures:
        return Sources(raw, None)
    target = find_source(config.target_embeddings, vars(config))
    check_sources(raw, target)
    return Sources(raw, target)


def plan_embeddings(work_dir: str, dataset: Dataset, source: EmbeddingSource) -> Stage[EmbeddingSource]:
    """The stage of a dataset's embeddings.

    Raises:
        UserError: if the embedding files lie in the folder of that stage, which it would clear.
    """
    given = [] if isinstance(source, EmbeddingModel) else [source.dataset]
    stage = Stage.create(f"embeddings/{dataset.role}", work_dir, source, [dataset, *given])
    for file in (file for files in given for file in files.list_files()):
        if file.path.startswith(storage.join(stage.folder, "")):
            raise UserError(
                f"--{given[0].role}: {stage.folder} is where this run keeps its own embeddings; "
                "leave the flag out to use them, or choose another --work_dir"
            )
    return stage


def embedding_shards(
    pipeline: beam.Pipeline,
    stage: Stage[EmbeddingSource],
    *,
    complete: bool,
    after: beam.PCollection | None = None,
) -> beam.PCollection:
    """The `EmbeddingShard`s of a stage: those that it has if it is complete, else made from their source.

    With `after`, a PCollection of one, nothing is embedded before it is there.
    """
    dataset, source = stage.dataset, stage.settings
    label = f"{dataset.role.capitalize()}Embeddings"
    if complete:
        return pipeline | label >> ListResults(stage, load_shards)
    if isinstance(source, EmbeddingFiles):
        rows: beam.PTransform = FindRows(stage)
        max_task_blocks = MAX_TASK_BLOCKS
    else:
        # Imports torch through RunInference: two seconds and 500 MB that a run without a model does not pay.
        from hir_transforms.embeddings.model_handler import ComputeRows

        # Embedding is slow: with one group of documents a task even small corpora keep all workers busy.
        rows, max_task_blocks = ComputeRows(source), 1
    return pipeline | label >> EmbedDocuments(stage, rows, max_task_blocks=max_task_blocks, after=after)
