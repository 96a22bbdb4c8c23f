"""The embedding part of a graph: embeddings, their projection, and the mixtures or the classifier."""

import functools
import itertools
from dataclasses import dataclass

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.combining import Gather
from hir_transforms.embedding_classifiers.fitting import WriteEmbeddingClassifier
from hir_transforms.embedding_classifiers.ratio import ClassifierFile, EmbeddingClassifierSettings
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.graph.checks import checks_of
from hir_transforms.graph.embeddings import embed_documents, read_shards
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.mixtures.fit_projection import ProjectionFile, WriteProjection
from hir_transforms.mixtures.fitting import FittedMixture, MixtureSettings, WriteMixture
from hir_transforms.mixtures.given import GivenMixture
from hir_transforms.mixtures.jobs import AdvanceMixture, MixtureFit
from hir_transforms.mixtures.plan import Mixture, MixtureStages
from hir_transforms.mixtures.ratio import MixtureRatioFiles, MixtureReference


@dataclass(frozen=True)
class EmbeddingRatioNodes:
    """What scores the documents of raw by their embeddings.

    Attributes:
        raw_shards: raw's embedding shards.
        ratio: the one `EmbeddingRatioReference`.
    """

    raw_shards: Node
    ratio: Node

    def once_embedded(self) -> beam.PCollection:
        """The reference; there once raw's embeddings are, so that what it goes to may read them."""
        ready = self.raw_shards() | "AllRawEmbeddings" >> beam.combiners.Count.Globally()
        return ready | "EmbeddingRatio" >> beam.Map(lambda _, ratio: ratio, beam.pvalue.AsSingleton(self.ratio()))


def fit_embedding_ratio(graph: Graph, parts: Node) -> EmbeddingRatioNodes | None:
    """Raw and target, embedded, to what scores embeddings; None where embedding weights are not computed.

    Args:
        graph: to add to.
        parts: the documents of raw. What is known of them and of the n-grams is checked before anything is embedded.
    """
    models = graph.stages.embedding_models
    if models is None:
        return None
    checked = checks_of(graph, parts)

    def embed(stage: Stage[EmbeddingSource]) -> Node:
        return graph.node(
            stage,
            compute=lambda: embed_documents(graph.pipeline, stage, checked(stage.dataset.role)),
            read=lambda: read_shards(graph.pipeline, stage),
        )

    raw_shards = embed(models.embeddings.raw)
    if models.embeddings.target:
        embed(models.embeddings.target)
    if projection := models.projection:
        graph.node(
            projection,
            compute=lambda: raw_shards() | "Projection" >> WriteProjection(projection),
            read=lambda: graph.pipeline | "Projection" >> beam.Create([ProjectionFile(projection)]),
        )
    if isinstance(models.estimator, MixtureStages):
        return EmbeddingRatioNodes(raw_shards, _mixtures(graph, models.estimator))
    return EmbeddingRatioNodes(raw_shards, _classifier(graph, models.estimator))


def _classifier(graph: Graph, stage: Stage[EmbeddingClassifierSettings]) -> Node:
    """The node of the one `ClassifierFile`."""
    raw, target, *_ = stage.upstream
    num_targets = stage.settings.num_targets

    def compute() -> beam.PCollection:
        numbers = range(num_targets) if num_targets > 1 else [None]
        targets = [_shards_of(graph, target, number) for number in numbers]
        fit = WriteEmbeddingClassifier(stage, targets=targets, projection=_projection(graph))
        return graph.result(raw) | "EmbeddingClassifier" >> fit

    return graph.node(
        stage,
        compute=compute,
        read=lambda: graph.pipeline | "EmbeddingClassifier" >> beam.Create([ClassifierFile.of(stage)]),
    )


def _mixtures(graph: Graph, mixtures: MixtureStages) -> Node:
    """The nodes of the mixtures to that of the one `MixtureRatioFiles`."""

    def fit(label: str, mixture: Mixture) -> Node:
        if isinstance(mixture, GivenMixture):
            return functools.cache(lambda: graph.pipeline | label >> beam.Create([mixture]))
        return graph.node(
            mixture,
            compute=lambda: _fit(graph, label, mixture),
            read=lambda: graph.pipeline | label >> beam.Create([FittedMixture(mixture)]),
        )

    raw = fit("RawMixture", mixtures.raw)
    targets = [fit(f"TargetMixture{number}", mixture) for number, mixture in enumerate(mixtures.targets)]

    def ratio() -> beam.PCollection:
        of_targets = [beam.pvalue.AsSingleton(target()) for target in targets]
        return raw() | "MixtureRatio" >> beam.Map(_ratio, *of_targets)

    return functools.cache(ratio)


def _ratio(raw: MixtureReference, *targets: MixtureReference) -> MixtureRatioFiles:
    return MixtureRatioFiles(raw, targets)


def _fit(graph: Graph, label: str, mixture: Stage[MixtureSettings]) -> beam.PCollection:
    return _shards_of(graph, mixture.upstream[0], mixture.settings.target) | label >> WriteMixture(
        mixture, projection=_projection(graph), checkpoint_dir=graph.config.mixtures.gmm_checkpoint_dir
    )


def _projection(graph: Graph) -> beam.PCollection | None:
    """The one `ProjectionFile`; None for no projection."""
    models = graph.stages.embedding_models
    return graph.result(models.projection) if models and models.projection else None


def advance_mixture(graph: Graph, mixture: Stage[MixtureSettings]) -> None:
    """Adds some more iterations of a mixture's fit; what it is fitted to must be complete."""
    assert graph.stages.embedding_models
    projection = graph.stages.embedding_models.projection
    fit = MixtureFit(
        mixture, ProjectionFile(projection) if projection else None, graph.config.mixtures.gmm_checkpoint_dir
    )
    shards = _shards_of(graph, mixture.upstream[0], mixture.settings.target)
    _ = shards | f"Advance {mixture.name}" >> AdvanceMixture(fit)


def _shards_of(graph: Graph, embedded: Stage[EmbeddingSource], target: int | None) -> beam.PCollection:
    """The embedding shards of a stage, or only those of one of several targets."""
    if target is None:
        return graph.result(embedded)
    first, end = embedded.dataset.target_starts()[target : target + 2]
    return graph.result(embedded) | f"Target{target}" >> beam.Filter(_is_between, first, end)


def target_rows(graph: Graph, target: Stage[EmbeddingSource]) -> beam.PCollection:
    """The number of rows of each target, one tuple of T integers."""
    starts = target.dataset.target_starts()
    return graph.result(target) | "Gather" >> Gather() | "RowsOfTargets" >> beam.Map(_rows_of_targets, starts)


def _is_between(shard: EmbeddingShard, first: int, end: int) -> bool:
    """Whether a shard's file is one of files [first, end) of its dataset."""
    return first <= shard.key[0] < end


def _rows_of_targets(shards: list[EmbeddingShard], starts: list[int]) -> tuple[int, ...]:
    return tuple(
        sum(shard.num_rows for shard in shards if _is_between(shard, first, end))
        for first, end in itertools.pairwise(starts)
    )
