"""The stages of a selection in their order; what each depends on, its concept's own `plan` knows."""

from dataclasses import dataclass

from hir_transforms.artifacts.stages import Stage
from hir_transforms.embeddings.plan import EmbeddingStages, find_sources, plan_embeddings
from hir_transforms.mixtures.plan import MixtureStages, find_given, plan_mixtures
from hir_transforms.ngrams.plan import NgramStages, plan_ngrams
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.weights.mixing import MixingSettings
from hir_transforms.weights.ngram_weights import ListingSettings
from hir_transforms.weights.plan import (
    plan_documents,
    plan_given_weights,
    plan_mixture_weights,
    plan_ngram_weights,
    plan_scores,
)


@dataclass(frozen=True)
class Stages:
    """The stages of a selection; None where alpha, or what the user gives, makes a part unnecessary.

    Attributes:
        ngrams: of the n-gram estimator; None where the weights are given.
        embeddings, mixtures: None where the weights are given.
        documents: the list of raw's documents.
        ngram_weights, gmm_weights: of the documents; given by the user where the settings are `GivenWeights`.
        shares: which tells how large each of several targets is; None for one target, or where it is not known.
        scores: the score shards.
    """

    ngrams: NgramStages | None
    embeddings: EmbeddingStages | None
    mixtures: MixtureStages | None
    documents: Stage[ListingSettings]
    ngram_weights: Stage | None
    gmm_weights: Stage | None
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
        """What `fit` makes: the estimator, raw's embeddings and the mixtures."""
        found: list[Stage] = [self.ngrams.estimator] if self.ngrams else []
        if self.embeddings and self.mixtures:
            found += [self.embeddings.raw, *self.mixtures.fitted]
        return found


def plan_stages(config: PipelineConfig) -> Stages:
    """All stages of `select`; raises `UserError` for a model or a file that cannot be found."""
    ngrams = _plan_ngrams(config) if config.weights.fits_ngrams else None
    embeddings, mixtures = _plan_mixtures(config) if config.weights.scores_embeddings else (None, None)
    documents = plan_documents(config.work_dir, config.raw, config.ngrams, config.inputs.id_field)
    ngram_weights: Stage | None = None
    gmm_weights: Stage | None = None
    if ngrams:
        ngram_weights = plan_ngram_weights(documents, ngrams.estimator)
    elif config.weights.uses_ngrams and (files := config.weights.files("ngram_weights")):
        ngram_weights = plan_given_weights(documents, files, config.num_targets)
    if embeddings and mixtures:
        gmm_weights = plan_mixture_weights(documents, embeddings, mixtures)
    elif config.weights.uses_embeddings and (files := config.weights.files("gmm_weights")):
        gmm_weights = plan_given_weights(documents, files, config.num_targets)
    shares = _shares(config, ngrams, embeddings)
    scores = plan_scores(
        documents,
        ngram_weights,
        gmm_weights,
        shares=shares,
        num_targets=config.num_targets,
        options=config.weights,
        min_example_length=config.selection.min_example_length,
    )
    return Stages(ngrams, embeddings, mixtures, documents, ngram_weights, gmm_weights, shares, scores)


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


def _plan_mixtures(config: PipelineConfig) -> tuple[EmbeddingStages, MixtureStages]:
    given = find_given(config.mixtures)
    datasets = [config.raw, *([config.target] if config.target and config.fits_target_mixtures else [])]
    sources = find_sources(config.embeddings, datasets)
    given.check_embeddings(*sources)
    stages = [plan_embeddings(config.work_dir, *one) for one in zip(datasets, sources, strict=True)]
    embeddings = EmbeddingStages(stages[0], stages[1] if len(stages) > 1 else None)
    mixtures = plan_mixtures(
        embeddings,
        given,
        num_targets=config.num_targets,
        options=config.mixtures,
        seed=config.work.fit_seed,
    )
    return embeddings, mixtures


def _shares(config: PipelineConfig, ngrams: NgramStages | None, embeddings: EmbeddingStages | None) -> Stage | None:
    """The stage that counts each of several targets: its n-grams, or where these do not count, its documents."""
    if config.num_targets == 1:
        return None
    if ngrams:
        return ngrams.target_counts
    return embeddings.target if embeddings and config.weights.alpha == 0 else None
