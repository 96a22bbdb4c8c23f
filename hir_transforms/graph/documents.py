"""The part of a graph that reads raw's text: the list of its documents, and their n-gram weights."""

import functools

import apache_beam as beam

from hir_transforms.artifacts.stages import ListResults
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.weights.ngram_weights import WriteDocumentParts
from hir_transforms.weights.parts import load_parts


def score_documents(graph: Graph, estimator: Node | None) -> Node:
    """The `DocumentPart`s of raw, once their n-gram weights are written if these are computed, by an estimator."""
    documents, ngram_weights = graph.stages.documents, graph.stages.ngram_weights
    list_documents = graph.lacks(documents)
    score_ngrams = estimator is not None and graph.lacks(ngram_weights)

    def score() -> beam.PCollection:
        return graph.raw_tasks() | "Score" >> WriteDocumentParts(
            documents if list_documents else None,
            ngram_weights if score_ngrams else None,
            estimator=estimator() if estimator and score_ngrams else None,
            shared=graph.shared,
        )

    def read() -> beam.PCollection:
        return graph.pipeline | "Documents" >> ListResults(documents, load_parts)

    return functools.cache(score if list_documents or score_ngrams else read)
