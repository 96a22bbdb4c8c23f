"""Mixtures that are fitted to all of a large corpus: by jobs of a few iterations, repeated until each is complete."""

from collections.abc import Callable, Iterator

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.documents.read_tasks import estimated_bytes
from hir_transforms.graph.embedding_ratio import advance_mixture
from hir_transforms.graph.graph import Graph
from hir_transforms.graph.plan import Stages

# Up to this size one worker fits a mixture to all rows: the jobs' own time would be most of the cost.
_ONE_WORKER_BYTES = 256 << 20


def mixtures_by_jobs(stages: Stages, missing: list[Stage]) -> list[Stage]:
    """The missing mixtures that no single job fits."""
    models = stages.embedding_models
    fitted = models.mixtures.fitted if models and models.mixtures else []
    return [
        mixture
        for mixture in fitted
        if mixture in missing
        and mixture.settings.max_samples is None
        and estimated_bytes(mixture.upstream[0].dataset.list_files()) > _ONE_WORKER_BYTES
    ]


def fit_jobs(
    make_graph: Callable[[list[Stage]], Graph], missing: list[Stage], mixtures: list[Stage]
) -> Iterator[beam.Pipeline]:
    """The jobs that fit these of the missing mixtures; each is laid out from what the one before has left.

    Args:
        make_graph: the stages to compute -> a graph that has their nodes.
        missing: the stages to compute.
        mixtures: those of them that are mixtures to be fitted by jobs.
    """
    if embedded := missing_stages(stage for mixture in mixtures for stage in mixture.upstream):
        graph = make_graph(missing)
        graph.complete(embedded)
        yield graph.pipeline
    while left := [mixture for mixture in mixtures if mixture.manifest() is None]:
        graph = make_graph([])
        for mixture in left:
            advance_mixture(graph, mixture)
        yield graph.pipeline
