"""The stages of a selection, each with the fingerprint of everything that it depends on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from hir_transforms.embeddings.source import EmbeddingSource
from hir_transforms.graph.embeddings import find_sources, plan_embeddings
from hir_transforms.mixtures.fit_projection import ProjectionSettings
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.mixtures.given import GivenMixture, GivenMixtures, given_mixtures
from hir_transforms.ngrams.fitting import CountSettings, EstimatorSettings
from hir_transforms.ngrams.sampling import NgramSample, needs_sampling
from hir_transforms.settings.config import SelectConfig
from hir_transforms.weights.given import GivenWeights, find_weights
from hir_transforms.weights.mixing import MixingSettings
from hir_transforms.weights.ngram_weights import ListingSettings

SettingsT = TypeVar("SettingsT")


@dataclass(frozen=True)
class NgramStages:
    """The stages of the n-gram estimator."""

    raw_counts: Stage[CountSettings]
    target_counts: Stage[CountSettings]
    estimator: Stage[EstimatorSettings]


@dataclass(frozen=True)
class EmbeddingStages:
    """The stages of embeddings and mixtures.

    Attributes:
        raw, target: the embeddings; None for a target whose mixtures are given, since nothing reads them then.
        projection: fitted on raw, the same for all mixtures; None for none.
        raw_mixture, target_mixtures: a stage each, or the file that the user gave instead.
    """

    raw: Stage[EmbeddingSource]
    target: Stage[EmbeddingSource] | None
    projection: Stage[ProjectionSettings] | None
    raw_mixture: Stage[MixtureSettings] | GivenMixture
    target_mixtures: tuple[Stage[MixtureSettings] | GivenMixture, ...]

    @property
    def mixtures(self) -> list[Stage[MixtureSettings]]:
        """The mixtures that are fitted."""
        return [mixture for mixture in (self.raw_mixture, *self.target_mixtures) if isinstance(mixture, Stage)]

    @property
    def given(self) -> GivenMixtures:
        """The mixtures that are not."""
        raw = self.raw_mixture if isinstance(self.raw_mixture, GivenMixture) else None
        return GivenMixtures(raw, tuple(one for one in self.target_mixtures if isinstance(one, GivenMixture)))


@dataclass(frozen=True)
class Stages:
    """The stages of a selection; None where alpha, or what the user gives, makes a part unnecessary.

    Attributes:
        ngrams: of the n-gram estimator; None where the weights are given.
        embeddings: of the mixtures; None where the weights are given.
        documents: the list of raw's documents.
        ngram_weights, gmm_weights: of the documents; given by the user where the settings are `GivenWeights`.
        shares: which tells how large each of several targets is; None for one target, or where it is not known.
        scores: the score shards.
    """

    ngrams: NgramStages | None
    embeddings: EmbeddingStages | None
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
        fitted = [self.ngrams.estimator] if self.ngrams else []
        return fitted + ([self.embeddings.raw, *self.embeddings.mixtures] if self.embeddings else [])


def plan_stages(config: SelectConfig) -> Stages:
    """All stages of `select`; raises `UserError` for a model or a file that cannot be found."""
    ngrams = _plan_ngrams(config) if config.fits_ngrams else None
    embeddings = _plan_mixtures(config) if config.scores_embeddings else None
    documents = _stage(config, "documents", ListingSettings.of(config.ngram_settings, config.id_field), [config.raw])
    ngram_weights: Stage | None = None
    gmm_weights: Stage | None = None
    if ngrams:
        settings = ngrams.estimator.settings.ngrams
        ngram_weights = _stage(config, "ngram_weights", settings, [config.raw], documents, ngrams.estimator)
    elif config.ngram_weights and config.uses_ngrams:
        ngram_weights = _plan_given_weights(config, config.ngram_weights, documents)
    if embeddings:
        gmm_weights = _stage(
            config, "gmm_weights", embeddings.given, [], documents, embeddings.raw, *embeddings.mixtures
        )
    elif config.gmm_weights and config.uses_embeddings:
        gmm_weights = _plan_given_weights(config, config.gmm_weights, documents)
    shares = _shares(config, ngrams, embeddings)
    mixing = MixingSettings(
        config.alpha,
        config.num_targets,
        config.weight_scaling,
        None if config.weight_scaling == "none" else config.min_example_length,
    )
    upstream = [stage for stage in (documents, ngram_weights, gmm_weights, shares) if stage]
    scores = _stage(config, "scores", mixing, [config.raw], *upstream)
    return Stages(ngrams, embeddings, documents, ngram_weights, gmm_weights, shares, scores)


def _stage(
    config: SelectConfig, name: str, settings: SettingsT, datasets: Sequence[Dataset], *upstream: Stage
) -> Stage[SettingsT]:
    return Stage.create(name, config.work_dir, settings, datasets, upstream)


def _plan_given_weights(config: SelectConfig, files: Dataset, documents: Stage) -> Stage[GivenWeights]:
    files = find_weights(files, config.num_targets)
    return _stage(config, files.role, GivenWeights(config.num_targets), [files], documents)


def _shares(config: SelectConfig, ngrams: NgramStages | None, embeddings: EmbeddingStages | None) -> Stage | None:
    """The stage that counts each of several targets: its n-grams, or where these do not count, its documents."""
    if config.num_targets == 1:
        return None
    if ngrams:
        return ngrams.target_counts
    return embeddings.target if embeddings and config.alpha == 0 else None


def _plan_ngrams(config: SelectConfig) -> NgramStages:
    assert config.target
    settings = config.ngram_settings
    sample = _ngram_sample(config)
    # How many of a sample's lines are rejected does not tell their share of all.
    counted = replace(config.raw, max_rejected_share=1.0) if sample else config.raw
    raw = _stage(config, "counts/raw", CountSettings(settings, sample=sample), [counted])
    target = _stage(config, "counts/target", CountSettings(settings, config.num_targets), [config.target])
    fitting = EstimatorSettings(settings, config.target_laplace_smoothing)
    return NgramStages(raw, target, _stage(config, "ngram", fitting, [], raw, target))


def _ngram_sample(config: SelectConfig) -> NgramSample | None:
    """Which part of raw to count; None for all, also where raw cannot hold more n-grams than asked for."""
    num_ngrams = config.num_ngrams_to_fit
    if num_ngrams is None or not needs_sampling(num_ngrams, config.ngram_settings, config.raw.list_files()):
        return None
    return NgramSample(num_ngrams, config.fit_seed)


def _plan_mixtures(config: SelectConfig) -> EmbeddingStages:
    given = given_mixtures(config.raw_gmm, config.target_gmm)
    if config.embedding_dim and (given.raw or given.targets):
        flags = " and ".join(dict.fromkeys(one.flag for one in (given.raw, *given.targets) if one))
        raise UserError(f"--embedding_dim: does not go with a given mixture ({flags}), which has its own")
    sources = find_sources(config)
    given.check_embeddings(sources.raw, sources.target)
    raw = plan_embeddings(config.work_dir, config.raw, sources.raw)
    projection = None
    if config.embedding_dim:
        projection = _stage(config, "projection", ProjectionSettings(config.embedding_dim), [], raw)

    def fitted(name: str, components: int, embeddings: Stage, target: int | None = None) -> Stage[MixtureSettings]:
        max_samples = config.max_samples(embeddings.dataset.role)
        settings = MixtureSettings(
            components, config.gmm_max_iter, config.gmm_tol, config.fit_seed, max_samples, target
        )
        return _stage(config, f"gmm/{name}", settings, [], embeddings, *([projection] if projection else []))

    raw_mixture = given.raw or fitted("raw", config.raw_components, raw)
    target: Stage[EmbeddingSource] | None = None
    target_mixtures: tuple[Stage[MixtureSettings] | GivenMixture, ...] = given.targets
    if not target_mixtures:
        assert config.target
        assert sources.target
        target = plan_embeddings(config.work_dir, config.target, sources.target)
        # Only where there are several is it a question which documents belong to the target.
        numbers = range(config.num_targets) if config.num_targets > 1 else [None]
        target_mixtures = tuple(
            fitted(f"target-{number or 0}", config.target_components, target, number) for number in numbers
        )
    return EmbeddingStages(raw, target, projection, raw_mixture, target_mixtures)
