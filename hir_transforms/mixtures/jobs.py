"""`AdvanceMixture`: EM over all embeddings, a few iterations on all workers a job, as often as it takes.

One job of all iterations would be refused or take for ever to plan: runners limit how many steps may read one
PCollection, and walk every path of the graph. So a job has few iterations, one path leads from each to the next, and
what they hand on is the path of a checkpoint. The statistics of an iteration travel in small pieces.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common import metrics
from hir_transforms.common.combining import Chunk, Gather, MergeCombineFn, SumChunks, chunks_of_bundle, from_chunks
from hir_transforms.common.threads import use_one_thread
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.files import storage
from hir_transforms.mixtures import em
from hir_transforms.mixtures.checkpoints import Checkpoints, read_mixture
from hir_transforms.mixtures.em import GaussianMixture, RowBounds, SufficientStatistics
from hir_transforms.mixtures.fit_projection import ProjectionFile
from hir_transforms.mixtures.fitting import (
    TASK_ROWS,
    MixtureSettings,
    StartRows,
    count_rows,
    finish_mixture,
    project,
    require_rows,
    start_mixture,
)
from hir_transforms.mixtures.projection import Projection
from hir_transforms.mixtures.sampling import RowSource, RowSources, SampleRows, group_sources, read_rows

ITERATIONS_PER_JOB = 8


@dataclass(frozen=True)
class MixtureFit:
    """A mixture on its way from job to job.

    Attributes:
        stage: its manifest is written when the mixture is; its settings say how it is fitted, to all rows.
        projection: of the rows; None for none.
        checkpoint_dir: where the mixtures of the iterations are kept; None for a folder within that of the stage.
    """

    stage: Stage[MixtureSettings]
    projection: ProjectionFile | None
    checkpoint_dir: str | None

    @property
    def settings(self) -> MixtureSettings:
        """How it is fitted."""
        return self.stage.settings

    @property
    def checkpoints(self) -> Checkpoints:
        """What one job leaves to the next."""
        return Checkpoints.of_stage(self.checkpoint_dir or self.stage.path("checkpoints"), self.stage)

    @property
    def start_folder(self) -> str:
        """Where the rows that k-means starts from are copied to."""
        return self.stage.path("start")

    def newest(self) -> GaussianMixture | None:
        """The mixture of the newest checkpoint."""
        return self.checkpoints.newest(self.settings.max_iter, self.settings.tol)

    def load_projection(self) -> Projection | None:
        """The projection itself."""
        return self.projection.load() if self.projection else None


@dataclass(eq=False)
class AdvanceMixture(beam.PTransform):
    """`EmbeddingShard`s -> nothing, once some more iterations of a fit are kept as checkpoints.

    The job that comes to the end of the fit, by convergence or the number of iterations, writes the mixture and the
    manifest. The mixture has the same bits as that of `WriteMixture`.
    """

    fit: MixtureFit

    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[Any]:
        """See the class."""
        fit, checkpoints = self.fit, self.fit.checkpoints
        newest = fit.newest()
        ended = newest is not None and newest.converged
        done = len(newest.log_likelihood) if newest else 0
        groups = (
            shards
            | "Gather" >> Gather()
            | "Group"
            >> beam.FlatMap(lambda found, stage: require_rows(group_sources(found, TASK_ROWS), stage), fit.stage)
            | "Spread" >> beam.Reshuffle()
        )
        begin = None if ended else checkpoints.path(done)
        if newest is None or not checkpoints.has_bounds():
            state = self._start(shards, groups) | "Begin" >> beam.Map(lambda _, begin: begin, begin)
        else:
            state = shards.pipeline | "Begin" >> beam.Create([begin])
        last = done if ended else min(fit.settings.max_iter, done + ITERATIONS_PER_JOB)
        for iteration in range(done + 1, last + 1):
            state = (
                groups
                | f"Expectation{iteration}" >> beam.ParDo(_ExpectationDoFn(fit), beam.pvalue.AsSingleton(state))
                | f"Sum{iteration}" >> SumChunks()
                | f"Gather{iteration}" >> Gather()
                | f"Maximization{iteration}" >> beam.Map(_maximization, iteration, fit)
            )
        num_rows = beam.pvalue.AsSingleton(count_rows(shards))
        written = (
            state | "Finish" >> beam.FlatMap(_finish, num_rows, fit) | "Manifest" >> WriteStageManifest(fit.stage)
        )
        # After a shuffle, so that no other attempt to finish can come later.
        return written | "Finished" >> beam.Reshuffle() | "Remove" >> beam.Map(_remove, fit)

    def _start(
        self, shards: beam.PCollection[EmbeddingShard], groups: beam.PCollection[RowSources]
    ) -> beam.PCollection[None]:
        """One element once the bounds of all rows are kept, and what EM starts from."""
        fit = self.fit
        bounds = (
            groups
            | "Bounds" >> beam.Map(_bounds, fit)
            | "MergeBounds" >> beam.CombineGlobally(MergeCombineFn(RowBounds.merge))
        )
        return (
            shards
            | "Sample" >> SampleRows(fit.start_folder, fit.settings.seed, fit.settings.start_rows)
            | "GatherSample" >> Gather()
            | "Start" >> beam.Map(_start, beam.pvalue.AsSingleton(bounds), fit)
        )


def _bounds(group: RowSources, fit: MixtureFit) -> RowBounds:
    return RowBounds.from_rows(project(read_rows(group, fit.settings.seed)[0], fit.load_projection()))


def _start(sources: list[RowSource], bounds: RowBounds, fit: MixtureFit) -> None:
    settings, checkpoints = fit.settings, fit.checkpoints
    if fit.newest() is None:
        start = StartRows.first(*read_rows(tuple(sorted(sources)), settings.seed), settings.start_rows)
        checkpoints.save(start_mixture(start, bounds, settings, fit.load_projection()))
    checkpoints.save_bounds(bounds)


@dataclass(eq=False)
class _ExpectationDoFn(beam.DoFn):
    """Sums a bundle's statistics before it emits them."""

    fit: MixtureFit

    def setup(self) -> None:
        self._projection = self.fit.load_projection()
        self._path: str | None = None

    def start_bundle(self) -> None:
        self._statistics: SufficientStatistics | None = None

    def process(self, group: RowSources, path: str | None) -> None:
        if path is None:  # the fit has ended
            return
        if path != self._path:
            self._path, self._mixture, self._bounds = path, read_mixture(path), self.fit.checkpoints.load_bounds()
        rows = project(read_rows(group, self.fit.settings.seed)[0], self._projection)
        use_one_thread()
        self._statistics = em.expectation(rows, self._mixture, self._bounds, self._statistics)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._statistics is not None:
            yield from chunks_of_bundle(vars(self._statistics))


def _maximization(chunks: list[Chunk], iteration: int, fit: MixtureFit) -> str | None:
    """Keeps the mixture of an iteration; returns its path, None if the fit has ended."""
    if not chunks:  # it ended before
        return None
    sums = from_chunks(chunks)
    checkpoints = fit.checkpoints
    # Kept by a fit to another tolerance it may say that it has converged.
    before = replace(read_mixture(checkpoints.path(iteration - 1)), converged=False)
    for name in ("sum_x", "sum_xx"):
        sums[name] = sums[name].reshape(before.means.shape)
    mixture = em.maximization(SufficientStatistics(**sums), before, checkpoints.load_bounds(), tol=fit.settings.tol)
    checkpoints.save(mixture)
    metrics.count(fit.stage.name, iterations=1)
    return None if mixture.converged else checkpoints.path(iteration)


def _finish(_: str | None, num_rows: int, fit: MixtureFit) -> Iterator[dict[str, Any]]:
    """Writes the mixture and yields the counts, if the fit has ended."""
    mixture = fit.newest()
    if mixture and (mixture.converged or len(mixture.log_likelihood) == fit.settings.max_iter):
        yield finish_mixture(mixture, fit.stage, fit.load_projection(), (num_rows, num_rows))


def _remove(counts: dict[str, Any], fit: MixtureFit) -> dict[str, Any]:
    """Removes what only the next job would need."""
    storage.remove_folder(fit.start_folder)
    if fit.checkpoint_dir is None:
        storage.remove_folder(fit.stage.path("checkpoints"))
    return counts
