"""`FitProjection`: principal components of embedding shards on disk."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms import storage
from hir_transforms.combining import Chunk, Gather, MergeCombineFn, SumChunks, from_chunks, to_chunks
from hir_transforms.embedding_shards import EmbeddingShard, read_shard
from hir_transforms.numerics.gmm import RowBounds
from hir_transforms.numerics.pca import Moments, effective_dim, principal_components
from hir_transforms.numerics.projection import Projection
from hir_transforms.stages import Stage, WriteStageManifest


def projection_path(stage: Stage) -> str:
    """Path of a stage's fitted projection."""
    return stage.path("projection.npz")


@dataclass(frozen=True)
class ProjectionFile:
    """A reference to a projection that `FitProjection` wrote: it may be too large to be sent itself."""

    path: str

    def load(self) -> Projection:
        """The projection."""
        with np.load(io.BytesIO(storage.read_bytes(self.path)), allow_pickle=False) as arrays:
            return Projection(arrays["projection_mean"], arrays["projection"])


class FitProjection(beam.PTransform):
    """`EmbeddingShard`s -> the `ProjectionFile` of their principal components, at `projection_path(stage)`.

    Args:
        stage: its manifest is written when the projection is.
        dim: dimensions to keep, at least 1; more than there are become as many as there are, with a warning.
    """

    def __init__(self, stage: Stage, dim: int) -> None:
        super().__init__()
        self._stage = stage
        self._dim = dim

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
            | "Fit" >> beam.Map(_fit, bounds, self._dim, projection_path(self._stage))
        )
        counts | "Manifest" >> WriteStageManifest(self._stage)
        return counts | "Projection" >> beam.Map(lambda _, path: ProjectionFile(path), projection_path(self._stage))


def _rows(shard: EmbeddingShard) -> np.ndarray:
    return np.concatenate([batch.rows for batch in read_shard(shard.path)])


def _bounds(shard: EmbeddingShard) -> RowBounds:
    return RowBounds.from_rows(_rows(shard))


def _moments(shard: EmbeddingShard, bounds: RowBounds) -> Iterator[Chunk]:
    yield from to_chunks(vars(Moments.of(_rows(shard), bounds)))


def _fit(chunks: list[Chunk], bounds: RowBounds, dim: int, path: str) -> dict[str, Any]:
    """Writes the projection; returns the counts for the manifest."""
    sums = from_chunks(chunks)
    num_features = len(sums["sum_x"])
    moments = Moments(sums["num_rows"], sums["sum_x"], sums["sum_xx"].reshape(num_features, num_features))
    kept, warning = effective_dim(dim, num_features, bounds.num_rows)
    projection, shares = principal_components(moments, bounds, kept)
    with storage.atomic_write(path) as file:
        np.savez(file, projection_mean=projection.mean, projection=projection.matrix)
    return {
        "rows": bounds.num_rows,
        "dimensions": projection.matrix.shape[1],
        "explained_variance": float(shares.sum()),
        "warning": warning,
    }
