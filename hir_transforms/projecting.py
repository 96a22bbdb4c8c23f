"""`FitProjection`: principal components of embedding shards on disk."""

import io
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms import storage
from hir_transforms.combining import MergeCombineFn
from hir_transforms.embedding_shards import EmbeddingShard, read_shard
from hir_transforms.numerics.gmm import RowBounds
from hir_transforms.numerics.pca import Moments, effective_dim, principal_components
from hir_transforms.numerics.projection import Projection
from hir_transforms.stages import Stage, WriteStageManifest


@dataclass(frozen=True)
class _Fitted:
    projection: Projection
    explained_variance: float
    rows: int
    warning: str | None


def projection_path(stage: Stage) -> str:
    """Path of a stage's fitted projection."""
    return stage.path("projection.npz")


def load_projection(path: str) -> Projection:
    """A projection that was written by `FitProjection`."""
    with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as arrays:
        return Projection(arrays["projection_mean"], arrays["projection"])


class FitProjection(beam.PTransform):
    """`EmbeddingShard`s -> the `Projection` to their principal components, also written to `projection_path(stage)`.

    Args:
        stage: its manifest is written when the projection is.
        dim: dimensions to keep, at least 1; more than there are become as many as there are, with a warning.
    """

    def __init__(self, stage: Stage, dim: int) -> None:
        super().__init__()
        self._stage = stage
        self._dim = dim

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[Projection]:
        """See the class."""
        spread = shards | "Spread" >> beam.Reshuffle()
        each = spread | "Bounds" >> beam.Map(_bounds)
        bounds = beam.pvalue.AsSingleton(each | "MergeBounds" >> beam.CombineGlobally(MergeCombineFn(RowBounds.merge)))
        fitted = (
            spread
            | "Moments" >> beam.Map(_moments, bounds)
            | "MergeMoments" >> beam.CombineGlobally(MergeCombineFn(Moments.merge))
            | "Fit" >> beam.Map(_fit, bounds, self._dim)
            | "Save" >> beam.Map(_save, projection_path(self._stage))
        )
        fitted | "Counts" >> beam.Map(_counts) | "Manifest" >> WriteStageManifest(self._stage)
        return fitted | "Projection" >> beam.Map(lambda fitted: fitted.projection)


def _rows(shard: EmbeddingShard) -> np.ndarray:
    return np.concatenate([batch.rows for batch in read_shard(shard.path)])


def _bounds(shard: EmbeddingShard) -> RowBounds:
    return RowBounds.from_rows(_rows(shard))


def _moments(shard: EmbeddingShard, bounds: RowBounds) -> Moments:
    return Moments.of(_rows(shard), bounds)


def _fit(moments: Moments, bounds: RowBounds, dim: int) -> _Fitted:
    kept, warning = effective_dim(dim, len(bounds.max_abs), bounds.num_rows)
    projection, shares = principal_components(moments, bounds, kept)
    return _Fitted(projection, float(shares.sum()), bounds.num_rows, warning)


def _save(fitted: _Fitted, path: str) -> _Fitted:
    projection = fitted.projection
    with storage.atomic_write(path) as file:
        np.savez(file, projection_mean=projection.mean, projection=projection.matrix)
    return fitted


def _counts(fitted: _Fitted) -> dict[str, Any]:
    return {
        "rows": fitted.rows,
        "dimensions": fitted.projection.matrix.shape[1],
        "explained_variance": fitted.explained_variance,
        "warning": fitted.warning,
    }
