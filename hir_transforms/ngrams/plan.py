"""The stages of the n-gram estimator, and what each depends on."""

from dataclasses import dataclass, replace

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.datasets import Dataset
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.fitting import CountSettings, EstimatorSettings
from hir_transforms.ngrams.sampling import NgramSample, needs_sampling
from hir_transforms.ngrams.settings import NgramFitOptions


@dataclass(frozen=True)
class NgramStages:
    """The n-gram counts of raw and of the targets, and the estimator that is fitted to them."""

    raw_counts: Stage[CountSettings]
    target_counts: Stage[CountSettings]
    estimator: Stage[EstimatorSettings]


def plan_ngrams(
    work_dir: str,
    raw: Dataset,
    target: Dataset,
    *,
    num_targets: int,
    ngrams: NgramSettings,
    fit: NgramFitOptions,
    seed: int,
) -> NgramStages:
    """The counts depend on how n-grams are made and on which part of raw is counted; the estimator, on both counts."""
    sample = _sample(raw, ngrams, fit, seed)
    # How many of a sample's lines are rejected does not tell their share of all.
    counted = replace(raw, max_rejected_share=1.0) if sample else raw
    raw_counts = Stage.create("counts/raw", work_dir, CountSettings(ngrams, sample=sample), [counted])
    target_counts = Stage.create("counts/target", work_dir, CountSettings(ngrams, num_targets), [target])
    settings = EstimatorSettings(ngrams, fit.target_laplace_smoothing)
    estimator = Stage.create("ngram", work_dir, settings, upstream=[raw_counts, target_counts])
    return NgramStages(raw_counts, target_counts, estimator)


def _sample(raw: Dataset, ngrams: NgramSettings, fit: NgramFitOptions, seed: int) -> NgramSample | None:
    """Which part of raw to count; None for all, also where raw cannot hold more n-grams than asked for."""
    num_ngrams = fit.max_ngrams(ngrams.num_buckets)
    if num_ngrams is None or not needs_sampling(num_ngrams, ngrams, raw.list_files()):
        return None
    return NgramSample(num_ngrams, seed)
