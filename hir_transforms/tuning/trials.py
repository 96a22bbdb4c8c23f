"""`WriteTrials`: candidates tried on hidden target documents, each fold by one worker."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import NUM_FOLDS
from hir_transforms.common import metrics
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.records import ReadTask
from hir_transforms.documents.rejects import LineCounts
from hir_transforms.embeddings.shards import EmbeddingShard
from hir_transforms.ngrams.document_counts import CountDocuments, CountedFile, EndFit
from hir_transforms.ngrams.document_features import lengths
from hir_transforms.ngrams.sampling import DocumentSample
from hir_transforms.tuning.candidates import Choices
from hir_transforms.tuning.documents import TrialFiles, load_documents
from hir_transforms.tuning.fits import FitSettings, judge_fold
from hir_transforms.tuning.holdout import Fold, best, try_candidates

# Folds that hide a document. With fewer there is nothing to tell the scatter by.
_LEAST_FOLDS = 2


@dataclass(frozen=True)
class TrialSettings:
    """What is tried, and on what.

    Attributes:
        choices: the candidates.
        fit: how the estimators are fitted.
        standardize: whether weights are standardized before they are mixed.
        min_example_length: documents of fewer tokens are fitted to, but neither hidden nor selected.
        seed: of the sample and the folds.
        num_to_sample, num_tokens_to_sample: what is to be selected; None where it is not known.
        num_documents: of raw, drawn uniformly, and of the target, at most.
    """

    choices: Choices
    fit: FitSettings
    standardize: bool
    min_example_length: int
    seed: int
    num_to_sample: int | None
    num_tokens_to_sample: int | None
    num_documents: int

    @property
    def sample(self) -> DocumentSample:
        """The documents of raw."""
        return DocumentSample(self.num_documents, self.seed)


def plan_trials(
    work_dir: str, raw: Dataset, target: Dataset, settings: TrialSettings, embeddings: Sequence[Stage] = ()
) -> Stage[TrialSettings]:
    """The stage of the trials. How many of a sample's lines are rejected does not tell their share of all of raw."""
    return Stage.create("trials", work_dir, settings, [target, replace(raw, max_rejected_share=1.0)], embeddings)


@dataclass(eq=False)
class WriteTrials(beam.PTransform):
    """`ReadTask`s of a sample of raw -> the stage, once its manifest tells what each candidate found.

    Of its counts "chosen" are the settings of the `best` one. Several targets are tried as one.

    Attributes:
        stage: says what is tried. Its datasets are the target and raw.
        target: PCollection of the `ReadTask`s of the target.
        shards: `EmbeddingShard`s of the same documents, and perhaps others, of "raw" and "target"; empty where no
            candidate weighs embeddings.
        shared: handle of the process's `NgramFeaturizer` of these settings.

    Raises:
        UserError: when run, for raw, or a target, of too few documents to hide any.
    """

    stage: Stage[TrialSettings]
    _: KW_ONLY
    target: beam.PCollection[ReadTask]
    shards: Mapping[str, beam.PCollection[EmbeddingShard]]
    shared: Shared

    def expand(self, raw: beam.PCollection[ReadTask]) -> beam.PCollection[Stage]:
        """See the class."""
        settings, tasks = self.stage.settings, {"target": self.target, "raw": raw}
        counted = [
            tasks[dataset.role]
            | f"Count {dataset.role}"
            >> CountDocuments(self.stage, dataset, settings.fit.ngrams, settings.seed, self.shared)
            for dataset in self.stage.datasets
        ]
        shards = {
            role: beam.pvalue.AsSingleton(shards | f"Gather {role}" >> Gather())
            for role, shards in self.shards.items()
        }
        files = beam.pvalue.AsSingleton(
            counted | "Counted" >> beam.Flatten() | "Gather" >> Gather() | "Files" >> beam.Map(_files, **shards)
        )
        return (
            raw.pipeline
            | "Folds" >> beam.Create(range(NUM_FOLDS))
            | "Spread" >> beam.Reshuffle()
            | "Judge" >> beam.Map(_judge, files, self.stage)
            | "GatherFolds" >> Gather()
            | "Try" >> beam.Map(_try, files, self.stage)
            | "End" >> EndFit(self.stage)
        )


def _files(counted: list[CountedFile], raw: Any = None, target: Any = None) -> TrialFiles:
    """Of the counts, and of raw's and the target's `EmbeddingShard`s where there are any."""
    shards = {"raw": tuple(raw), "target": tuple(target)} if raw is not None else {}
    return TrialFiles(tuple(counted), shards)


@dataclass(frozen=True, eq=False)
class _JudgedFold:
    """A fold by its number, None where nothing is hidden in it; and of all documents what is the same in each."""

    number: int
    fold: Fold | None
    documents: dict[str, int]
    eligible: dict[str, int]
    eligible_raw_tokens: float


def _judge(number: int, files: TrialFiles, stage: Stage) -> _JudgedFold:
    metrics.count(stage.name, **{metrics.FITTING: 1})
    use_one_thread()
    settings = stage.settings
    ngrams = settings.fit.ngrams
    target, raw = (
        load_documents(
            files,
            dataset.role,
            ngrams,
            num_documents=settings.num_documents,
            min_tokens=settings.min_example_length,
            seed=settings.seed,
        )
        for dataset in stage.datasets
    )
    sides = {"target": target, "raw": raw}
    return _JudgedFold(
        number,
        judge_fold(target, raw, number, settings.choices, settings.fit),
        {role: len(side.folds) for role, side in sides.items()},
        {role: int(side.eligible.sum()) for role, side in sides.items()},
        float(lengths(raw.counts[raw.eligible], ngrams).sum()),
    )


def _try(judged: list[_JudgedFold], files: TrialFiles, stage: Stage) -> dict[str, Any]:
    """What the manifest says of the trials."""
    settings, first = stage.settings, judged[0]
    in_order = sorted(judged, key=lambda one: one.number)
    folds = [one.fold for one in in_order if one.fold]
    if len(folds) < _LEAST_FOLDS:
        few = min(first.eligible, key=lambda role: first.eligible[role])
        raise UserError(
            f"--{few}: too few documents of {settings.min_example_length} tokens and more to try on them what is left "
            "to auto; give values instead"
        )
    if settings.standardize:
        folds = [fold.standardized() for fold in folds]
    trials = try_candidates(settings.choices.candidates(), folds, _share(files, first, settings))
    lines = functools.reduce(LineCounts.merge, (one.lines for one in files.of_role("target")), LineCounts())
    return {
        **lines.summary(),
        "documents": lines.documents,
        "target_documents": first.documents["target"],
        "raw_documents": first.documents["raw"],
        "chosen": best(trials).candidate.settings(),
        "trials": [
            {**one.candidate.settings(), "recall": one.recall, "standard_error": one.standard_error} for one in trials
        ],
    }


def _share(files: TrialFiles, judged: _JudgedFold, settings: TrialSettings) -> float | None:
    """The share of raw's eligible documents that is to be selected; None where it is not known."""
    read, eligible = files.of_role("raw"), judged.eligible["raw"]
    num_eligible = sum(one.lines.documents for one in read) / read[0].fraction * eligible / judged.documents["raw"]
    if settings.num_to_sample is not None:
        return settings.num_to_sample / num_eligible
    if settings.num_tokens_to_sample is not None:
        return settings.num_tokens_to_sample / (num_eligible * judged.eligible_raw_tokens / eligible)
    return None
