"""The embeddings of one dataset as a part of a graph; the same for `select` and `embed`."""

import apache_beam as beam

from hir_transforms.artifacts.stages import ListResults, Stage
from hir_transforms.documents.read_tasks import MAX_TASK_BLOCKS
from hir_transforms.embeddings.embed import WriteEmbeddings, load_shards
from hir_transforms.embeddings.inference import infer_embeddings
from hir_transforms.embeddings.lookup import LookUpEmbeddings
from hir_transforms.embeddings.source import EmbeddingFiles, EmbeddingSource, SampledSource


def _label(stage: Stage) -> str:
    return f"{stage.dataset.role.capitalize()}Embeddings"


def read_shards(pipeline: beam.Pipeline, stage: Stage[EmbeddingSource] | Stage[SampledSource]) -> beam.PCollection:
    """The `EmbeddingShard`s of a complete stage."""
    return pipeline | _label(stage) >> ListResults(stage, load_shards)


def embed_documents(
    pipeline: beam.Pipeline,
    stage: Stage[EmbeddingSource] | Stage[SampledSource],
    after: beam.PCollection | None = None,
    tasks: beam.PTransform | None = None,
) -> beam.PCollection:
    """The `EmbeddingShard`s of a stage, made from their source.

    With `after`, a PCollection of one, nothing is embedded before it is there; `tasks` makes the `ReadTask`s where not
    all documents are embedded.
    """
    source = stage.settings.source if isinstance(stage.settings, SampledSource) else stage.settings
    if isinstance(source, EmbeddingFiles):
        rows: beam.PTransform = LookUpEmbeddings(stage, source)
        max_task_blocks = MAX_TASK_BLOCKS
    else:
        rows = infer_embeddings(source)
        # A transformer is slow: with one group of documents per task even small corpora keep all workers busy.
        max_task_blocks = MAX_TASK_BLOCKS if source.is_static else 1
    write = WriteEmbeddings(stage, rows, max_task_blocks=max_task_blocks, after=after, tasks=tasks)
    return pipeline | _label(stage) >> write
