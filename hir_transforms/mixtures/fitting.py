"""`WriteMixture`: EM over a bounded sample of embeddings, on one worker."""

import functools
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.mixtures import em
from hir_transforms.mixtures.checkpoints import Checkpoints, save_mixture
from hir_transforms.mixtures.em import GaussianMixture, RowBounds
from hir_transforms.mixtures.fit_projection import ProjectionFile
from hir_transforms.mixtures.kmeans_start import effective_components, initial_mixture
from hir_transforms.mixtures.projection import Projection
from hir_transforms.mixtures.sampling import (
    RowSource,
    RowSources,
    SampleRows,
    group_sources,
    last_hash,
    read_rows,
    remove_copies,
)

# Rows of one call of the E-step, whichever way a mixture is fitted: their sums have the same bits.
TASK_ROWS = 8192
_CACHED_BYTES = 256 << 20
_MIN_START_ROWS = 5_000
_MAX_START_ROWS = 20_000
_START_ROWS_PER_COMPONENT = 10


@dataclass(frozen=True)
class MixtureSettings:
    """How a mixture is fitted, and to what.

    Attributes:
        num_components: K; the most there may be where they depend on the rows.
        max_iter, tol: when EM stops.
        seed: of what is random.
        max_samples: the most rows that it is fitted to; None for all.
        target: to the rows of which of several targets; None for all rows.
        rows_per_component: of the rows fitted to, each component gets so many; None for K, whatever the rows.
    """

    num_components: int
    max_iter: int = 100
    tol: float = 1e-3
    seed: int = 0
    max_samples: int | None = None
    target: int | None = None
    rows_per_component: int | None = None

    def components_of(self, num_rows: int) -> tuple[int, str | None]:
        """Components for so many rows, at least one, and a warning where they are fewer than asked for."""
        if self.rows_per_component is None:
            return effective_components(self.num_components, num_rows)
        return min(max(1, num_rows // self.rows_per_component), self.num_components), None

    @property
    def start_rows(self) -> int:
        """Rows that k-means starts from."""
        wanted = _START_ROWS_PER_COMPONENT * self.num_components
        return min(max(wanted, _MIN_START_ROWS), _MAX_START_ROWS)


def mixture_path(stage: Stage) -> str:
    """Path of a stage's fitted mixture: beside the stage's own folder, under its name."""
    return f"{stage.folder}.npz"


def load_mixture(stage: Stage) -> GaussianMixture:
    """The mixture that a complete stage holds."""
    return GaussianMixture.load(io.BytesIO(stage.load(mixture_path(stage))))


@dataclass(frozen=True)
class FittedMixture:
    """A reference to the mixture that a complete stage holds."""

    stage: Stage

    def load(self) -> GaussianMixture:
        """The mixture."""
        return load_mixture(self.stage)


@dataclass(eq=False)
class WriteMixture(beam.PTransform):
    """`EmbeddingShard`s -> the `FittedMixture` of the stage.

    All iterations are done by one worker. Of more rows than `settings.max_samples` it reads a uniform sample, which
    all workers copy beforehand; it holds them in memory while they are few, and else reads them again each iteration.

    Attributes:
        stage: its manifest is written when the mixture is; its settings say how the mixture is fitted.
        projection: PCollection of the one `ProjectionFile` of the rows, which becomes part of the mixture; None for
            none.
        checkpoint_dir: where the mixture after each iteration is kept, for a fit that is interrupted to go on from;
            None to keep none. The result has the same bits as that of a fit without interruption.
    """

    stage: Stage[MixtureSettings]
    _: KW_ONLY
    projection: beam.PCollection[ProjectionFile] | None = None
    checkpoint_dir: str | None = None

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[FittedMixture]:
        """See the class."""
        settings, copies = self.stage.settings, self.stage.path("sample")
        projection = None if self.projection is None else beam.pvalue.AsSingleton(self.projection)
        checkpoints = Checkpoints.of_stage(self.checkpoint_dir, self.stage) if self.checkpoint_dir else None
        sources: beam.PCollection[Any] = shards
        if settings.max_samples is not None:
            sources = shards | "Sample" >> SampleRows(copies, settings.seed, settings.max_samples)
        num_rows = beam.pvalue.AsSingleton(count_rows(shards))
        counts = (
            sources | "Gather" >> Gather() | "Fit" >> beam.Map(_fit, num_rows, self.stage, projection, checkpoints)
        )
        written = counts | "Manifest" >> WriteStageManifest(self.stage)
        if settings.max_samples is not None:
            remove_copies(written, copies)
        return written | "Mixture" >> beam.Map(lambda _, stage: FittedMixture(stage), self.stage)


def count_rows(shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[int]:
    """The number of rows of all shards."""
    return shards | "Rows" >> beam.Map(lambda shard: shard.num_rows) | "SumRows" >> beam.CombineGlobally(sum)


def project(rows: np.ndarray, projection: Projection | None) -> np.ndarray:
    """The rows to fit to, of stored ones: float32 [N, D]."""
    return rows if projection is None else projection.apply(rows)


@dataclass(frozen=True)
class StartRows:
    """The rows that k-means starts from: those of the smallest hashes, in this order.

    Attributes:
        hashes: uint64 [S], ascending.
        rows: float32 [S, D], as stored.
    """

    hashes: np.ndarray
    rows: np.ndarray

    @classmethod
    def first(cls, rows: np.ndarray, hashes: np.ndarray, limit: int) -> "StartRows":
        """The first `limit` of some rows."""
        order = np.argsort(hashes, kind="stable")[:limit]
        return cls(hashes[order], rows[order])

    def with_more(self, rows: np.ndarray, hashes: np.ndarray, limit: int) -> "StartRows":
        """The first `limit` of these and other rows."""
        return self.first(np.concatenate([self.rows, rows]), np.concatenate([self.hashes, hashes]), limit)


def start_mixture(
    start: StartRows, bounds: RowBounds, settings: MixtureSettings, projection: Projection | None
) -> GaussianMixture:
    """The mixture that EM starts from, by k-means; `bounds` are those of all rows to fit to."""
    components, _ = settings.components_of(bounds.num_rows)
    rows = project(start.rows, projection)
    return initial_mixture(rows, min(components, len(rows)), settings.seed)


def finish_mixture(
    mixture: GaussianMixture,
    stage: Stage[MixtureSettings],
    projection: Projection | None,
    num_rows: tuple[int, int],
) -> dict[str, Any]:
    """Writes a mixture that was fitted to projected rows, as one of embeddings as they are stored.

    Args:
        mixture: as fitted.
        stage: whose mixture it is.
        projection: of the rows.
        num_rows: rows fitted to, and rows there are.

    Returns:
        Counts for the stage's manifest.
    """
    save_mixture(mixture_path(stage), replace(mixture, projection=projection))
    return {
        "rows": num_rows[0],
        "sampled_from": num_rows[1],
        "components": mixture.num_components,
        "iterations": len(mixture.log_likelihood),
        "converged": bool(mixture.converged),
        "log_likelihood": float(mixture.log_likelihood[-1]) if len(mixture.log_likelihood) else None,
        "warning": stage.settings.components_of(num_rows[0])[1],
    }


def require_rows(groups: list[RowSources], stage: Stage) -> list[RowSources]:
    """The groups; raises `UserError` if there is no row to fit to."""
    if not groups:
        role = stage.name.rpartition("/")[2].partition("-")[0]
        raise UserError(f"--{role}: no document has a finite embedding to fit {stage.name} to")
    return groups


def _fit(
    sources: list[RowSource],
    num_rows: int,
    stage: Stage,
    projection_file: ProjectionFile | None,
    checkpoints: Checkpoints | None,
) -> dict[str, Any]:
    """Fits and writes the mixture; returns the counts for the manifest."""
    settings = stage.settings
    projection = projection_file.load() if projection_file else None
    groups = require_rows(group_sources(sources, TASK_ROWS), stage)
    last = last_hash(sources, settings.seed, settings.max_samples)
    read = functools.partial(_read, groups, settings.seed, last)
    count_iteration = functools.partial(metrics.count, stage.name, iterations=1)
    mixture, rows = fit_mixture(read, settings, projection, checkpoints, count_iteration)
    return finish_mixture(mixture, stage, projection, (rows, num_rows))


def _read(groups: list[RowSources], seed: int, last: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return (read_rows(group, seed, last) for group in groups)


def fit_mixture(
    read: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
    settings: MixtureSettings,
    projection: Projection | None = None,
    checkpoints: Checkpoints | None = None,
    after_iteration: Callable[[], None] = lambda: None,
) -> tuple[GaussianMixture, int]:
    """All iterations in one place, on rows that are held in memory while they are few, and else read again.

    Args:
        read: batches of at least one row and at most `TASK_ROWS`, float32 [N, D], with hashes that tell which rows
            k-means starts from, uint64 [N]; always the same ones, in the same order.
        settings: how the mixture is fitted.
        projection: of the rows; None for none.
        checkpoints: where the mixture after each iteration is kept; None for nowhere.
        after_iteration: called after each.

    Returns:
        The mixture, of projected rows, and the number of rows.
    """
    cache: list[np.ndarray] | None = []
    bounds: RowBounds | None = None
    start: StartRows | None = None
    for stored, hashes in read():
        start = (
            start.with_more(stored, hashes, settings.start_rows)
            if start
            else StartRows.first(stored, hashes, settings.start_rows)
        )
        rows = project(stored, projection)
        bounds = bounds.merge(RowBounds.from_rows(rows)) if bounds else RowBounds.from_rows(rows)
        if cache is not None:
            cache.append(rows)
            if bounds.num_rows * rows[:1].nbytes > _CACHED_BYTES:
                cache = None
    assert start
    assert bounds
    mixture = checkpoints.newest(settings.max_iter, settings.tol) if checkpoints else None
    mixture = mixture or start_mixture(start, bounds, settings, projection)
    batches = functools.partial(iter, cache) if cache else lambda: (project(rows, projection) for rows, _ in read())
    while not mixture.converged and len(mixture.log_likelihood) < settings.max_iter:
        use_one_thread()
        mixture = em.fit(batches, mixture, bounds, max_iter=1, tol=settings.tol)
        if checkpoints:
            checkpoints.save(mixture)
        after_iteration()
    return mixture, bounds.num_rows
