"""The graph of the trials by which settings are chosen: a sample of raw, and the target, to the table."""

from dataclasses import dataclass

import apache_beam as beam
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage, missing_stages
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.embeddings.plan import find_sources, plan_embeddings, plan_sampled_embeddings
from hir_transforms.embeddings.source import EmbeddingSource, SampledSource
from hir_transforms.graph.embeddings import embed_documents, read_shards
from hir_transforms.mixtures.plan import mixture_settings
from hir_transforms.ngrams.sampling import ReadSampledTasks, holds_all
from hir_transforms.ngrams.settings import ESTIMATORS
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.tuning.candidates import ALPHAS, EMBEDDING_DIMS, EMBEDDING_ESTIMATORS, Choices
from hir_transforms.tuning.fits import FitSettings
from hir_transforms.tuning.trials import TrialSettings, WriteTrials, plan_trials

EmbeddingStage = Stage[EmbeddingSource] | Stage[SampledSource]


@dataclass(frozen=True)
class TrialPlan:
    """The stages of the trials.

    Attributes:
        trials: the trials themselves.
        embeddings: by role; of a large dataset those of a sample. Empty where no candidate weighs embeddings.
    """

    trials: Stage[TrialSettings]
    embeddings: dict[str, EmbeddingStage]

    @classmethod
    def of(cls, config: PipelineConfig, *, may_distill: bool = True) -> "TrialPlan":
        """The plan for what a config with a target leaves to be chosen; see `find_sources`."""
        assert config.target
        settings, embeddings = trial_settings(config), {}
        if settings.choices.embeddings:
            datasets = [config.raw, config.target]
            sources = find_sources(config.work_dir, config.embeddings, datasets, may_distill=may_distill)
            for dataset, source in zip(datasets, sources, strict=True):
                embeddings[dataset.role] = _plan_embeddings(config, dataset, source, settings)
        return cls(
            plan_trials(config.work_dir, config.raw, config.target, settings, [*embeddings.values()]), embeddings
        )

    @property
    def stages(self) -> list[Stage]:
        """All of them, each after those that it depends on."""
        return [*self.embeddings.values(), self.trials]

    @property
    def missing(self) -> list[Stage]:
        """The stages to compute."""
        return missing_stages([self.trials])

    def add_to(self, pipeline: beam.Pipeline) -> None:
        """Adds what computes the missing stages."""
        (target, raw), settings = self.trials.datasets, self.trials.settings
        sample, ngrams = settings.sample, settings.fit.ngrams
        missing, shards = self.missing, {}
        for role, stage in self.embeddings.items():
            sampled = isinstance(stage.settings, SampledSource)
            tasks = ReadSampledTasks(stage.dataset, ngrams, sample, stage.name) if sampled else None
            compute = stage in missing
            shards[role] = embed_documents(pipeline, stage, tasks=tasks) if compute else read_shards(pipeline, stage)
        raw_tasks = pipeline | "SampleDocuments" >> ReadSampledTasks(raw, ngrams, sample, self.trials.name)
        target_tasks = pipeline | "TargetDocuments" >> ReadTasks(target)
        _ = raw_tasks | "Trials" >> WriteTrials(self.trials, target=target_tasks, shards=shards, shared=Shared())


def _plan_embeddings(
    config: PipelineConfig, dataset: Dataset, source: EmbeddingSource, settings: TrialSettings
) -> EmbeddingStage:
    """Of a dataset that the sample holds all of, the stage that the selection takes as well."""
    if holds_all(settings.sample, dataset, config.ngrams):
        return plan_embeddings(config.work_dir, dataset, source)
    return plan_sampled_embeddings(config.work_dir, dataset, source, settings.sample)


def choices_of(config: PipelineConfig) -> Choices:
    """What a config leaves to be chosen from, and its values of the rest; none of what does not count."""
    weights, auto = config.weights, config.auto
    alphas = ALPHAS if "alpha" in auto else (weights.alpha,)
    ngrams = ESTIMATORS if "ngram_estimator" in auto else (config.ngram_fit.ngram_estimator,)
    embedding_estimators = EMBEDDING_ESTIMATORS if "embedding_estimator" in auto else (weights.embedding_estimator,)
    embedding_dims = EMBEDDING_DIMS if "embedding_dim" in auto else (config.mixtures.embedding_dim,)
    if alphas == (0.0,):
        return Choices(alphas, (), embedding_estimators, embedding_dims)
    if alphas == (1.0,):
        return Choices(alphas, ngrams, (), ())
    return Choices(alphas, ngrams, embedding_estimators, embedding_dims)


def trial_settings(config: PipelineConfig) -> TrialSettings:
    """What a config has tried, and how the estimators are fitted to that."""
    selection, seed = config.selection, config.work.fit_seed
    fit = FitSettings(
        config.ngrams,
        config.ngram_fit.target_laplace_smoothing,
        config.weights.weight_per_token,
        mixture_settings(config.mixtures, "raw", seed=seed),
        mixture_settings(config.mixtures, "target", seed=seed),
    )
    return TrialSettings(
        choices_of(config),
        fit,
        config.weights.weight_scaling == "standardize",
        selection.min_example_length,
        seed,
        selection.num_to_sample,
        selection.num_tokens_to_sample,
        config.weights.num_documents_to_try,
    )


def with_kept_choice(config: PipelineConfig) -> PipelineConfig:
    """A config that leaves settings open, with those that the last trials in its work folder chose.

    Where there are none, with the defaults.
    """
    if not config.auto:
        return config
    manifest = Stage("trials", config.work_dir, None, (), (), "").read_manifest()
    chosen = manifest["counts"]["chosen"] if manifest else {}
    return config.chosen({name: value for name, value in chosen.items() if name in config.auto})
