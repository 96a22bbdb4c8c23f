"""The embedding part of a graph: embeddings, their projection, and the mixtures."""

import functools
import itertools
from dataclasses import dataclass

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.combining import Gather
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.graph.checks import checks_of
from hir_transforms.graph.embeddings import embed_documents, read_shards
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.mixtures.fit_projection import ProjectionFile, WriteProjection
from hir_transforms.mixtures.fitting import FittedMixture, MixtureSettings, WriteMixture
from hir_transforms.mixtures.given import GivenMixture
from hir_transforms.mixtures.jobs import AdvanceMixture, MixtureFit
from hir_transforms.mixtures.plan import Mixture
from hir_transforms.weights.mixture_weights import MixtureRatioFiles, MixtureReference


@dataclass(frozen=True)
class MixtureNodes:
    """The parts of embeddings and mixtures.

    Attributes:
        raw_shards: raw's embedding shards.
        mixtures: references to raw's mixture and to that of each target, a PCollection of one each.
    """

    raw_shards: Node
    mixtures: tuple[Node, ...]


def fit_mixtures(graph: Graph, parts: Node) -> MixtureNodes | None:
    """Raw and target, embedded, to their mixtures; None where embedding weights are not computed.

    Args:
        graph: to add to.
        parts: the documents of raw. What is known of them and of the n-grams is checked before anything is embedded.
    """
    embeddings, mixtures = graph.stages.embeddings, graph.stages.mixtures
    if embeddings is None or mixtures is None:
        return None
    checked = checks_of(graph, parts)

    def embed(stage: Stage[EmbeddingSource]) -> Node:
        return graph.node(
            stage,
            compute=lambda: embed_documents(graph.pipeline, stage, checked(stage.dataset.role)),
            read=lambda: read_shards(graph.pipeline, stage),
        )

    raw_shards = embed(embeddings.raw)
    if embeddings.target:
        embed(embeddings.target)
    if projection := mixtures.projection:
        graph.node(
            projection,
            compute=lambda: raw_shards() | "Projection" >> WriteProjection(projection),
            read=lambda: graph.pipeline | "Projection" >> beam.Create([ProjectionFile(projection)]),
        )

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
    return MixtureNodes(raw_shards, (raw, *targets))


def _fit(graph: Graph, label: str, mixture: Stage[MixtureSettings]) -> beam.PCollection:
    assert graph.stages.mixtures
    projection = graph.stages.mixtures.projection
    return _shards_of(graph, mixture) | label >> WriteMixture(
        mixture,
        projection=graph.result(projection) if projection else None,
        checkpoint_dir=graph.config.mixtures.gmm_checkpoint_dir,
    )


def advance_mixture(graph: Graph, mixture: Stage[MixtureSettings]) -> None:
    """Adds some more iterations of a mixture's fit; what it is fitted to must be complete."""
    assert graph.stages.mixtures
    projection = graph.stages.mixtures.projection
    fit = MixtureFit(
        mixture, ProjectionFile(projection) if projection else None, graph.config.mixtures.gmm_checkpoint_dir
    )
    _ = _shards_of(graph, mixture) | f"Advance {mixture.name}" >> AdvanceMixture(fit)


def _shards_of(graph: Graph, mixture: Stage[MixtureSettings]) -> beam.PCollection:
    """The embedding shards that a mixture is fitted to."""
    embedded = mixture.upstream[0]
    target = mixture.settings.target
    if target is None:
        return graph.result(embedded)
    first, end = embedded.dataset.target_starts()[target : target + 2]
    return graph.result(embedded) | f"Target{target}" >> beam.Filter(_is_between, first, end)


def mixture_ratio(graph: Graph, nodes: MixtureNodes) -> beam.PCollection:
    """The one `MixtureRatioFiles`; there once raw's embeddings are, so that what it goes to may read them."""
    assert graph.stages.embeddings
    ready = nodes.raw_shards() | "AllRawEmbeddings" >> beam.combiners.Count.Globally()
    raw, *targets = (beam.pvalue.AsSingleton(mixture()) for mixture in nodes.mixtures)
    return ready | "MixtureRatio" >> beam.Map(_ratio, graph.stages.embeddings.raw.folder, raw, *targets)


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


def _ratio(_: int, folder: str, raw: MixtureReference, *targets: MixtureReference) -> MixtureRatioFiles:
    return MixtureRatioFiles(raw, targets, folder)
