"""The stages of a selection, each with the fingerprint of everything that it depends on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from hir_transforms.config import SelectConfig
from hir_transforms.datasets import Dataset
from hir_transforms.given_mixtures import GivenMixture, given_mixtures
from hir_transforms.given_weights import find_weights
from hir_transforms.gmm_fitting import MixtureSettings
from hir_transforms.ngram_sampling import NgramSample, needs_sampling
from hir_transforms.numerics.ngrams import feature_dependencies, token_versions
from hir_transforms.stages import Stage
from pipelines.embeddings import Sources, find_sources, plan_embeddings


@dataclass(frozen=True)
class NgramStages:
    """The stages of the n-gram estimator, and which part of raw it is fitted to (None: all)."""

    raw_counts: Stage
    target_counts: Stage
    estimator: Stage
    sample: NgramSample | None


@dataclass(frozen=True)
class EmbeddingStages:
    """The stages of embeddings and mixtures.

    Attributes:
        sources: where embeddings come from.
        raw, target: the embeddings; None for a target whose mixtures are given, since nothing reads them then.
        projection: fitted on raw, the same for all mixtures; None for none.
        raw_mixture, target_mixtures: a stage each, or the file that the user gave instead.
        raw_settings, target_settings: how mixtures are fitted.
    """

    sources: Sources
    raw: Stage
    target: Stage | None
    projection: Stage | None
    raw_mixture: Stage | GivenMixture
    target_mixtures: tuple[Stage | GivenMixture, ...]
    raw_settings: MixtureSettings
    target_settings: MixtureSettings

    @property
    def mixtures(self) -> list[Stage]:
        """The mixtures that are fitted."""
        return [mixture for mixture in (self.raw_mixture, *self.target_mixtures) if isinstance(mixture, Stage)]


@dataclass(frozen=True)
class Stages:
    """The stages of a selection; None where alpha, or what the user gives, makes a part unnecessary.

    Attributes:
        ngrams: of the n-gram estimator; None where the weights are given.
        embeddings: of the mixtures; None where the weights are given.
        documents: the list of raw's documents.
        ngram_weights, gmm_weights: of the documents.
        given_weights: the files of weights that the user gave, by their stage's name.
        scores: the score shards.
    """

    ngrams: NgramStages | None
    embeddings: EmbeddingStages | None
    documents: Stage
    ngram_weights: Stage | None
    gmm_weights: Stage | None
    given_weights: dict[str, Dataset]
    scores: Stage

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

    def stage(name: str, settings: dict[str, Any], datasets: Sequence[Dataset], *upstream: Stage) -> Stage:
        return Stage.create(name, config.work_dir, settings, datasets, upstream)

    ngrams = _plan_ngrams(config) if config.fits_ngrams else None
    embeddings = _plan_mixtures(config) if config.scores_embeddings else None
    tokenizer = config.ngram_settings.tokenizer
    tokens = {"tokenizer": tokenizer, "ngrams": config.ngram_settings.ngrams, **token_versions(tokenizer)}
    ids = {"id_field": config.id_field} if config.id_field else {}
    documents = stage("documents", tokens | ids, [config.raw])
    given = {
        files.role: find_weights(files, config.num_targets)
        for files, used in ((config.ngram_weights, config.uses_ngrams), (config.gmm_weights, config.uses_embeddings))
        if files and used
    }
    weights = {name: stage(name, {}, [files], documents) for name, files in given.items()}
    if ngrams:
        weights["ngram_weights"] = stage("ngram_weights", {}, [], documents, ngrams.estimator)
    if embeddings:
        mixtures = (embeddings.raw_mixture, *embeddings.target_mixtures)
        digests = {mixture.flag: mixture.digest for mixture in mixtures if isinstance(mixture, GivenMixture)}
        upstream = (documents, embeddings.raw, *embeddings.mixtures)
        weights["gmm_weights"] = stage("gmm_weights", {"given": digests}, [], *upstream)
    mixing = {"alpha": config.alpha, "weight_scaling": config.weight_scaling}
    if config.weight_scaling != "none":
        mixing["min_example_length"] = config.min_example_length
    scores = stage("scores", mixing, [config.raw], documents, *weights.values())
    return Stages(
        ngrams, embeddings, documents, weights.get("ngram_weights"), weights.get("gmm_weights"), given, scores
    )


def _plan_ngrams(config: SelectConfig) -> NgramStages:
    assert config.target
    settings = feature_dependencies(config.ngram_settings)
    sample = _ngram_sample(config)
    # How many of a sample's lines are rejected does not tell their share of all.
    counted = replace(config.raw, max_rejected_share=1.0) if sample else config.raw
    raw = Stage.create(
        "counts/raw", config.work_dir, settings | {"sample": asdict(sample) if sample else None}, [counted]
    )
    target = Stage.create(
        "counts/target", config.work_dir, settings | {"num_targets": config.num_targets}, [config.target]
    )
    smoothing = {"target_laplace_smoothing": config.target_laplace_smoothing}
    return NgramStages(raw, target, Stage.create("ngram", config.work_dir, smoothing, [], [raw, target]), sample)


def _ngram_sample(config: SelectConfig) -> NgramSample | None:
    """Which part of raw to count; None for all, also where raw cannot hold more n-grams than asked for."""
    num_ngrams = config.num_ngrams_to_fit
    if num_ngrams is None or not needs_sampling(num_ngrams, config.ngram_settings, config.raw.list_files()):
        return None
    return NgramSample(num_ngrams, config.fit_seed)


def _plan_mixtures(config: SelectConfig) -> EmbeddingStages:
    given = given_mixtures(config)
    sources = find_sources(config)

    def settings(role: str, components: int) -> MixtureSettings:
        return MixtureSettings(
            components, config.gmm_max_iter, config.gmm_tol, config.fit_seed, config.max_samples(role)
        )

    raw_settings = settings("raw", config.raw_components)
    target_settings = settings("target", config.target_components)
    raw = plan_embeddings(config.work_dir, config.raw, sources.raw)
    projection = None
    if config.embedding_dim:
        projection = Stage.create("projection", config.work_dir, {"dim": config.embedding_dim}, [], [raw])

    def mixture(name: str, how: MixtureSettings, embeddings: Stage, target: int | None = None) -> Stage:
        upstream = [embeddings, projection] if projection else [embeddings]
        # Only where there are several is it a question which documents belong to the target.
        which = {"target": target} if config.num_targets > 1 and target is not None else {}
        return Stage.create(f"gmm/{name}", config.work_dir, asdict(how) | which, [], upstream)

    raw_mixture: Stage | GivenMixture = given.raw or mixture("raw", raw_settings, raw)
    target: Stage | None = None
    target_mixtures: tuple[Stage | GivenMixture, ...] = given.targets
    if not target_mixtures:
        assert config.target
        assert sources.target
        target = plan_embeddings(config.work_dir, config.target, sources.target)
        target_mixtures = tuple(
            mixture(f"target-{number}", target_settings, target, number) for number in range(config.num_targets)
        )
    return EmbeddingStages(
        sources, raw, target, projection, raw_mixture, target_mixtures, raw_settings, target_settings
    )
