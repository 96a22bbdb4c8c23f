"""The stages of the n-gram estimators, and what each depends on."""

from dataclasses import dataclass, replace

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.datasets import Dataset
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.fitting import CountSettings, EstimatorSettings
from hir_transforms.ngrams.sampling import NgramSample, needs_sampling
from hir_transforms.ngrams.settings import NgramFitOptions


@dataclass(frozen=True)
class NgramStages:
    """The n-gram estimator, and the counts that are needed beside it.

    Attributes:
        estimator: the ratio, or the classifier.
        raw_counts: n-gram counts of raw; None for the classifier, which reads the text itself.
        target_counts: n-gram counts of the targets; None for the classifier of one target.
    """

    estimator: Stage[EstimatorSettings] | Stage[ClassifierSettings]
    raw_counts: Stage[CountSettings] | None
    target_counts: Stage[CountSettings] | None

    def reader(self, role: str) -> Stage | None:
        """The stage that reads all lines of raw or of the target; None where none does."""
        if role == "raw":
            return self.raw_counts
        return self.target_counts or self.estimator


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
    """The counts depend on how n-grams are made and on which part of raw is counted; the ratio, on both counts.

    The classifier depends on the text of both. The counts of several targets tell their shares.
    """
    target_counts = Stage.create("counts/target", work_dir, CountSettings(ngrams, num_targets), [target])
    if fit.ngram_estimator == "classifier":
        classifier = ClassifierSettings(ngrams, num_targets, fit.num_documents_to_fit, seed)
        stage = Stage.create("ngram_classifier", work_dir, classifier, [target, replace(raw, max_rejected_share=1.0)])
        return NgramStages(stage, None, target_counts if num_targets > 1 else None)
    sample = _sample(raw, ngrams, fit, seed)
    # How many of a sample's lines are rejected does not tell their share of all.
    counted = replace(raw, max_rejected_share=1.0) if sample else raw
    raw_counts = Stage.create("counts/raw", work_dir, CountSettings(ngrams, sample=sample), [counted])
    settings = EstimatorSettings(ngrams, fit.target_laplace_smoothing)
    estimator = Stage.create("ngram", work_dir, settings, upstream=[raw_counts, target_counts])
    return NgramStages(estimator, raw_counts, target_counts)


def _sample(raw: Dataset, ngrams: NgramSettings, fit: NgramFitOptions, seed: int) -> NgramSample | None:
    """Which part of raw to count; None for all, also where raw cannot hold more n-grams than asked for."""
    num_ngrams = fit.max_ngrams(ngrams.num_buckets)
    if num_ngrams is None or not needs_sampling(num_ngrams, ngrams, raw.list_files()):
        return None
    return NgramSample(num_ngrams, seed)
