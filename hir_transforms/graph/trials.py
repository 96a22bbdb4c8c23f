"""The graph of the trials by which an n-gram estimator is chosen: a sample of raw, and the target, to the table."""

import apache_beam as beam
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.reading import ReadTasks
from hir_transforms.graph.plan import plan_stages
from hir_transforms.ngrams.sampling import DocumentSample, ReadSampledTasks
from hir_transforms.ngrams.settings import ESTIMATORS
from hir_transforms.settings.config import PipelineConfig
from hir_transforms.tuning.trials import TrialSettings, WriteTrials, plan_trials


def trials_of(config: PipelineConfig) -> Stage[TrialSettings]:
    """The stage of the trials for a config that has a target."""
    assert config.target
    selection = config.selection
    settings = TrialSettings(
        config.ngrams,
        config.ngram_fit.target_laplace_smoothing,
        selection.min_example_length,
        config.work.fit_seed,
        selection.num_to_sample,
        selection.num_tokens_to_sample,
    )
    return plan_trials(config.work_dir, config.raw, config.target, settings)


def try_estimators(pipeline: beam.Pipeline, stage: Stage[TrialSettings]) -> None:
    """Adds what computes the stage."""
    (target, raw), settings = stage.datasets, stage.settings
    sample = DocumentSample(settings.num_documents, settings.seed)
    raw_tasks = pipeline | "SampleDocuments" >> ReadSampledTasks(raw, settings.ngrams, sample, stage.name)
    target_tasks = pipeline | "TargetDocuments" >> ReadTasks(target)
    _ = raw_tasks | "Trials" >> WriteTrials(stage, target=target_tasks, shared=Shared())


def with_kept_estimator(config: PipelineConfig) -> PipelineConfig:
    """A config that leaves the n-gram estimator open, with that by which the weights in its work folder were computed.

    Where no weights of these settings and files are there, with the first estimator.
    """
    if not config.leaves_estimator:
        return config
    configs = [config.with_estimator(name) for name in ESTIMATORS]
    return next((one for one in configs if _has_weights(one)), configs[0])


def _has_weights(config: PipelineConfig) -> bool:
    weights = plan_stages(config).ngram_weights
    return weights is not None and weights.manifest() is not None
