"""The stages of embeddings, and what each depends on: the documents, and the model or the files of embeddings."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.distill import (
    UNDISTILLED,
    distilled_model,
    plan_static_model,
    require_distill,
    static_model,
)
from hir_transforms.embeddings.model import STATIC, EmbeddingModel, find_model
from hir_transforms.embeddings.settings import EmbeddingOptions
from hir_transforms.embeddings.source import EmbeddingSource, SampledSource, check_sources, find_embeddings
from hir_transforms.files import storage
from hir_transforms.ngrams.sampling import DocumentSample


@dataclass(frozen=True)
class EmbeddingStages:
    """The embeddings of raw and of the targets; None for a target that is not embedded."""

    raw: Stage[EmbeddingSource]
    target: Stage[EmbeddingSource] | None


def find_sources(
    work_dir: str, options: EmbeddingOptions, datasets: Sequence[Dataset], *, may_distill: bool = True
) -> list[EmbeddingSource]:
    """Where the embeddings of each dataset come from: files that are given, else the model.

    A model that is to be distilled is made here, if it is not in the work folder yet; its revision is `UNDISTILLED`
    where that may not be.

    Raises:
        UserError: if one cannot be found, or not all can be of one model.
    """
    model = functools.cache(lambda: find_embedding_model(work_dir, options, may_distill=may_distill))
    given = [options.files(dataset.role) for dataset in datasets]
    sources = [find_embeddings(files) if files else model() for files in given]
    if len(sources) == 2:
        check_sources(*sources)
    return sources


def find_embedding_model(work_dir: str, options: EmbeddingOptions, *, may_distill: bool = True) -> EmbeddingModel:
    """The model that embeds; one that is to be distilled is made here, see `find_sources`.

    Raises:
        UserError: if it cannot be found.
    """
    name = options.embedding_model
    if name.startswith(STATIC):
        require_distill(name)
        teacher = find_named(options)
        stage = plan_static_model(work_dir, teacher)
        if not may_distill and stage.manifest() is None:
            return static_model(stage, UNDISTILLED, options.embedding_prompt)
        return distilled_model(work_dir, teacher, options.embedding_prompt)
    model = find_named(options, prompt=options.embedding_prompt)
    return replace(model, batch_size=options.embedding_batch_size)


def find_named(options: EmbeddingOptions, prompt: str = "") -> EmbeddingModel:
    """The model that `--embedding_model` names; of `static:NAME` the transformer of this name."""
    return find_model(
        options.embedding_model.removeprefix(STATIC),
        prompt=prompt,
        revision=options.embedding_revision,
        trust_remote_code=options.trust_remote_code,
    )


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


def plan_sampled_embeddings(
    work_dir: str, dataset: Dataset, source: EmbeddingSource, sample: DocumentSample
) -> Stage[SampledSource]:
    """The stage of the embeddings of a sample. How many of its lines are rejected tells nothing of the dataset's."""
    given = [] if isinstance(source, EmbeddingModel) else [source.dataset]
    datasets = [replace(dataset, max_rejected_share=1.0), *given]
    return Stage.create(f"trial_embeddings/{dataset.role}", work_dir, SampledSource(source, sample), datasets)
