"""The embedding part of a selection: the stages of one dataset, and the graph that computes those that are missing."""

from dataclasses import dataclass

import apache_beam as beam

from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.embedding_model import EmbeddingModel
from hir_transforms.given_mixtures import GivenMixture, require_equal_features
from hir_transforms.gmm_checkpoints import load_mixture
from hir_transforms.gmm_fitting import FitGaussianMixture, MixtureSettings, mixture_path
from hir_transforms.planning import estimated_bytes
from hir_transforms.stages import Stage

# Above this size EM runs on all workers; below it the runner's time for each iteration would be most of the cost.
_UNROLL_BYTES = 256 << 20


@dataclass(frozen=True)
class EmbeddingStages:
    """The stages of one dataset's embedding part.

    Attributes:
        embeddings: None where nothing reads them: the target's, if its mixture is given.
        mixture: a stage, or the file that the user gave instead.
    """

    dataset: Dataset
    model: EmbeddingModel
    settings: MixtureSettings
    embeddings: Stage | None
    mixture: Stage | GivenMixture

    def all(self) -> list[Stage]:
        """The stages that are needed, in order."""
        return [stage for stage in (self.embeddings, self.mixture) if isinstance(stage, Stage)]


def given_mixtures(config: SelectConfig) -> dict[str, GivenMixture]:
    """The mixtures that the user gave, by role; raises `UserError` for a file that holds none."""
    paths = {"raw": config.raw_gmm, "target": config.target_gmm}
    given = {role: GivenMixture.check(f"--{role}_gmm", path) for role, path in paths.items() if path}
    if len(given) == 2:
        require_equal_features(given["raw"], given["target"])
    return given


def build_mixture(pipeline: beam.Pipeline, part: EmbeddingStages, checkpoint_dir: str | None) -> beam.PCollection:
    """The mixture of one dataset as a PCollection of one `GaussianMixture`.

    It is there once the embeddings are, too, so whatever takes it as a side input may read them.
    """
    # Imports torch through RunInference: two seconds and 500 MB that a run without embeddings does not pay.
    from hir_transforms.embedding import EmbedDocuments, load_shards

    label = part.dataset.role.capitalize()
    mixture = part.mixture
    if isinstance(mixture, Stage) and mixture.manifest() is not None:
        path = mixture_path(mixture)
        return pipeline | f"{label}Mixture" >> beam.Create([path]) | f"Load{label}Mixture" >> beam.Map(load_mixture)
    if part.embeddings is None:
        shards = pipeline | f"No{label}Embeddings" >> beam.Create([])
    elif part.embeddings.manifest() is not None:
        shards = pipeline | f"{label}Embeddings" >> beam.Create(load_shards(part.embeddings))
    else:
        shards = pipeline | f"{label}Embeddings" >> EmbedDocuments(part.embeddings, part.dataset, part.model)
    if isinstance(mixture, GivenMixture):
        return (
            shards
            | f"All{label}Embeddings" >> beam.combiners.Count.Globally()
            | f"Load{label}Mixture" >> beam.Map(lambda _, mixture: mixture.load(), mixture)
        )
    unrolled = estimated_bytes(part.dataset.list_files()) > _UNROLL_BYTES
    return shards | f"{label}Mixture" >> FitGaussianMixture(
        mixture, part.settings, unrolled=unrolled, checkpoint_dir=checkpoint_dir
    )
