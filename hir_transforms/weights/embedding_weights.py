"""`WriteEmbeddingWeights`: importance weights of documents from their embeddings; no text is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import apache_beam as beam
import numpy as np
import pyarrow as pa

from hir_transforms.artifacts.stages import Stage, WriteManifestOfAll
from hir_transforms.common import metrics
from hir_transforms.embeddings.shards import EmbeddingBatch, read_documents, shard_path
from hir_transforms.weights.parts import (
    DocumentPart,
    PartReader,
    count_parts,
    part_path,
    weight_column,
    write_weights,
)


class EmbeddingRatio(Protocol):
    """What embedding weights are: an estimate of log p_target - log p_raw by whichever estimator."""

    @property
    def num_targets(self) -> int:
        """T."""

    def log_ratio(self, batches: Sequence[EmbeddingBatch]) -> np.ndarray:
        """The weight of each row of raw's and each target, float64 [N, T]."""


@runtime_checkable
class EmbeddingRatioReference(Protocol):
    """A ratio in files: it may be too large to be sent itself."""

    def load(self) -> EmbeddingRatio:
        """The ratio."""


@dataclass(eq=False)
class WriteEmbeddingWeights(beam.PTransform):
    """`DocumentPart`s -> the same, once their embedding weights are in the stage's folder.

    A document whose embedding is not finite gets NaN.

    Attributes:
        stage: where the weights are written.
        documents: the folder with the parts' documents.
        embeddings: the folder with raw's embeddings.
        ratio: PCollection of one `EmbeddingRatioReference`.
    """

    stage: Stage
    documents: str
    embeddings: str
    ratio: beam.PCollection[EmbeddingRatioReference]

    def expand(self, parts: beam.PCollection[DocumentPart]) -> beam.PCollection[DocumentPart]:
        """See the class."""
        scored = parts | "Score" >> beam.ParDo(
            _ScoreDoFn(self.documents, self.embeddings, self.stage.alone()), beam.pvalue.AsSingleton(self.ratio)
        )
        scored | "Manifest" >> WriteManifestOfAll(count_parts, [self.stage])
        return scored


@dataclass(eq=False)
class _ScoreDoFn(beam.DoFn):
    documents: str
    embeddings: str
    stage: Stage

    def setup(self) -> None:
        self._ratio: EmbeddingRatio | None = None

    def process(self, part: DocumentPart, reference: EmbeddingRatioReference) -> Iterator[DocumentPart]:
        if self._ratio is None:
            self._ratio = reference.load()
        if part.rows:
            self._score(part, self._ratio)
        yield part

    def _score(self, part: DocumentPart, ratio: EmbeddingRatio) -> None:
        with (
            PartReader(part_path(self.documents, part.index)) as reader,
            write_weights(part_path(self.stage.folder, part.index), ratio.num_targets) as writer,
        ):
            for key, group in reader.document_groups():
                weights = _group_weights(shard_path(self.embeddings, key), group, ratio)
                writer.add({"weight": weight_column(weights)})
                metrics.count(self.stage.name, documents=len(weights))
                metrics.distribute_weights(self.stage.name, weights)


def _group_weights(path: str, group: pa.Table, ratio: EmbeddingRatio) -> np.ndarray:
    """Weights of a group's documents, float64 [N, T]; raises `UserError` if the shard holds other documents."""
    batches, has_row = read_documents(
        path, group["file"].to_pylist(), group["offset"].to_numpy(), group["text_hash"].to_numpy()
    )
    weights = np.full((len(has_row), ratio.num_targets), np.nan)
    if has_row.any():
        weights[has_row] = ratio.log_ratio(batches)
    return weights
