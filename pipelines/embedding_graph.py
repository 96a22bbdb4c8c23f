"""The embedding part of the graph: embeddings, their projection, and the mixtures."""

from dataclasses import dataclass

import apache_beam as beam

from hir_transforms.datasets import Dataset
from hir_transforms.embedding_model import EmbeddingModel
from hir_transforms.gmm_fitting import FitGaussianMixture, MixtureSettings, load_mixture, mixture_path
from hir_transforms.planning import estimated_bytes
from hir_transforms.projecting import FitProjection, load_projection, projection_path
from hir_transforms.scoring import MixturePair
from hir_transforms.stages import Stage

# Above this size EM runs on all workers; below it the runner's time for each iteration would be most of the cost.
_UNROLL_BYTES = 256 << 20


@dataclass(frozen=True)
class EmbeddingStages:
    """The stages of one dataset's embedding part; `projection`, fitted on raw, is the same for all."""

    dataset: Dataset
    model: EmbeddingModel
    settings: MixtureSettings
    embeddings: Stage
    projection: Stage | None
    mixture: Stage


def fit_mixtures(
    pipeline: beam.Pipeline, raw: EmbeddingStages | None, target: EmbeddingStages | None
) -> beam.PCollection[MixturePair] | None:
    """The `MixturePair` of both datasets, from what is complete and else computed; None without an embedding part."""
    if raw is None or target is None:
        return None
    missing = [part for part in (raw, target) if part.mixture.manifest() is None]
    fit_projection = bool(missing) and raw.projection is not None and raw.projection.manifest() is None
    parts = [part for part in (raw, target) if part in missing or (part is raw and fit_projection)]
    shards = {part.dataset.role: _embeddings(pipeline, part) for part in parts}
    projection = _projection(pipeline, raw.projection, shards.get("raw")) if missing else None
    fitted = [_mixture(pipeline, part, shards.get(part.dataset.role), projection) for part in (raw, target)]
    return fitted[0] | "PairMixtures" >> beam.Map(
        MixturePair, beam.pvalue.AsSingleton(fitted[1]), raw.embeddings.folder
    )


def _embeddings(pipeline: beam.Pipeline, part: EmbeddingStages) -> beam.PCollection:
    # Imports torch through RunInference: two seconds and 500 MB that a run without embeddings does not pay.
    from hir_transforms.embedding import EmbedDocuments, load_shards

    label = part.dataset.role.capitalize()
    if part.embeddings.manifest() is not None:
        return pipeline | f"{label}Embeddings" >> beam.Create(load_shards(part.embeddings))
    return pipeline | f"{label}Embeddings" >> EmbedDocuments(part.embeddings, part.dataset, part.model)


def _projection(
    pipeline: beam.Pipeline, stage: Stage | None, shards: beam.PCollection | None
) -> beam.PCollection | None:
    if stage is None:
        return None
    if stage.manifest() is not None:
        path = projection_path(stage)
        return pipeline | "Projection" >> beam.Create([path]) | "LoadProjection" >> beam.Map(load_projection)
    return shards | "Projection" >> FitProjection(stage, stage.settings["dim"])


def _mixture(
    pipeline: beam.Pipeline,
    part: EmbeddingStages,
    shards: beam.PCollection | None,
    projection: beam.PCollection | None,
) -> beam.PCollection:
    label = part.dataset.role.capitalize()
    if shards is None or part.mixture.manifest() is not None:
        path = mixture_path(part.mixture)
        return pipeline | f"{label}Mixture" >> beam.Create([path]) | f"Load{label}Mixture" >> beam.Map(load_mixture)
    unrolled = estimated_bytes(part.dataset.list_files()) > _UNROLL_BYTES
    return shards | f"{label}Mixture" >> FitGaussianMixture(
        part.mixture, part.settings, unrolled=unrolled, projection=projection
    )
