"""The n-gram estimators that judge a fold: fitted to the documents of all other folds."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hir_transforms.classifiers.logistic import fit_classifier
from hir_transforms.ngrams.document_features import unit_features
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.tuning.holdout import Judged


@dataclass(frozen=True, eq=False)
class Documents:
    """Documents of raw or of the target, as far as the estimators see them.

    Attributes:
        counts: n-grams of each document in each bucket, integers, CSR [N, B].
        folds: int64 [N].
        eligible: bool [N], whether a document could be selected; others are only fitted to.
    """

    counts: sparse.csr_matrix
    folds: npt.NDArray[np.int64]
    eligible: npt.NDArray[np.bool_]


def judge_fold(
    target: Documents, raw: Documents, fold: int, settings: NgramSettings, *, target_laplace_smoothing: float
) -> dict[str, Judged] | None:
    """The weights of a fold's documents by each estimator, by its name, from cheap to dear.

    Args:
        target: its documents of all folds.
        raw: its documents of all folds.
        fold: which of them is hidden.
        settings: how n-grams were counted.
        target_laplace_smoothing: of the ratio.

    Returns:
        None where no eligible document of the target, or of raw, is in the fold, or none is left to fit to.
    """
    sides = [
        (side.counts[side.folds != fold], side.counts[(side.folds == fold) & side.eligible]) for side in (target, raw)
    ]
    if not all(part.shape[0] for side in sides for part in side):
        return None
    (of_target, hidden), (of_raw, judged) = sides
    totals = [np.asarray(counts.sum(axis=0)).ravel() for counts in (of_raw, of_target)]
    ratio = NgramEstimator.fit(
        settings, totals[0], totals[1][np.newaxis], target_laplace_smoothing=target_laplace_smoothing
    ).log_ratio[0]
    # What no document has would only cost: of the 2^24 buckets that there may be, a coefficient each.
    seen = np.unique(np.concatenate([of_target.indices, of_raw.indices]))
    features = [unit_features(counts)[:, seen] for counts in (of_target, of_raw, hidden, judged)]
    classifier = fit_classifier(*features[:2])
    return {
        "ratio": Judged(hidden @ ratio, judged @ ratio),
        "classifier": Judged(*(classifier.decision_function(rows) for rows in features[2:])),
    }
