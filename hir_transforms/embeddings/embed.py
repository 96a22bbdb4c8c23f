"""`WriteEmbeddings`: the embeddings of a dataset, computed or looked up, written as shards."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common import metrics
from hir_transforms.common.combining import MergeCombineFn
from hir_transforms.common.errors import UserError
from hir_transforms.documents.reading import DocumentReader, ReadTasks, count_read
from hir_transforms.documents.records import DocumentGroup, ReadTask, Reject
from hir_transforms.documents.rejects import (
    LineCounts,
    check_rejected,
    write_embedding_rejects,
    write_rejects,
)
from hir_transforms.embeddings.shards import (
    EmbeddingShard,
    find_shard,
    is_finite,
    shard_path,
    split_documents,
    write_shard,
)
from hir_transforms.embeddings.source import EmbeddingSource, SampledSource

_FINISHED, _LINES = "finished", "lines"


@dataclass(eq=False)
class WriteEmbeddings(beam.PTransform):
    """PBegin -> `EmbeddingShard`s of a dataset, written to the stage's folder.

    Shards that an interrupted run has finished are kept.

    Attributes:
        stage: where the shards are written; its dataset are the documents, its settings their source.
        rows: `DocumentGroup`s -> (`DocumentGroup`, float32 [N, D]): `InferEmbeddings` or `LookUpEmbeddings`.
        max_task_blocks: groups of documents that one task may hold.
        after: PCollection of one; nothing is read before it is there.
        tasks: PBegin -> the `ReadTask`s of the documents, where they are a part of the dataset.
    """

    stage: Stage[EmbeddingSource] | Stage[SampledSource]
    rows: beam.PTransform
    _: KW_ONLY
    max_task_blocks: int
    after: beam.PCollection | None = None
    tasks: beam.PTransform | None = None

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[EmbeddingShard]:
        """See the class."""
        dataset = self.stage.dataset
        read_do_fn = _ReadGroupsDoFn(self.stage)
        tasks = self.tasks or ReadTasks(dataset, max_task_blocks=self.max_task_blocks, after=self.after)
        read = (
            pipeline
            | "Tasks" >> tasks
            | "Read" >> beam.ParDo(read_do_fn).with_outputs(_FINISHED, _LINES, main="groups")
        )
        written = read.groups | "Embed" >> self.rows | "WriteShard" >> beam.Map(_write, self.stage)
        shards = (written, read[_FINISHED]) | "All" >> beam.Flatten()
        lines = read[_LINES] | "SumLines" >> beam.CombineGlobally(MergeCombineFn(LineCounts.merge))
        (
            shards
            | "Gather" >> beam.combiners.ToList()
            | "Count" >> beam.Map(_counts, beam.pvalue.AsSingleton(lines), dataset.role)
            | "Manifest" >> WriteStageManifest(self.stage)
            | "CheckRejected" >> beam.Map(check_rejected, dataset)
        )
        return shards


@dataclass(eq=False)
class _ReadGroupsDoFn(beam.DoFn):
    """Emits the groups to embed, and as `_FINISHED` the shards that an interrupted run has written already."""

    stage: Stage

    def setup(self) -> None:
        self._reader = DocumentReader(self.stage.dataset)

    def process(self, task: ReadTask) -> Iterator[Any]:
        rejects: list[Reject] = []
        documents = 0
        name, folder = self.stage.name, self.stage.folder
        for group in self._reader.read(task):
            count_read(name, group)
            rejects += group.rejects
            documents += len(group.texts)
            if shard := find_shard(folder, group.key):
                metrics.count(name, embedded=shard.num_rows, shards=1)
                yield beam.pvalue.TaggedOutput(_FINISHED, shard)
            elif any(batch.texts for batch in group.batches):
                yield group
        write_rejects(folder, self.stage.dataset.role, task.index, rejects)
        yield beam.pvalue.TaggedOutput(_LINES, LineCounts.of(task.index, documents, rejects))


def _write(embedded: tuple[DocumentGroup, np.ndarray], stage: Stage) -> EmbeddingShard:
    group, rows = embedded
    source = stage.settings
    # The rejects first: where there is a shard, they are complete.
    _, rejects = split_documents(group, is_finite(rows))
    write_embedding_rejects(stage.folder, stage.dataset.role, group.key, rejects)
    shard = write_shard(stage.folder, group, rows, source.model, source.revision)
    metrics.count(stage.name, embedded=shard.num_rows, shards=1)
    return shard


def _counts(shards: list[EmbeddingShard], lines: LineCounts | None, role: str) -> dict[str, Any]:
    lines = lines or LineCounts()
    if not shards:
        raise UserError(f"--{role}: no text in it{lines.first_rejected}")
    documents = sum(shard.num_rows for shard in shards)
    if not documents:
        raise UserError(f"--{role}: no document has a finite embedding")
    return {
        **lines.summary(),
        "documents": documents,
        "dim": shards[0].dim,
        "normalized": all(shard.normalized for shard in shards),
        "shards": [[*shard.key, shard.num_rows] for shard in sorted(shards)],
    }


def load_shards(stage: Stage) -> list[EmbeddingShard]:
    """The shards of a complete stage, as its manifest lists them."""
    counts = stage.counts()
    return [
        EmbeddingShard(
            (file, block), shard_path(stage.folder, (file, block)), rows, counts["dim"], counts["normalized"]
        )
        for file, block, rows in counts["shards"]
    ]
