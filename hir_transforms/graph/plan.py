"""The stages of a selection in their order; what each depends on, its concept's own `plan` knows."""

from dataclasses import dataclass

from hir_transforms.artifacts.stages import Stage
from hir_transforms.embedding_classifiers.plan import plan_embedding_classifier
from hir_transforms.embedding_classifiers.ratio import EmbeddingClassifierSettings
from hir_transforms.embeddings.plan import EmbeddingStages, find_sources, plan_embeddings
from hir_transforms.mixtures.fit_projection import ProjectionSettings
from hir_transforms.mixtures.plan import MixtureStages, find_given, plan_mixtures, plan_projection
from hir_transforms.ngrams.plan import NgramStages, plan_ngrams
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.weights.mixing import MixingSettings
from hir_transforms.weights.ngram_weights import ListingSettings
from hir_transforms.weights.plan import (
    plan_documents,
    plan_embedding_weights,
    plan_given_weights,
    plan_ngram_weights,
    plan_scores,
)


@dataclass(frozen=True)
class EmbeddingModelStages:
    """What embedding weights are computed with.

    Attributes:
        embeddings: of raw, and of the target where something is fitted to it.
        projection: of the embeddings; None for none.
        estimator: the mixtures, or the classifier.
    """

    embeddings: EmbeddingStages
    projection: Stage[ProjectionSettings] | None
    estimator: MixtureStages | Stage[EmbeddingClassifierSettings]

    @property
    def mixtures(self) -> MixtureStages | None:
        """The mixtures; None where the estimator is another."""
        return self.estimator if isinstance(self.estimator, MixtureStages) else None

    @property
    def fitted(self) -> list[Stage]:
        """The models that are fitted."""
        return [*self.estimator.fitted] if isinstance(self.estimator, MixtureStages) else [self.estimator]


@dataclass(frozen=True)
class Stages:
    """The stages of a selection; None where alpha, or what the user gives, makes a part unnecessary.

    Attributes:
        ngrams: of the n-gram estimator; None where the weights are given.
        embedding_models: None where the weights are given.
        documents: the list of raw's documents.
        ngram_weights, embedding_weights: of the documents; given by the user where the settings are `GivenWeights`.
        shares: which tells how large each of several targets is; None for one target, or where it is not known.
        scores: the score shards.
    """

    ngrams: NgramStages | None
    embedding_models: EmbeddingModelStages | None
    documents: Stage[ListingSettings]
    ngram_weights: Stage | None
    embedding_weights: Stage | None
    shares: Stage | None
    scores: Stage[MixingSettings]

    @property
    def all(self) -> list[Stage]:
        """Every stage, each after those that it depends on."""
        found: dict[str, Stage] = {}

        def add(stage: Stage) -> None:
            for upstream in stage.upstream:
                add(upstream)
            found[stage.name] = stage

        add(self.scores)
        return list(found.values())

    @property
    def models(self) -> list[Stage]:
        """What `fit` makes: the n-gram estimator, raw's embeddings and the models of these."""
        found: list[Stage] = [self.ngrams.estimator] if self.ngrams else []
        if self.embedding_models:
            found += [self.embedding_models.embeddings.raw, *self.embedding_models.fitted]
        return found


def plan_stages(config: PipelineConfig, *, may_distill: bool = True) -> Stages:
    """All stages of `select`; a model that is to be distilled is distilled now, unless that may not be.

    Raises:
        UserError: for a model or a file that cannot be found.
    """
    ngrams = _plan_ngrams(config) if config.weights.fits_ngrams else None
    embedding_models = _plan_embedding_models(config, may_distill) if config.weights.scores_embeddings else None
    documents = plan_documents(config.work_dir, config.raw, config.ngrams, config.inputs.id_field)
    ngram_weights: Stage | None = None
    embedding_weights: Stage | None = None
    if ngrams:
        ngram_weights = plan_ngram_weights(documents, ngrams.estimator)
    elif config.weights.uses_ngrams and (files := config.weights.files("ngram_weights")):
        ngram_weights = plan_given_weights(documents, files, config.num_targets)
    if embedding_models:
        given = embedding_models.mixtures.given if embedding_models.mixtures else None
        raw = embedding_models.embeddings.raw
        embedding_weights = plan_embedding_weights(documents, raw, embedding_models.fitted, given)
    elif config.weights.uses_embeddings and (files := config.weights.files("gmm_weights")):
        embedding_weights = plan_given_weights(documents, files, config.num_targets)
    shares = _shares(config, ngrams, embedding_models)
    scores = plan_scores(
        documents,
        ngram_weights,
        embedding_weights,
        shares=shares,
        num_targets=config.num_targets,
        options=config.weights,
        min_example_length=config.selection.min_example_length,
    )
    return Stages(ngrams, embedding_models, documents, ngram_weights, embedding_weights, shares, scores)


def _plan_ngrams(config: PipelineConfig) -> NgramStages:
    assert config.target
    return plan_ngrams(
        config.work_dir,
        config.raw,
        config.target,
        num_targets=config.num_targets,
        ngrams=config.ngrams,
        fit=config.ngram_fit,
        seed=config.work.fit_seed,
    )


def _plan_embedding_models(config: PipelineConfig, may_distill: bool) -> EmbeddingModelStages:
    options, num_targets, seed = config.mixtures, config.num_targets, config.work.fit_seed
    given = find_given(options)
    datasets = [config.raw, *([config.target] if config.target and config.embeds_target else [])]
    sources = find_sources(config.work_dir, config.embeddings, datasets, may_distill=may_distill)
    given.check_embeddings(*sources)
    stages = [plan_embeddings(config.work_dir, *one) for one in zip(datasets, sources, strict=True)]
    embeddings = EmbeddingStages(stages[0], stages[1] if len(stages) > 1 else None)
    projection = plan_projection(embeddings.raw, options)
    estimator: MixtureStages | Stage[EmbeddingClassifierSettings]
    if config.weights.embedding_estimator == "classifier":
        estimator = plan_embedding_classifier(
            embeddings, projection, num_targets=num_targets, options=options, seed=seed
        )
    else:
        estimator = plan_mixtures(embeddings, projection, given, num_targets=num_targets, options=options, seed=seed)
    return EmbeddingModelStages(embeddings, projection, estimator)


def _shares(config: PipelineConfig, ngrams: NgramStages | None, models: EmbeddingModelStages | None) -> Stage | None:
    """The stage that counts each of several targets: its n-grams, or where these do not count, its documents."""
    if config.num_targets == 1:
        return None
    if ngrams:
        return ngrams.target_counts
    return models.embeddings.target if models and config.weights.alpha == 0 else None
