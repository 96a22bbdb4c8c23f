"""The part of a graph that mixes the weights of the documents to their scores."""

import apache_beam as beam

from hir_transforms.graph.graph import Graph, Node
from hir_transforms.graph.mixtures import MixtureNodes, mixture_ratio, target_rows
from hir_transforms.ngrams.estimator import target_proportions
from hir_transforms.ngrams.fitting import load_counts
from hir_transforms.weights.given import GivenWeights, ImportWeights
from hir_transforms.weights.mixing import WriteScores
from hir_transforms.weights.mixture_weights import WriteMixtureWeights


def mix_weights(graph: Graph, parts: Node, mixtures: MixtureNodes | None) -> Node:
    """The documents and the mixtures to the stage of the scores, by itself, once it is complete.

    Args:
        graph: to add to.
        parts: the documents, with their n-gram weights if these are computed.
        mixtures: None where embedding weights are not computed.
    """
    stage = graph.stages.scores
    return graph.node(
        stage,
        compute=lambda: _weigh(graph, parts, mixtures) | "Mix" >> WriteScores(stage, _proportions(graph)),
        read=lambda: graph.pipeline | "Scores" >> beam.Create([stage.alone()]),
    )


def _weigh(graph: Graph, parts: Node, mixtures: MixtureNodes | None) -> beam.PCollection:
    """The `DocumentPart`s, once all their weights are written."""
    weighted = parts()
    for stage in (graph.stages.ngram_weights, graph.stages.gmm_weights):
        if stage is None or not graph.lacks(stage):
            continue
        if isinstance(stage.settings, GivenWeights):
            weighted = weighted | f"Give {stage.name}" >> ImportWeights(stage)
        elif mixtures and stage is graph.stages.gmm_weights:
            ratio = mixture_ratio(graph, mixtures)
            weighted = weighted | "ScoreMixtures" >> WriteMixtureWeights(stage, graph.stages.documents.folder, ratio)
    return weighted


def _proportions(graph: Graph) -> beam.PCollection:
    """Each target's default share of the selection, a tuple of T floats; None where it cannot be told."""
    if graph.config.num_targets == 1:
        return graph.pipeline | "OneTarget" >> beam.Create([(1.0,)])
    if graph.stages.shares is None:
        return graph.pipeline | "NoShares" >> beam.Create([None])
    if graph.stages.ngrams:
        return graph.result(graph.stages.ngrams.target_counts) | "Shares" >> beam.Map(
            lambda counts: tuple(target_proportions(load_counts(counts)).tolist())
        )
    return target_rows(graph, graph.stages.shares) | "Shares" >> beam.Map(
        lambda rows: tuple(count / sum(rows) for count in rows)
    )
