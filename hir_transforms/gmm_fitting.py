"""`FitGaussianMixture`: EM over embedding shards on disk; only statistics move between workers."""

import copy
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.combining import MergeCombineFn
from hir_transforms.embedding_shards import EmbeddingShard
from hir_transforms.errors import UserError
from hir_transforms.gmm_checkpoints import Checkpoints, save_mixture
from hir_transforms.gmm_sampling import FindSample, RowSample, ShardRows, find_sample
from hir_transforms.numerics import gmm
from hir_transforms.numerics.gmm import GaussianMixture, RowBounds, SufficientStatistics
from hir_transforms.numerics.gmm_init import effective_components, initial_mixture
from hir_transforms.numerics.projection import Projection
from hir_transforms.numerics.threads import use_one_thread
from hir_transforms.stages import Stage, WriteStageManifest

_TASK_ROWS = 8192
_CACHED_BYTES = 256 << 20
_MIN_SAMPLE_ROWS = 5_000
_MAX_SAMPLE_ROWS = 20_000
_SAMPLE_ROWS_PER_COMPONENT = 10


@dataclass(frozen=True)
class MixtureSettings:
    """How a mixture is fitted; `max_samples` is the most rows it is fitted to, None for all."""

    num_components: int
    max_iter: int
    tol: float
    seed: int
    max_samples: int | None = None

    @property
    def sample_rows(self) -> int:
        """Rows that k-means starts from."""
        wanted = _SAMPLE_ROWS_PER_COMPONENT * self.num_components
        return min(max(wanted, _MIN_SAMPLE_ROWS), _MAX_SAMPLE_ROWS)


@dataclass(frozen=True)
class RowSummary:
    """Bounds of the rows to fit to, and a uniform sample of these: the rows with the smallest hashed identities.

    Attributes:
        bounds: of all rows to fit to.
        hashes: uint64 [S], ascending.
        rows: float32 [S, D], the rows of these hashes.
        limit: most rows that a sample holds.
    """

    bounds: RowBounds
    hashes: np.ndarray
    rows: np.ndarray
    limit: int

    @classmethod
    def of(
        cls, shards: ShardRows, sample: RowSample, settings: MixtureSettings, projection: Projection | None = None
    ) -> "RowSummary":
        """Summary of the rows of some shards that are in the sample to fit to, as projected."""
        rows, hashes = sample.read(shards)
        rows = _project(rows, projection)
        return cls(RowBounds.from_rows(rows), hashes, rows, settings.sample_rows)._smallest()

    def merge(self, other: "RowSummary") -> "RowSummary":
        """Summary of both; the smallest of the smallest, so the order does not matter."""
        return RowSummary(
            self.bounds.merge(other.bounds),
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.rows, other.rows]),
            self.limit,
        )._smallest()

    def _smallest(self) -> "RowSummary":
        order = np.argsort(self.hashes, kind="stable")[: self.limit]
        return RowSummary(self.bounds, self.hashes[order], self.rows[order], self.limit)


@dataclass(frozen=True)
class FitState:
    """A mixture on its way: what each step passes to the next."""

    mixture: GaussianMixture
    sample: RowSample
    bounds: RowBounds
    warning: str | None


def mixture_path(stage: Stage) -> str:
    """Path of a stage's fitted mixture: beside the stage's own folder, under its name."""
    return f"{stage.folder}.npz"


class FitGaussianMixture(beam.PTransform):
    """`EmbeddingShard`s -> the fitted `GaussianMixture`, also written to `mixture_path(stage)`.

    Args:
        stage: its manifest is written when the mixture is.
        settings: components, iterations, tolerance, seed.
        unrolled: whether each iteration is a step of the graph over all workers. The alternative, one worker that
            does all iterations, gives the same mixture bit by bit, and spares a small corpus the runner's time.
        projection: PCollection of one `Projection` of the rows, which becomes part of the mixture; None for none.
        checkpoint_dir: where the mixture after each iteration is kept, for a fit that is interrupted to go on from;
            None to keep none. The result has the same bits as that of a fit without interruption.
    """

    def __init__(
        self,
        stage: Stage,
        settings: MixtureSettings,
        *,
        unrolled: bool,
        projection: beam.PCollection[Projection] | None = None,
        checkpoint_dir: str | None = None,
    ) -> None:
        super().__init__()
        self._stage = stage
        self._settings = settings
        self._unrolled = unrolled
        self._projection = None if projection is None else beam.pvalue.AsSingleton(projection)
        self._checkpoints = Checkpoints.of_stage(checkpoint_dir, stage) if checkpoint_dir else None

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[GaussianMixture]:
        """See the class."""
        # One key: all references to shards meet, so that shards can be put together in corpus order.
        tasks = shards | "Gather" >> beam.combiners.ToList() | "Arrange" >> beam.Map(_arrange, self._stage)
        fit = self._fit_unrolled if self._unrolled else self._fit_on_one_worker
        state = (
            fit(tasks)
            | "Project" >> beam.Map(_with_projection, self._projection)
            | "Save" >> beam.Map(_save, mixture_path(self._stage))
        )
        state | "Counts" >> beam.Map(_counts) | "Manifest" >> WriteStageManifest(self._stage)
        return state | "Mixture" >> beam.Map(lambda state: state.mixture)

    def _fit_on_one_worker(self, tasks: beam.PCollection[list[ShardRows]]) -> beam.PCollection[FitState]:
        return (
            tasks
            | "Elsewhere" >> beam.Reshuffle()
            | "Fit" >> beam.Map(_fit_on_one_worker, self._settings, self._projection, self._checkpoints)
        )

    def _fit_unrolled(self, tasks: beam.PCollection[list[ShardRows]]) -> beam.PCollection[FitState]:
        settings, projection = self._settings, self._projection
        spread = tasks | "Each" >> beam.FlatMap(lambda tasks: tasks) | "Spread" >> beam.Reshuffle()
        sample = beam.pvalue.AsSingleton(spread | "Sample" >> FindSample(settings.seed, settings.max_samples))
        checkpoint = self._checkpoints.newest(settings.max_iter, settings.tol) if self._checkpoints else None
        state = (
            spread
            | "Summarise" >> beam.Map(RowSummary.of, sample, settings, projection)
            | "Merge" >> beam.CombineGlobally(MergeCombineFn(RowSummary.merge)).without_defaults()
            | "Start" >> beam.Map(_start, sample, settings, checkpoint)
        )
        done = len(checkpoint.log_likelihood) if checkpoint else 0
        for iteration in range(done + 1, settings.max_iter + 1):
            # A default would make the sum a side input once more, and each iteration two steps longer.
            statistics = (
                spread
                | f"Expectation{iteration}" >> beam.FlatMap(_expectation, beam.pvalue.AsSingleton(state), projection)
                | f"Sum{iteration}" >> beam.CombineGlobally(MergeCombineFn(_add_statistics)).without_defaults()
            )
            state = state | f"Maximization{iteration}" >> beam.Map(
                _maximization,
                beam.pvalue.AsSingleton(statistics, default_value=None),
                settings.tol,
                self._checkpoints,
            )
        return state


def arrange_shards(shards: Sequence[EmbeddingShard]) -> list[ShardRows]:
    """Shards in corpus order, neighbours together up to about 8192 rows: what one task of a pass reads."""
    tasks: list[ShardRows] = []
    pending: list[EmbeddingShard] = []
    for shard in sorted(shard for shard in shards if shard.num_rows):
        if pending and sum(other.num_rows for other in pending) + shard.num_rows > _TASK_ROWS:
            tasks.append(tuple(pending))
            pending = []
        pending.append(shard)
    return [*tasks, tuple(pending)] if pending else tasks


def _arrange(shards: list[EmbeddingShard], stage: Stage) -> list[ShardRows]:
    tasks = arrange_shards(shards)
    if not tasks:
        role = stage.name.rpartition("/")[2].partition("-")[0]
        raise UserError(f"--{role}: no document has a finite embedding to fit {stage.name} to")
    return tasks


def _project(rows: np.ndarray, projection: Projection | None) -> np.ndarray:
    return rows if projection is None else projection.apply(rows)


def _read_rows(shards: ShardRows, sample: RowSample, projection: Projection | None) -> np.ndarray:
    return _project(sample.read(shards)[0], projection)


def _start(
    summary: RowSummary, sample: RowSample, settings: MixtureSettings, checkpoint: GaussianMixture | None
) -> FitState:
    """The state to start from: that of the checkpoint, else k-means'."""
    components, warning = effective_components(settings.num_components, summary.bounds.num_rows)
    mixture = checkpoint or initial_mixture(summary.rows, min(components, len(summary.rows)), settings.seed)
    return FitState(mixture, sample, summary.bounds, warning)


def _expectation(shards: ShardRows, state: FitState, projection: Projection | None) -> Iterator[SufficientStatistics]:
    if not state.mixture.converged:
        rows = _read_rows(shards, state.sample, projection)
        use_one_thread()
        yield gmm.expectation(rows, state.mixture, state.bounds)


def _add_statistics(one: SufficientStatistics, other: SufficientStatistics) -> SufficientStatistics:
    both = copy.deepcopy(one)
    both.add(other)
    return both


def _maximization(
    state: FitState, statistics: SufficientStatistics | None, tol: float, checkpoints: Checkpoints | None
) -> FitState:
    if statistics is None:  # converged earlier: no statistics were made
        return state
    mixture = gmm.maximization(statistics, state.mixture, state.bounds, tol=tol)
    if checkpoints:
        checkpoints.save(mixture)
    return replace(state, mixture=mixture)


def _fit_on_one_worker(
    tasks: list[ShardRows], settings: MixtureSettings, projection: Projection | None, checkpoints: Checkpoints | None
) -> FitState:
    """All iterations in one place, over rows in memory while they are few, else read again each time."""
    sample = find_sample(tasks, settings.seed, settings.max_samples)
    summary = functools.reduce(RowSummary.merge, (RowSummary.of(task, sample, settings, projection) for task in tasks))
    state = _start(
        summary, sample, settings, checkpoints.newest(settings.max_iter, settings.tol) if checkpoints else None
    )
    batches = functools.partial(map, functools.partial(_read_rows, sample=sample, projection=projection), tasks)
    if summary.bounds.num_rows * state.mixture.num_features * 4 <= _CACHED_BYTES:
        cached = list(batches())
        batches = functools.partial(iter, cached)
    mixture = state.mixture
    while not mixture.converged and len(mixture.log_likelihood) < settings.max_iter:
        use_one_thread()
        mixture = gmm.fit(batches, mixture, state.bounds, max_iter=1, tol=settings.tol)
        if checkpoints:
            checkpoints.save(mixture)
    return replace(state, mixture=mixture)


def _with_projection(state: FitState, projection: Projection | None) -> FitState:
    """Makes the mixture one of embeddings as they are stored; until here it is one of projected rows."""
    return replace(state, mixture=replace(state.mixture, projection=projection))


def _save(state: FitState, path: str) -> FitState:
    save_mixture(path, state.mixture)
    return state


def _counts(state: FitState) -> dict[str, Any]:
    mixture = state.mixture
    return {
        "rows": state.bounds.num_rows,
        "components": mixture.num_components,
        "iterations": len(mixture.log_likelihood),
        "converged": bool(mixture.converged),
        "log_likelihood": float(mixture.log_likelihood[-1]) if len(mixture.log_likelihood) else None,
        "warning": state.warning,
    }
