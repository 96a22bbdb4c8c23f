"""Mixtures that are fitted to all of a large corpus: by jobs of a few iterations, repeated until each is complete."""

from collections.abc import Callable, Iterator

import apache_beam as beam

from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.documents.read_tasks import estimated_bytes
from hir_transforms.graph.mixtures import EmbeddingGraph
from hir_transforms.graph.plan import EmbeddingStages, Stages
from hir_transforms.graph.scores import ScoreGraph
from hir_transforms.settings.config import SelectConfig

# Up to this size one worker fits a mixture to all rows: the jobs' own time would be most of the cost.
_ONE_WORKER_BYTES = 256 << 20


def mixtures_by_jobs(config: SelectConfig, stages: EmbeddingStages | None, missing: list[Stage]) -> list[Stage]:
    """The missing mixtures that no single job fits."""
    if stages is None:
        return []
    found: list[Stage] = []
    of_roles = (("raw", config.raw, [stages.raw_mixture]), ("target", config.target, [*stages.target_mixtures]))
    for role, dataset, mixtures in of_roles:
        fitted = [mixture for mixture in mixtures if isinstance(mixture, Stage) and mixture in missing]
        if fitted and dataset and config.max_samples(role) is None:
            found += fitted if estimated_bytes(dataset.list_files()) > _ONE_WORKER_BYTES else []
    return found


def fit_jobs(
    make_pipeline: Callable[[], beam.Pipeline],
    config: SelectConfig,
    stages: Stages,
    missing: list[Stage],
    mixtures: list[Stage],
) -> Iterator[beam.Pipeline]:
    """The jobs that fit these of the missing mixtures; each is laid out from what the one before has left."""
    assert stages.embeddings
    if embedded := missing_stages(stage for mixture in mixtures for stage in mixture.upstream):
        pipeline = make_pipeline()
        ScoreGraph(pipeline, config, stages, missing).build(embedded)
        yield pipeline
    while left := [mixture for mixture in mixtures if mixture.manifest() is None]:
        pipeline = make_pipeline()
        graph = EmbeddingGraph(pipeline, config, stages.embeddings, frozenset(), after=lambda _: None)
        for mixture in left:
            graph.advance(mixture)
        yield pipeline
