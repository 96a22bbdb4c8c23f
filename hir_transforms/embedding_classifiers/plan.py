"""The stage of the embedding classifier, and what it depends on."""

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.embedding_classifiers.ratio import EmbeddingClassifierSettings
from hir_transforms.embeddings.plan import EmbeddingStages
from hir_transforms.mixtures.fit_projection import ProjectionSettings
from hir_transforms.mixtures.settings import MixtureOptions


def plan_embedding_classifier(
    embeddings: EmbeddingStages,
    projection: Stage[ProjectionSettings] | None,
    *,
    num_targets: int,
    options: MixtureOptions,
    seed: int,
) -> Stage[EmbeddingClassifierSettings]:
    """The stage of the classifiers of all targets; raises `UserError` for mixtures that are given."""
    if given := [f"--{dataset.role}" for dataset in options.files()]:
        raise UserError(f"{given[0]}: does not go with --embedding_estimator classifier, which uses no mixture")
    assert embeddings.target
    settings = EmbeddingClassifierSettings(
        num_targets, options.classifier_max_samples("raw"), options.classifier_max_samples("target"), seed
    )
    upstream: list[Stage] = [embeddings.raw, embeddings.target, *([projection] if projection else [])]
    return Stage.create("embedding_classifier", embeddings.raw.work_dir, settings, upstream=upstream)
