"""The embedding part of the graph: embeddings, their projection, and the mixtures."""

from dataclasses import dataclass

import apache_beam as beam

from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_source import EmbeddingSource
from hir_transforms.errors import UserError
from hir_transforms.given_mixtures import GivenMixture, require_equal_features
from hir_transforms.gmm_checkpoints import load_mixture
from hir_transforms.gmm_fitting import FitGaussianMixture, MixtureSettings, mixture_path
from hir_transforms.planning import estimated_bytes
from hir_transforms.projecting import FitProjection, load_projection, projection_path
from hir_transforms.scoring import MixturePair
from hir_transforms.stages import Stage
from pipelines.embeddings import embedding_shards

# Above this size EM runs on all workers; below it the runner's time for each iteration would be most of the cost.
_UNROLL_BYTES = 256 << 20


@dataclass(frozen=True)
class EmbeddingStages:
    """The stages of one dataset's embedding part.

    Attributes:
        dataset, source, settings: what is embedded, where its rows come from, and how the mixture is fitted.
        embeddings: None where nothing reads them: the target's, if its mixture is given.
        projection: fitted on raw, the same for all; None for none.
        mixture: a stage, or the file that the user gave instead.
    """

    dataset: Dataset
    source: EmbeddingSource
    settings: MixtureSettings
    embeddings: Stage | None
    projection: Stage | None
    mixture: Stage | GivenMixture

    def all(self) -> list[Stage]:
        """The stages that are needed, in order."""
        return [stage for stage in (self.embeddings, self.projection, self.mixture) if isinstance(stage, Stage)]

    @property
    def needs_embeddings(self) -> bool:
        """Whether this run reads embedding shards to make the mixture, or must make them to be scored."""
        if isinstance(self.mixture, GivenMixture):
            return self.embeddings is not None
        return self.mixture.manifest() is None


def given_mixtures(config: SelectConfig) -> dict[str, GivenMixture]:
    """The mixtures that the user gave, by role; raises `UserError` for a file that holds none."""
    paths = {"raw": config.raw_gmm, "target": config.target_gmm}
    given = {role: GivenMixture.check(f"--{role}_gmm", path) for role, path in paths.items() if path}
    if given and config.embedding_dim:
        flags = " and ".join(mixture.flag for mixture in given.values())
        raise UserError(f"--embedding_dim: does not go with a given mixture ({flags}), which has its own")
    if len(given) == 2:
        require_equal_features(given["raw"], given["target"])
    return given


def fit_mixtures(
    pipeline: beam.Pipeline,
    raw: EmbeddingStages | None,
    target: EmbeddingStages | None,
    checkpoint_dir: str | None = None,
) -> beam.PCollection[MixturePair] | None:
    """The `MixturePair` of both datasets, from what is complete and else computed; None without an embedding part.

    It is there once raw's embeddings are, too, so whatever takes it as a side input may read them.
    """
    if raw is None or target is None or raw.embeddings is None:
        return None
    needing = [part for part in (raw, target) if part.needs_embeddings]
    fit_projection = bool(needing) and raw.projection is not None and raw.projection.manifest() is None
    parts = [part for part in (raw, target) if part in needing or (part is raw and fit_projection)]
    shards = {part.dataset.role: _embeddings(pipeline, part) for part in parts}
    projection = _projection(pipeline, raw.projection, shards.get("raw")) if needing else None
    fitted = [
        _mixture(pipeline, part, shards.get(part.dataset.role), projection, checkpoint_dir) for part in (raw, target)
    ]
    return fitted[0] | "PairMixtures" >> beam.Map(
        MixturePair, beam.pvalue.AsSingleton(fitted[1]), raw.embeddings.folder
    )


def _embeddings(pipeline: beam.Pipeline, part: EmbeddingStages) -> beam.PCollection:
    assert part.embeddings is not None
    return embedding_shards(pipeline, part.embeddings, part.dataset, part.source)


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
    checkpoint_dir: str | None,
) -> beam.PCollection:
    label = part.dataset.role.capitalize()
    mixture = part.mixture
    if isinstance(mixture, GivenMixture):
        waited_for = shards or pipeline | f"No{label}Embeddings" >> beam.Create([])
        return (
            waited_for
            | f"All{label}Embeddings" >> beam.combiners.Count.Globally()
            | f"Load{label}Mixture" >> beam.Map(lambda _, mixture: mixture.load(), mixture)
        )
    if shards is None or mixture.manifest() is not None:
        path = mixture_path(mixture)
        return pipeline | f"{label}Mixture" >> beam.Create([path]) | f"Load{label}Mixture" >> beam.Map(load_mixture)
    unrolled = estimated_bytes(part.dataset.list_files()) > _UNROLL_BYTES
    return shards | f"{label}Mixture" >> FitGaussianMixture(
        mixture, part.settings, unrolled=unrolled, projection=projection, checkpoint_dir=checkpoint_dir
    )
