"""The part of a graph that mixes the weights of the documents to their scores."""

import apache_beam as beam

from hir_transforms.graph.embedding_ratio import EmbeddingRatioNodes, target_rows
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.ngrams.estimator import target_proportions
from hir_transforms.ngrams.fitting import load_counts
from hir_transforms.weights.embedding_weights import WriteEmbeddingWeights
from hir_transforms.weights.given import GivenWeights, ImportWeights
from hir_transforms.weights.mixing import WriteScores


def mix_weights(graph: Graph, parts: Node, embeddings: EmbeddingRatioNodes | None) -> Node:
    """The documents and what scores embeddings to the stage of the scores, by itself, once it is complete.

    Args:
        graph: to add to.
        parts: the documents, with their n-gram weights if these are computed.
        embeddings: None where embedding weights are not computed.
    """
    stage = graph.stages.scores
    return graph.node(
        stage,
        compute=lambda: _weigh(graph, parts, embeddings) | "Mix" >> WriteScores(stage, _proportions(graph)),
        read=lambda: graph.pipeline | "Scores" >> beam.Create([stage.alone()]),
    )


def _weigh(graph: Graph, parts: Node, embeddings: EmbeddingRatioNodes | None) -> beam.PCollection:
    """The `DocumentPart`s, once all their weights are written."""
    weighted = parts()
    for stage in (graph.stages.ngram_weights, graph.stages.embedding_weights):
        if stage is None or not graph.lacks(stage):
            continue
        if isinstance(stage.settings, GivenWeights):
            weighted = weighted | f"Give {stage.name}" >> ImportWeights(stage)
        elif embeddings and stage is graph.stages.embedding_weights:
            folders = (graph.stages.documents.folder, stage.upstream_folder("embeddings/raw"))
            weighted = weighted | "ScoreEmbeddings" >> WriteEmbeddingWeights(
                stage, *folders, embeddings.once_embedded()
            )
    return weighted


def _proportions(graph: Graph) -> beam.PCollection:
    """Each target's default share of the selection, a tuple of T floats; None where it cannot be told."""
    if graph.config.num_targets == 1:
        return graph.pipeline | "OneTarget" >> beam.Create([(1.0,)])
    if graph.stages.shares is None:
        return graph.pipeline | "NoShares" >> beam.Create([None])
    if graph.stages.ngrams and graph.stages.shares is graph.stages.ngrams.target_counts:
        return graph.result(graph.stages.shares) | "Shares" >> beam.Map(
            lambda counts: tuple(target_proportions(load_counts(counts)).tolist())
        )
    return target_rows(graph, graph.stages.shares) | "Shares" >> beam.Map(
        lambda rows: tuple(count / sum(rows) for count in rows)
    )
