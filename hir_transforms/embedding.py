"""`EmbedDocuments`: the embeddings of a dataset, written as shards by RunInference workers."""

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import RunInference

from hir_transforms import storage
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_handler import SentenceTransformerHandler
from hir_transforms.embedding_model import EmbeddingModel
from hir_transforms.embedding_shards import EmbeddingShard, read_shard, shard_path, write_shard
from hir_transforms.errors import UserError
from hir_transforms.reading import DocumentReader, ReadTasks
from hir_transforms.records import ReadTask
from hir_transforms.rejecting import write_rejects
from hir_transforms.stages import Stage, WriteStageManifest

_FINISHED = "finished"


class EmbedDocuments(beam.PTransform):
    """PBegin -> `EmbeddingShard`s of a dataset, written to the stage's folder.

    The grain is one group of documents a task: embedding is slow, so even small corpora keep all workers busy.
    Shards that an interrupted run has finished are kept.
    """

    def __init__(self, stage: Stage, dataset: Dataset, model: EmbeddingModel) -> None:
        super().__init__()
        self._stage = stage
        self._dataset = dataset
        self._model = model

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[EmbeddingShard]:
        """See the class."""
        # The identifier lets all stages of one process share the loaded model.
        embed = RunInference(SentenceTransformerHandler(self._model), model_identifier=self._model.location)
        read_do_fn = _ReadGroupsDoFn(self._dataset, self._stage.folder)
        read = (
            pipeline
            | "Tasks" >> ReadTasks(self._dataset, max_task_blocks=1)
            | "Read" >> beam.ParDo(read_do_fn).with_outputs(_FINISHED, main="groups")
        )
        written = read.groups | "Embed" >> embed | "WriteShard" >> beam.Map(_write, self._stage.folder, self._model)
        shards = (written, read[_FINISHED]) | "All" >> beam.Flatten()
        (
            shards
            | "Gather" >> beam.combiners.ToList()
            | "Counts" >> beam.Map(_counts, self._dataset.role)
            | "Manifest" >> WriteStageManifest(self._stage)
        )
        return shards


class _ReadGroupsDoFn(beam.DoFn):
    """Emits the groups to embed, and as `_FINISHED` the shards that an interrupted run has written already."""

    def __init__(self, dataset: Dataset, folder: str) -> None:
        self._dataset = dataset
        self._folder = folder

    def setup(self) -> None:
        self._reader = DocumentReader(self._dataset)

    def process(self, task: ReadTask) -> Iterator[Any]:
        rejects = []
        for group in self._reader.read(task):
            rejects += group.rejects
            path = shard_path(self._folder, group.key)
            if storage.exists(path):
                num_rows = sum(len(batch.rows) for batch in read_shard(path))
                yield beam.pvalue.TaggedOutput(_FINISHED, EmbeddingShard(group.key, path, num_rows))
            elif any(batch.texts for batch in group.batches):
                yield group
        write_rejects(self._folder, self._dataset.role, task.index, rejects)


def _write(prediction: Any, folder: str, model: EmbeddingModel) -> EmbeddingShard:
    return write_shard(folder, prediction.example, prediction.inference, model.name, model.revision)


def _counts(shards: list[EmbeddingShard], role: str) -> dict[str, Any]:
    if not shards:
        raise UserError(f"--{role}: no text in it")
    return {
        "documents": sum(shard.num_rows for shard in shards),
        "shards": [[*shard.key, shard.num_rows] for shard in sorted(shards)],
    }


def load_shards(stage: Stage) -> list[EmbeddingShard]:
    """The shards of a complete stage, as its manifest lists them."""
    return [
        EmbeddingShard((file, block), shard_path(stage.folder, (file, block)), rows)
        for file, block, rows in stage.counts()["shards"]
    ]
