"""The embedding part of the graph: embeddings, their projection, and the mixtures."""

import itertools
from collections.abc import Callable, Collection
from functools import cached_property

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.combining import Gather
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.graph.embeddings import embedding_shards
from hir_transforms.graph.plan import EmbeddingStages
from hir_transforms.mixtures.fit_projection import FitProjection, ProjectionFile
from hir_transforms.mixtures.fitting import FitGaussianMixture, FittedMixture, MixtureSettings
from hir_transforms.mixtures.given import GivenMixture
from hir_transforms.mixtures.jobs import AdvanceMixture, MixtureFit
from hir_transforms.settings.config import SelectConfig
from hir_transforms.weights.mixture_weights import MixtureRatioFiles, MixtureReference


class EmbeddingGraph:
    """PCollections of embeddings and mixtures, each added to the pipeline when it is first asked for.

    Args:
        pipeline: to add to.
        config: the settings.
        stages: as planned.
        missing: names of the stages to compute; the others are complete and read from their artefacts.
        after: for "raw" or "target", a PCollection of one that is there before it is embedded; None for none.
    """

    def __init__(
        self,
        pipeline: beam.Pipeline,
        config: SelectConfig,
        stages: EmbeddingStages,
        missing: frozenset[str],
        after: Callable[[str], beam.PCollection | None],
    ) -> None:
        self._pipeline = pipeline
        self._config = config
        self._stages = stages
        self._missing = missing
        self._after = after

    def build(self, names: Collection[str]) -> None:
        """Adds what makes the stages of these names complete."""
        stages = self._stages
        if stages.raw.name in names:
            _ = self.raw_shards
        if stages.target and stages.target.name in names:
            _ = self.target_shards
        if stages.projection and stages.projection.name in names:
            _ = self._projection
        if {mixture.name for mixture in stages.mixtures} & set(names):
            _ = self.mixtures

    def advance(self, mixture: Stage[MixtureSettings]) -> None:
        """Adds some more iterations of a mixture's fit; what it is fitted to must be complete."""
        projection = ProjectionFile(self._stages.projection) if self._stages.projection else None
        fit = MixtureFit(mixture, projection, self._config.gmm_checkpoint_dir)
        _ = self._shards_of(mixture) | f"Advance {mixture.name}" >> AdvanceMixture(fit)

    @cached_property
    def raw_shards(self) -> beam.PCollection:
        """Raw's embedding shards."""
        return self._shards(self._stages.raw)

    @cached_property
    def target_shards(self) -> beam.PCollection:
        """The embedding shards of all targets."""
        assert self._stages.target
        return self._shards(self._stages.target)

    def _shards(self, stage: Stage[EmbeddingSource]) -> beam.PCollection:
        if stage.name not in self._missing:
            return embedding_shards(self._pipeline, stage, complete=True)
        after = self._after(stage.dataset.role)
        return embedding_shards(self._pipeline, stage, complete=False, after=after)

    @cached_property
    def target_rows(self) -> beam.PCollection:
        """The number of rows of each target, one tuple of T integers."""
        return (
            self.target_shards
            | "Gather" >> Gather()
            | "RowsOfTargets" >> beam.Map(_rows_of_targets, self._target_starts)
        )

    @property
    def ratio(self) -> beam.PCollection:
        """The one `MixtureRatioFiles`; there once raw's embeddings are, so that what it goes to may read them."""
        ready = self.raw_shards | "AllRawEmbeddings" >> beam.combiners.Count.Globally()
        raw, *targets = (beam.pvalue.AsSingleton(mixture) for mixture in self.mixtures)
        return ready | "MixtureRatio" >> beam.Map(_ratio, self._stages.raw.folder, raw, *targets)

    @cached_property
    def mixtures(self) -> list[beam.PCollection]:
        """The reference to raw's mixture and that of each target, each a PCollection of one."""
        raw = self._mixture("RawMixture", self._stages.raw_mixture)
        targets = [
            self._mixture(f"TargetMixture{number}", mixture)
            for number, mixture in enumerate(self._stages.target_mixtures)
        ]
        return [raw, *targets]

    def _mixture(self, label: str, mixture: Stage[MixtureSettings] | GivenMixture) -> beam.PCollection:
        if isinstance(mixture, GivenMixture):
            return self._pipeline | label >> beam.Create([mixture])
        if mixture.name not in self._missing:
            return self._pipeline | label >> beam.Create([FittedMixture(mixture)])
        return self._shards_of(mixture) | label >> FitGaussianMixture(
            mixture, projection=self._projection, checkpoint_dir=self._config.gmm_checkpoint_dir
        )

    def _shards_of(self, mixture: Stage[MixtureSettings]) -> beam.PCollection:
        """The embedding shards that a mixture is fitted to."""
        if mixture == self._stages.raw_mixture:
            return self.raw_shards
        target = mixture.settings.target
        if target is None:
            return self.target_shards
        first, end = self._target_starts[target : target + 2]
        return self.target_shards | f"Target{target}" >> beam.Filter(_is_between, first, end)

    @property
    def _target_starts(self) -> list[int]:
        assert self._stages.target
        return self._stages.target.dataset.target_starts()

    @cached_property
    def _projection(self) -> beam.PCollection | None:
        stage = self._stages.projection
        if stage is None:
            return None
        if stage.name not in self._missing:
            return self._pipeline | "Projection" >> beam.Create([ProjectionFile(stage)])
        return self.raw_shards | "Projection" >> FitProjection(stage)


def _is_between(shard: EmbeddingShard, first: int, end: int) -> bool:
    """Whether a shard's file is one of files [first, end) of its dataset."""
    return first <= shard.key[0] < end


def _rows_of_targets(shards: list[EmbeddingShard], starts: list[int]) -> tuple[int, ...]:
    return tuple(
        sum(shard.num_rows for shard in shards if _is_between(shard, first, end))
        for first, end in itertools.pairwise(starts)
    )


def _ratio(_: int, folder: str, raw: MixtureReference, *targets: MixtureReference) -> MixtureRatioFiles:
    return MixtureRatioFiles(raw, targets, folder)
