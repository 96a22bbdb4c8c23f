"""`WriteDocumentParts`: the one pass over raw's text; lists its documents and their n-gram importance weights."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from hir_transforms.artifacts.stages import Stage, WriteManifestOfAll
from hir_transforms.classifiers.logistic import folds_of
from hir_transforms.common import metrics
from hir_transforms.common.errors import UserError
from hir_transforms.documents.reading import DocumentReader, count_read
from hir_transforms.documents.records import DocumentGroup, ReadTask, Reject
from hir_transforms.documents.rejects import LineCounts, check_rejected, write_rejects
from hir_transforms.ngrams.classifier import NgramClassifier
from hir_transforms.ngrams.classifier_fitting import ClassifierSettings, load_classifier
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings, num_tokens, token_versions
from hir_transforms.ngrams.fitting import load_estimator
from hir_transforms.weights.parts import (
    ColumnWriter,
    DocumentPart,
    DocumentWriter,
    count_lines,
    part_path,
    weight_column,
    write_documents,
    write_weights,
)


@dataclass(frozen=True)
class ListingSettings:
    """What the list of documents depends on: how their lengths are told, and the field of ids or None."""

    tokenizer: str
    ngrams: int
    id_field: str | None = None

    @classmethod
    def of(cls, settings: NgramSettings, id_field: str | None = None) -> "ListingSettings":
        """That of documents whose n-grams are made with these settings."""
        return cls(settings.tokenizer, settings.ngrams, id_field)

    def dependencies(self) -> dict[str, Any]:
        """All that the list depends on: the settings and the versions of what they name."""
        return asdict(self) | token_versions(self.tokenizer)

    @property
    def ngram_settings(self) -> NgramSettings:
        """Settings that lengths are told with."""
        return NgramSettings(tokenizer=self.tokenizer, ngrams=self.ngrams)


@dataclass(eq=False)
class WriteDocumentParts(beam.PTransform):
    """`ReadTask`s of raw -> its `DocumentPart`s, written to the stages' folders.

    They go on once all are read and the share of rejected lines is known to be one that raw allows.

    Attributes:
        documents: where the documents are listed; None where they are listed already.
        ngram_weights: where their n-gram weights are written, both of the same dataset; None for none.
        estimator: PCollection of the stage of the one `NgramEstimator` or `NgramClassifier`; None without an n-gram
            part.
        shared: handle of the process's `NgramFeaturizer` of these settings.
    """

    documents: Stage[ListingSettings] | None
    ngram_weights: Stage[NgramSettings] | None
    _: KW_ONLY
    estimator: beam.PCollection[Stage] | None
    shared: Shared

    def expand(self, tasks: beam.PCollection[ReadTask]) -> beam.PCollection[DocumentPart]:
        """See the class."""
        stages = [stage for stage in (self.documents, self.ngram_weights) if stage]
        estimator = None if self.estimator is None else beam.pvalue.AsSingleton(self.estimator)
        do_fn = _ScoreDoFn(self.documents, self.ngram_weights, self.shared)
        parts = tasks | "Score" >> beam.ParDo(do_fn, estimator)
        counts = parts | "Manifest" >> WriteManifestOfAll(count_lines, stages)
        checked = counts | "CheckRejected" >> beam.Map(check_rejected, stages[0].dataset)
        # Nothing goes on from here, such as the embedding, before the check.
        return parts | "Checked" >> beam.Map(lambda part, _: part, beam.pvalue.AsSingleton(checked))


@dataclass(eq=False)
class _ScoreDoFn(beam.DoFn):
    documents: Stage[ListingSettings] | None
    ngram_weights: Stage[NgramSettings] | None
    shared: Shared

    def setup(self) -> None:
        if self.ngram_weights:
            self._raw, self._settings = self.ngram_weights.dataset, self.ngram_weights.settings
        else:
            assert self.documents
            self._raw, self._settings = self.documents.dataset, self.documents.settings.ngram_settings
        self._id_field = self.documents.settings.id_field if self.documents else None
        self._reader = DocumentReader(self._raw, self._id_field)
        self._featurizer = self.shared.acquire(lambda: NgramFeaturizer(self._settings))
        self._scorer: _Ratio | _Classifier | None = None

    def process(self, task: ReadTask, estimator: Stage | None) -> Iterator[DocumentPart]:
        if self._scorer is None:
            self._scorer = _load_scorer(estimator, self._settings)
        scorer = self._scorer
        rejects: list[Reject] = []
        groups = self._read(task, rejects)
        first = next(groups, None)
        rows = 0
        if first is not None:
            with self._open(task, scorer.num_targets) as (documents, ngram_weights):
                for group in itertools.chain([first], groups):
                    weights, num_ngrams = scorer.score(group, self._featurizer)
                    if self.documents and documents:
                        tokens = num_tokens(num_ngrams, self._settings.ngrams)
                        documents.add(group, tokens)
                        metrics.distribute(self.documents.name, "tokens", tokens)
                    if self.ngram_weights and ngram_weights:
                        ngram_weights.add({"weight": weight_column(weights)})
                        metrics.count(self.ngram_weights.name, documents=len(weights))
                        metrics.distribute_weights(self.ngram_weights.name, weights)
                    rows += len(num_ngrams)
        if self.documents:
            write_rejects(self.documents.folder, self._raw.role, task.index, rejects)
        yield DocumentPart(task.index, rows, len(rejects), LineCounts.of(task.index, rows, rejects))

    def _read(self, task: ReadTask, rejects: list[Reject]) -> Iterator[DocumentGroup]:
        """The groups that have documents; the rejected lines of all go into `rejects`."""
        for group in self._reader.read(task):
            if self.documents:
                count_read(self.documents.name, group)
            rejects += group.rejects
            if any(batch.texts for batch in group.batches):
                yield group

    @contextlib.contextmanager
    def _open(self, task: ReadTask, num_targets: int) -> Iterator[tuple[DocumentWriter | None, ColumnWriter | None]]:
        with contextlib.ExitStack() as opened:
            documents = ngram_weights = None
            if self.documents:
                path = part_path(self.documents.folder, task.index)
                documents = opened.enter_context(write_documents(path, with_ids=self._id_field is not None))
            if self.ngram_weights:
                path = part_path(self.ngram_weights.folder, task.index)
                ngram_weights = opened.enter_context(write_weights(path, num_targets))
            yield documents, ngram_weights


@dataclass(frozen=True)
class _Ratio:
    """Scores by log ratios, float64 [T, B]."""

    log_ratio: np.ndarray

    @property
    def num_targets(self) -> int:
        return len(self.log_ratio)

    def score(self, group: DocumentGroup, featurizer: NgramFeaturizer) -> tuple[np.ndarray, np.ndarray]:
        """Log weights, float64 [N, T], and numbers of n-grams, int64 [N]."""
        return featurizer.score(group.encoded, self.log_ratio)


@dataclass(frozen=True)
class _Classifier:
    """Scores each document by the classifier that has not seen it."""

    fitted: NgramClassifier

    @property
    def num_targets(self) -> int:
        return len(self.fitted.intercepts)

    def score(self, group: DocumentGroup, featurizer: NgramFeaturizer) -> tuple[np.ndarray, np.ndarray]:
        """Log weights, float64 [N, T], and numbers of n-grams, int64 [N]."""
        folds = np.concatenate([folds_of(self.fitted.seed, one.file.name, one.offsets) for one in group.batches])
        return featurizer.decide(group.encoded, self.fitted.coefficients, self.fitted.intercepts, folds)


def _load_scorer(estimator: Stage | None, settings: NgramSettings) -> _Ratio | _Classifier:
    """What scores by a stage's estimator; without one, nothing but the length of documents is told."""
    if estimator is None:
        return _Ratio(np.empty((0, settings.num_buckets)))
    if isinstance(estimator.settings, ClassifierSettings):
        classifier = load_classifier(estimator)
        _require(classifier, settings)
        return _Classifier(classifier)
    ratio = load_estimator(estimator)
    _require(ratio, settings)
    return _Ratio(ratio.log_ratio)


def _require(fitted: NgramEstimator | NgramClassifier, settings: NgramSettings) -> None:
    try:
        fitted.require(settings)
    except ValueError as error:
        raise UserError(f"{error}: fit it again, or score with its settings") from None
