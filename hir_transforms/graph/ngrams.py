"""The n-gram part of a graph: the counts of raw and target, and the estimator."""

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.graph.graph import Graph, Node
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings, WriteNgramClassifier
from hir_transforms.ngrams.fitting import CountSettings, WriteNgramCounts, WriteNgramEstimator
from hir_transforms.ngrams.sampling import DocumentSample, ReadSampledTasks


def fit_estimator(graph: Graph) -> Node | None:
    """Raw and target to the stage of the estimator, by itself; None where n-gram weights are not computed."""
    ngrams = graph.stages.ngrams
    if ngrams is None:
        return None
    counts = [
        _count(graph, label, stage)
        for label, stage in (("Raw", ngrams.raw_counts), ("Target", ngrams.target_counts))
        if stage
    ]
    estimator = ngrams.estimator

    def fit() -> beam.PCollection:
        if isinstance(estimator.settings, ClassifierSettings):
            return _fit_classifier(graph, estimator)
        raw_counts, target_counts = counts
        return raw_counts() | "NgramEstimator" >> WriteNgramEstimator(estimator, target_counts=target_counts())

    return graph.node(
        estimator, compute=fit, read=lambda: graph.pipeline | "NgramEstimator" >> beam.Create([estimator])
    )


def _count(graph: Graph, label: str, stage: Stage[CountSettings]) -> Node:
    def count() -> beam.PCollection:
        if stage.settings.sample:
            sampled = ReadSampledTasks(stage.dataset, stage.settings.ngrams, stage.settings.sample)
            tasks = graph.pipeline | "Sample" >> sampled
        elif label == "Raw":
            tasks = graph.raw_tasks()
        else:
            tasks = graph.pipeline | "Target" >> ReadTasks(stage.dataset)
        return tasks | f"Count{label}" >> WriteNgramCounts(stage, shared=graph.shared)

    return graph.node(stage, compute=count, read=lambda: graph.pipeline | f"{label}Counts" >> beam.Create([stage]))


def _fit_classifier(graph: Graph, stage: Stage[ClassifierSettings]) -> beam.PCollection:
    (target, raw), settings = stage.datasets, stage.settings
    sample = DocumentSample(settings.num_documents, settings.seed)
    raw_tasks = graph.pipeline | "SampleDocuments" >> ReadSampledTasks(raw, settings.ngrams, sample, stage.name)
    target_tasks = graph.pipeline | "TargetDocuments" >> ReadTasks(target)
    return raw_tasks | "NgramClassifier" >> WriteNgramClassifier(stage, target=target_tasks, shared=graph.shared)
