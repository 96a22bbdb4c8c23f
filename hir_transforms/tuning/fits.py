"""The estimators that judge a fold: fitted to the documents of all other folds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hir_transforms.classifiers.logistic import fit_classifier
from hir_transforms.classifiers.scaling import Scaling
from hir_transforms.mixtures.em import RowBounds, log_ratios
from hir_transforms.mixtures.fitting import TASK_ROWS, MixtureSettings, fit_mixture
from hir_transforms.mixtures.pca import Moments, effective_dim, principal_components
from hir_transforms.ngrams.document_features import lengths, unit_features
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.tuning.candidates import Choices, EmbeddingMethod
from hir_transforms.tuning.holdout import Fold, Judged


@dataclass(frozen=True)
class FitSettings:
    """How the estimators are fitted, as far as that is not what is to be chosen.

    Attributes:
        ngrams: how n-grams are made.
        target_laplace_smoothing: of the ratio.
        weight_per_token: whether the ratio's weight is divided by the document's tokens.
        raw_mixture, target_mixture: how the mixtures are fitted.
    """

    ngrams: NgramSettings
    target_laplace_smoothing: float
    weight_per_token: bool
    raw_mixture: MixtureSettings
    target_mixture: MixtureSettings


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents of raw or of the target, as far as the estimators see them.

    Attributes:
        counts: n-grams of each document in each bucket, integers, CSR [N, B].
        folds: int64 [N].
        hashes: uint64 [N], by which the rows are drawn that k-means starts from.
        eligible: bool [N], whether a document could be selected; others are only fitted to.
        rows: embeddings, float32 [N, D], finite; None where no candidate weighs them.
    """

    counts: sparse.csr_matrix
    folds: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    eligible: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.float32] | None = None

    def __getitem__(self, chosen: npt.NDArray[np.bool_]) -> "Documents":
        """Some of them, of bool [N]."""
        rows = None if self.rows is None else self.rows[chosen]
        return Documents(self.counts[chosen], self.folds[chosen], self.hashes[chosen], self.eligible[chosen], rows)


@dataclass(frozen=True, eq=False)
class Sides:
    """What is fitted to and what is judged, all `Documents`, or what is made of them.

    Attributes:
        target, raw: what is fitted to.
        hidden, judged: what is judged, of the target and of raw.
    """

    target: Any
    raw: Any
    hidden: Any
    judged: Any

    def map(self, function: Callable[[Any], Any]) -> "Sides":
        """The same, made of each."""
        return Sides(*(function(side) for side in (self.target, self.raw, self.hidden, self.judged)))


def judge_fold(target: Documents, raw: Documents, fold: int, choices: Choices, settings: FitSettings) -> Fold | None:
    """The weights of a fold's documents by each estimator that the choices need.

    Args:
        target: its documents of all folds.
        raw: its documents of all folds.
        fold: which of them is hidden.
        choices: what is to be chosen from.
        settings: how the estimators are fitted.

    Returns:
        None where no eligible document of the target, or of raw, is in the fold, or none is left to fit to.
    """
    fitted = [side[side.folds != fold] for side in (target, raw)]
    judged = [side[(side.folds == fold) & side.eligible] for side in (target, raw)]
    sides = Sides(*fitted, *judged)
    if not all(len(side.folds) for side in vars(sides).values()):
        return None
    return Fold(
        {name: judge(sides, name, settings) for name in choices.ngrams},
        {method: judge(sides, method, settings) for method in choices.embeddings},
    )


def judge(sides: Sides, method: str | EmbeddingMethod, settings: FitSettings) -> Judged:
    """The weights of documents by an n-gram estimator, of its name, or by their embeddings."""
    if isinstance(method, EmbeddingMethod):
        return _judge_by_embeddings(sides, method, settings)
    return _NGRAM_ESTIMATORS[method](sides, settings)


def _judge_by_ratio(sides: Sides, settings: FitSettings) -> Judged:
    raw, target = (np.asarray(side.counts.sum(axis=0)).ravel() for side in (sides.raw, sides.target))
    ratio = NgramEstimator.fit(
        settings.ngrams, raw, target[np.newaxis], target_laplace_smoothing=settings.target_laplace_smoothing
    ).log_ratio[0]
    weights = []
    for side in (sides.hidden, sides.judged):
        of_side = side.counts @ ratio
        if settings.weight_per_token:
            of_side = of_side / lengths(side.counts, settings.ngrams)
        weights.append(of_side)
    return Judged(*weights)


def _judge_by_ngram_classifier(sides: Sides, _: FitSettings) -> Judged:
    # What no document has would only cost: of the 2^24 buckets that there may be, a coefficient each.
    seen = np.unique(np.concatenate([sides.target.counts.indices, sides.raw.counts.indices]))
    return _classify(sides.map(lambda side: unit_features(side.counts)[:, seen]))


_NGRAM_ESTIMATORS = {"ratio": _judge_by_ratio, "classifier": _judge_by_ngram_classifier}


def _classify(features: Sides) -> Judged:
    classifier = fit_classifier(features.target, features.raw)
    return Judged(*(classifier.decision_function(rows) for rows in (features.hidden, features.judged)))


def _judge_by_embeddings(sides: Sides, method: EmbeddingMethod, settings: FitSettings) -> Judged:
    rows = sides.map(lambda side: side.rows)
    if method.dim:
        bounds = RowBounds.from_rows(rows.raw)
        kept, _ = effective_dim(method.dim, rows.raw.shape[1], len(rows.raw))
        projection, _ = principal_components(Moments.of(rows.raw, bounds), bounds, kept)
        rows = rows.map(projection.apply)
    if method.estimator == "classifier":
        return _classify(rows.map(Scaling.of(rows.raw).apply))
    raw, _ = fit_mixture(partial(_batches, rows.raw, sides.raw.hashes), settings.raw_mixture)
    target, _ = fit_mixture(partial(_batches, rows.target, sides.target.hashes), settings.target_mixture)
    return Judged(*(log_ratios(judged, raw, [target])[:, 0] for judged in (rows.hidden, rows.judged)))


def _batches(
    rows: npt.NDArray[np.float32], hashes: npt.NDArray[np.uint64]
) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]]:
    for first in range(0, len(rows), TASK_ROWS):
        yield rows[first : first + TASK_ROWS], hashes[first : first + TASK_ROWS]
