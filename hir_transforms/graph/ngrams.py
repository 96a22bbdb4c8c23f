"""The n-gram part of a graph: the counts of raw and target, and the estimator."""

from dataclasses import dataclass

import apache_beam as beam

from hir_transforms.documents.reading import ReadTasks
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.ngrams.fitting import WriteNgramCounts, WriteNgramEstimator
from hir_transforms.ngrams.sampling import ReadSampledTasks


@dataclass(frozen=True)
class NgramNodes:
    """The stages of the counts and of the estimator, a PCollection of one each, once they are complete."""

    raw_counts: Node
    target_counts: Node
    estimator: Node


def fit_estimator(graph: Graph) -> NgramNodes | None:
    """Raw and target, counted, to the estimator; None where n-gram weights are not computed."""
    if graph.stages.ngrams is None:
        return None
    raw, target, estimator = (
        graph.stages.ngrams.raw_counts,
        graph.stages.ngrams.target_counts,
        graph.stages.ngrams.estimator,
    )

    def count_raw() -> beam.PCollection:
        if raw.settings.sample:
            sampled = ReadSampledTasks(raw.dataset, raw.settings.ngrams, raw.settings.sample)
            tasks = graph.pipeline | "Sample" >> sampled
        else:
            tasks = graph.raw_tasks()
        return tasks | "CountRaw" >> WriteNgramCounts(raw, shared=graph.shared)

    def count_target() -> beam.PCollection:
        tasks = graph.pipeline | "Target" >> ReadTasks(target.dataset)
        return tasks | "CountTarget" >> WriteNgramCounts(target, shared=graph.shared)

    raw_counts = graph.node(raw, compute=count_raw, read=lambda: graph.pipeline | "RawCounts" >> beam.Create([raw]))
    target_counts = graph.node(
        target, compute=count_target, read=lambda: graph.pipeline | "TargetCounts" >> beam.Create([target])
    )
    fitted = graph.node(
        estimator,
        compute=lambda: (
            raw_counts() | "NgramEstimator" >> WriteNgramEstimator(estimator, target_counts=target_counts())
        ),
        read=lambda: graph.pipeline | "NgramEstimator" >> beam.Create([estimator]),
    )
    return NgramNodes(raw_counts, target_counts, fitted)
