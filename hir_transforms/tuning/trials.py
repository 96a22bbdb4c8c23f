"""`WriteTrials`: the n-gram estimators, tried on hidden target documents by one worker."""

import functools
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.utils.shared import Shared
from scipy import sparse

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.classifiers.logistic import NUM_FOLDS
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.records import ReadTask
from hir_transforms.documents.rejects import LineCounts, check_rejected
from hir_transforms.files import storage
from hir_transforms.ngrams.document_counts import FOLDER, CountDocuments, CountedFile
from hir_transforms.ngrams.document_features import load_counts
from hir_transforms.ngrams.features import NgramSettings, num_tokens
from hir_transforms.tuning.fits import Documents, judge_fold
from hir_transforms.tuning.holdout import best, try_estimators

# Folds that hide a document. With fewer there is nothing to tell the scatter by.
_LEAST_FOLDS = 2


@dataclass(frozen=True)
class TrialSettings:
    """What the estimators are tried on, and how they are fitted.

    Attributes:
        ngrams: how n-grams are made.
        target_laplace_smoothing: of the ratio.
        min_example_length: documents of fewer tokens are fitted to, but neither hidden nor selected.
        seed: of the sample and the folds.
        num_to_sample, num_tokens_to_sample: what is to be selected; None where it is not known.
        num_documents: of raw, drawn uniformly, and of the target, at most.
    """

    ngrams: NgramSettings
    target_laplace_smoothing: float
    min_example_length: int
    seed: int
    num_to_sample: int | None
    num_tokens_to_sample: int | None
    num_documents: int = 20_000


def plan_trials(work_dir: str, raw: Dataset, target: Dataset, settings: TrialSettings) -> Stage[TrialSettings]:
    """The stage of the trials. How many of a sample's lines are rejected does not tell their share of all of raw."""
    return Stage.create("trials", work_dir, settings, [target, replace(raw, max_rejected_share=1.0)])


@dataclass(eq=False)
class WriteTrials(beam.PTransform):
    """`ReadTask`s of a sample of raw -> the stage, once its manifest tells what each estimator found.

    Of its counts "chosen" is the name of the one that found most. Several targets are tried as one.

    Attributes:
        stage: says what is tried. Its datasets are the target and raw.
        target: PCollection of the `ReadTask`s of the target.
        shared: handle of the process's `NgramFeaturizer` of these settings.

    Raises:
        UserError: when run, for raw, or a target, of too few documents to hide any.
    """

    stage: Stage[TrialSettings]
    _: KW_ONLY
    target: beam.PCollection[ReadTask]
    shared: Shared

    def expand(self, raw: beam.PCollection[ReadTask]) -> beam.PCollection[Stage]:
        """See the class."""
        settings, tasks = self.stage.settings, {"target": self.target, "raw": raw}
        counted = [
            tasks[dataset.role]
            | f"Count {dataset.role}"
            >> CountDocuments(self.stage, dataset, settings.ngrams, settings.seed, self.shared)
            for dataset in self.stage.datasets
        ]
        written = (
            counted
            | "Counted" >> beam.Flatten()
            | "Gather" >> Gather()
            | "Try" >> beam.Map(_try, self.stage)
            | "Manifest" >> WriteStageManifest(self.stage)
        )
        # After a shuffle, so that no other attempt to try can come later.
        written | "Tried" >> beam.Reshuffle() | "RemoveCounts" >> beam.Map(_remove, self.stage.path(FOLDER))
        return (
            written
            | "CheckRejected" >> beam.Map(check_rejected, self.stage.dataset)
            | "Trials" >> beam.Map(lambda _, stage: stage, self.stage)
        )


def _remove(_: Any, folder: str) -> None:
    storage.remove_folder(folder)


def _try(files: list[CountedFile], stage: Stage) -> dict[str, Any]:
    """What the manifest says of the trials."""
    metrics.count(stage.name, **{metrics.FITTING: 1})
    use_one_thread()
    settings = stage.settings
    target, raw = (_load(files, dataset.role, settings) for dataset in stage.datasets)
    smoothing = settings.target_laplace_smoothing
    judged = (
        judge_fold(target, raw, fold, settings.ngrams, target_laplace_smoothing=smoothing) for fold in range(NUM_FOLDS)
    )
    folds = [fold for fold in judged if fold is not None]
    if len(folds) < _LEAST_FOLDS:
        few = "target" if target.eligible.sum() <= raw.eligible.sum() else "raw"
        raise UserError(
            f"--{few}: too few documents of {settings.min_example_length} tokens and more to try "
            "--ngram_estimator auto on; give ratio or classifier"
        )
    trials = try_estimators(folds, _share(files, raw, settings))
    lines = functools.reduce(LineCounts.merge, (one.lines for one in files if one.role == "target"), LineCounts())
    return {
        **lines.summary(),
        "documents": lines.documents,
        "target_documents": len(target.folds),
        "raw_documents": len(raw.folds),
        "chosen": best(trials).estimator,
        "trials": [
            {
                "ngram_estimator": one.estimator,
                "recall": one.recall,
                "standard_error": one.standard_error,
            }
            for one in trials
        ],
    }


def _load(files: list[CountedFile], role: str, settings: TrialSettings) -> Documents:
    of_role = sorted((one for one in files if one.role == role), key=lambda one: one.index)
    paths = [one.path for one in of_role if one.path]
    counts, folds = load_counts(paths, settings.num_documents, settings.ngrams.num_buckets)
    return Documents(counts, folds, _lengths(counts, settings) >= settings.min_example_length)


def _lengths(counts: sparse.csr_matrix, settings: TrialSettings) -> npt.NDArray[np.int64]:
    return num_tokens(np.asarray(counts.sum(axis=1)).ravel(), settings.ngrams.ngrams)


def _share(files: list[CountedFile], raw: Documents, settings: TrialSettings) -> float | None:
    """The share of raw's eligible documents that is to be selected; None where it is not known."""
    read = [one for one in files if one.role == "raw"]
    num_eligible = sum(one.lines.documents for one in read) / read[0].fraction * raw.eligible.mean()
    if settings.num_to_sample is not None:
        return settings.num_to_sample / num_eligible
    if settings.num_tokens_to_sample is not None:
        return settings.num_tokens_to_sample / (num_eligible * _lengths(raw.counts[raw.eligible], settings).mean())
    return None
