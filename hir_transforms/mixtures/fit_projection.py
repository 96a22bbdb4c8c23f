"""`WriteProjection`: principal components of embedding shards on disk."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common.combining import Chunk, Gather, MergeCombineFn, SumChunks, from_chunks, to_chunks
from hir_transforms.embeddings.shards import EmbeddingShard, read_shard
from hir_transforms.files import storage
from hir_transforms.mixtures.em import RowBounds
from hir_transforms.mixtures.pca import Moments, effective_dim, principal_components
from hir_transforms.mixtures.projection import Projection


@dataclass(frozen=True)
class ProjectionSettings:
    """How many dimensions to keep, at least 1; more than there are become as many as there are, with a warning."""

    dim: int


def _path(stage: Stage) -> str:
    """Path of a stage's fitted projection."""
    return stage.path("projection.npz")


@dataclass(frozen=True)
class ProjectionFile:
    """A reference to the projection that a complete stage holds: it may be too large to be sent itself."""

    stage: Stage

    def load(self) -> Projection:
        """The projection."""
        with np.load(io.BytesIO(self.stage.load(_path(self.stage))), allow_pickle=False) as arrays:
            return Projection(arrays["projection_mean"], arrays["projection"])


@dataclass(eq=False)
class WriteProjection(beam.PTransform):
    """`EmbeddingShard`s -> the `ProjectionFile` of their principal components, in the stage's folder."""

    stage: Stage[ProjectionSettings]

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[ProjectionFile]:
        """See the class."""
        spread = shards | "Spread" >> beam.Reshuffle()
        each = spread | "Bounds" >> beam.Map(_bounds)
        bounds = beam.pvalue.AsSingleton(each | "MergeBounds" >> beam.CombineGlobally(MergeCombineFn(RowBounds.merge)))
        counts = (
            spread
            | "Moments" >> beam.FlatMap(_moments, bounds)
            | "SumMoments" >> SumChunks()
            | "GatherMoments" >> Gather()
            | "Fit" >> beam.Map(_fit, bounds, self.stage)
        )
        written = counts | "Manifest" >> WriteStageManifest(self.stage)
        return written | "Projection" >> beam.Map(lambda _, stage: ProjectionFile(stage), self.stage)


def _rows(shard: EmbeddingShard) -> np.ndarray:
    return np.concatenate([batch.rows for batch in read_shard(shard.path)])


def _bounds(shard: EmbeddingShard) -> RowBounds:
    return RowBounds.from_rows(_rows(shard))


def _moments(shard: EmbeddingShard, bounds: RowBounds) -> Iterator[Chunk]:
    yield from to_chunks(vars(Moments.of(_rows(shard), bounds)))


def _fit(chunks: list[Chunk], bounds: RowBounds, stage: Stage) -> dict[str, Any]:
    """Writes the projection; returns the counts for the manifest."""
    sums = from_chunks(chunks)
    num_features = len(sums["sum_x"])
    moments = Moments(sums["num_rows"], sums["sum_x"], sums["sum_xx"].reshape(num_features, num_features))
    kept, warning = effective_dim(stage.settings.dim, num_features, bounds.num_rows)
    projection, shares = principal_components(moments, bounds, kept)
    with storage.atomic_write(_path(stage)) as file:
        np.savez(file, projection_mean=projection.mean, projection=projection.matrix)
    return {
        "rows": bounds.num_rows,
        "dimensions": projection.matrix.shape[1],
        "explained_variance": float(shares.sum()),
        "warning": warning,
    }
