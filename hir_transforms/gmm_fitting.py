"""`FitGaussianMixture`: EM over embedding shards on disk; only statistics move between workers."""

import copy
import functools
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from threadpoolctl import threadpool_limits

from hir_transforms import storage
from hir_transforms.combining import MergeCombineFn
from hir_transforms.embedding_shards import EmbeddingShard, read_shard
from hir_transforms.numerics import gmm
from hir_transforms.numerics.gmm import GaussianMixture, RowBounds, SufficientStatistics
from hir_transforms.numerics.gmm_init import effective_components, initial_mixture
from hir_transforms.numerics.gumbel import identity_hash
from hir_transforms.stages import Stage, WriteStageManifest

_TASK_ROWS = 8192
_CACHED_BYTES = 256 << 20
_MIN_SAMPLE_ROWS = 5_000
_MAX_SAMPLE_ROWS = 20_000
_SAMPLE_ROWS_PER_COMPONENT = 10

ShardRows = tuple[EmbeddingShard, ...]


@dataclass(frozen=True)
class MixtureSettings:
    """How a mixture is fitted."""

    num_components: int
    max_iter: int
    tol: float
    seed: int

    @property
    def sample_rows(self) -> int:
        """Rows that k-means starts from."""
        wanted = _SAMPLE_ROWS_PER_COMPONENT * self.num_components
        return min(max(wanted, _MIN_SAMPLE_ROWS), _MAX_SAMPLE_ROWS)


@dataclass(frozen=True)
class RowSummary:
    """Bounds of rows, and a uniform sample: the rows with the smallest hashed identities.

    Attributes:
        bounds: of all rows.
        hashes: uint64 [S], ascending.
        rows: float32 [S, D], the rows of these hashes.
        limit: most rows that a sample holds.
    """

    bounds: RowBounds
    hashes: np.ndarray
    rows: np.ndarray
    limit: int

    @classmethod
    def of(cls, shards: ShardRows, settings: MixtureSettings) -> "RowSummary":
        """Summary of all rows of some shards."""
        batches = [batch for shard in shards for batch in read_shard(shard.path)]
        rows = np.concatenate([batch.rows for batch in batches])
        hashes = np.concatenate([identity_hash(settings.seed, batch.name, batch.offsets) for batch in batches])
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
    bounds: RowBounds
    warning: str | None


def mixture_path(stage: Stage) -> str:
    """Path of a stage's fitted mixture: beside the stage's own folder, under its name."""
    return f"{stage.folder}.npz"


def load_mixture(path: str) -> GaussianMixture:
    """A mixture that was written by `FitGaussianMixture`."""
    return GaussianMixture.load(io.BytesIO(storage.read_bytes(path)))


class FitGaussianMixture(beam.PTransform):
    """`EmbeddingShard`s -> the fitted `GaussianMixture`, also written to `mixture_path(stage)`.

    Args:
        stage: its manifest is written when the mixture is.
        settings: components, iterations, tolerance, seed.
        unrolled: whether each iteration is a step of the graph over all workers. The alternative, one worker that
            does all iterations, gives the same mixture bit by bit, and spares a small corpus the runner's time.
    """

    def __init__(self, stage: Stage, settings: MixtureSettings, *, unrolled: bool) -> None:
        super().__init__()
        self._stage = stage
        self._settings = settings
        self._unrolled = unrolled

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[GaussianMixture]:
        """See the class."""
        # One key: all references to shards meet, so that shards can be put together in corpus order.
        tasks = shards | "Gather" >> beam.combiners.ToList() | "Arrange" >> beam.Map(arrange_shards)
        fit = self._fit_unrolled if self._unrolled else self._fit_on_one_worker
        state = fit(tasks) | "Save" >> beam.Map(_save, mixture_path(self._stage))
        state | "Counts" >> beam.Map(_counts) | "Manifest" >> WriteStageManifest(self._stage)
        return state | "Mixture" >> beam.Map(lambda state: state.mixture)

    def _fit_on_one_worker(self, tasks: beam.PCollection[list[ShardRows]]) -> beam.PCollection[FitState]:
        return tasks | "Elsewhere" >> beam.Reshuffle() | "Fit" >> beam.Map(_fit_on_one_worker, self._settings)

    def _fit_unrolled(self, tasks: beam.PCollection[list[ShardRows]]) -> beam.PCollection[FitState]:
        settings = self._settings
        spread = tasks | "Each" >> beam.FlatMap(lambda tasks: tasks) | "Spread" >> beam.Reshuffle()
        state = (
            spread
            | "Summarise" >> beam.Map(RowSummary.of, settings)
            | "Merge" >> beam.CombineGlobally(MergeCombineFn(RowSummary.merge))
            | "Start" >> beam.Map(_start, settings)
        )
        for iteration in range(1, settings.max_iter + 1):
            statistics = (
                spread
                | f"Expectation{iteration}" >> beam.FlatMap(_expectation, beam.pvalue.AsSingleton(state))
                | f"Sum{iteration}" >> beam.CombineGlobally(MergeCombineFn(_add_statistics))
            )
            state = state | f"Maximization{iteration}" >> beam.Map(
                _maximization, beam.pvalue.AsSingleton(statistics), settings.tol
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


def _read_rows(shards: ShardRows) -> np.ndarray:
    return np.concatenate([batch.rows for shard in shards for batch in read_shard(shard.path)])


def _start(summary: RowSummary, settings: MixtureSettings) -> FitState:
    components, warning = effective_components(settings.num_components, summary.bounds.num_rows)
    mixture = initial_mixture(summary.rows, min(components, len(summary.rows)), settings.seed)
    return FitState(mixture, summary.bounds, warning)


def _expectation(shards: ShardRows, state: FitState) -> Iterator[SufficientStatistics]:
    if not state.mixture.converged:
        with threadpool_limits(1):
            yield gmm.expectation(_read_rows(shards), state.mixture, state.bounds)


def _add_statistics(one: SufficientStatistics, other: SufficientStatistics) -> SufficientStatistics:
    both = copy.deepcopy(one)
    both.add(other)
    return both


def _maximization(state: FitState, statistics: SufficientStatistics | None, tol: float) -> FitState:
    if statistics is None:  # converged earlier: no statistics were made
        return state
    return FitState(gmm.maximization(statistics, state.mixture, state.bounds, tol=tol), state.bounds, state.warning)


def _fit_on_one_worker(tasks: list[ShardRows], settings: MixtureSettings) -> FitState:
    """All iterations in one place, over rows in memory while they are few, else read again each time."""
    summary = functools.reduce(RowSummary.merge, (RowSummary.of(task, settings) for task in tasks))
    state = _start(summary, settings)
    batches = functools.partial(map, _read_rows, tasks)
    if summary.bounds.num_rows * state.mixture.num_features * 4 <= _CACHED_BYTES:
        cached = list(batches())
        batches = functools.partial(iter, cached)
    with threadpool_limits(1):
        mixture = gmm.fit(batches, state.mixture, state.bounds, max_iter=settings.max_iter, tol=settings.tol)
    return FitState(mixture, state.bounds, state.warning)


def _save(state: FitState, path: str) -> FitState:
    with storage.atomic_write(path) as file:
        state.mixture.save(file)
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
