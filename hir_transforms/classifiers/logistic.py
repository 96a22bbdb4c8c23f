"""Cross-fitted logistic regression of target against raw: an estimate of log p_target - log p_raw.

With balanced classes the log odds of a probabilistic classifier are the log ratio of the two densities (Bickel,
Brückner and Scheffer, ICML 2007, section 3; Sugiyama, Suzuki and Kanamori, Density Ratio Estimation in Machine
Learning, 2012, chapter 4). A document that the classifier saw as raw would be judged too low, so there is one
classifier for each fold of raw, fitted to the documents of the other folds.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hir_transforms.documents.identity import identity_hash

NUM_FOLDS = 5
_INVERSE_REGULARIZATION = 1.0
MAX_ITERATIONS = 1000

# A dense array, float [N, D], or a scipy.sparse CSR matrix of this shape.
Features: TypeAlias = Any


def folds_of(seed: int, name: str, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The folds of a file's documents, int64 [N] in [0, 5): a pure function of seed and identity.

    Args:
        seed: of the fit.
        name: the file's path relative to its dataset's folder.
        offsets: int64 [N], byte offsets of the documents' lines.
    """
    return fold_of_hash(identity_hash(seed, name, offsets, purpose="folds"))


def fold_of_hash(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """The folds, int64 [N] in [0, 5), of documents' hashes for the purpose "folds", uint64 [N]."""
    return (hashes % np.uint64(NUM_FOLDS)).astype(np.int64)


def fit_classifier(target: Features, raw: Features) -> Any:
    """The scikit-learn classifier of target against raw; classes are balanced, C = 1.

    Args:
        target: float [M, D], dense or sparse rows.
        raw: float [N, D], of the same kind.
    """
    from sklearn.linear_model import LogisticRegression  # a second that a worker that only scores does not pay

    stack = sparse.vstack if sparse.issparse(raw) else np.concatenate
    labels = np.repeat([1, 0], [target.shape[0], raw.shape[0]])
    model = LogisticRegression(
        C=_INVERSE_REGULARIZATION, class_weight="balanced", solver="lbfgs", max_iter=MAX_ITERATIONS
    )
    return model.fit(stack([target, raw]), labels)


@dataclass(frozen=True, eq=False)
class CrossFittedClassifier:
    """One linear classifier for each fold of raw.

    Attributes:
        coefficients: float64 [F, D].
        intercepts: float64 [F].
        iterations: int64 [F], that each fit took.
    """

    coefficients: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]
    iterations: npt.NDArray[np.int64]

    @classmethod
    def fit(cls, target: Features, raw: Features, folds: npt.NDArray[np.int64]) -> "CrossFittedClassifier":
        """Fits a classifier for each fold to all of the target and to the raw documents of the other folds.

        The same bits in any process on the same machine whose numerical libraries use one thread (`use_one_thread`).

        Args:
            target: float [M, D], dense or sparse rows.
            raw: float [N, D], of the same kind.
            folds: int64 [N], of raw's rows.

        Raises:
            ValueError: If either has no row.
        """
        if not target.shape[0] or not raw.shape[0]:
            raise ValueError("a classifier needs at least one document of the target and one of raw")
        fits = []
        for fold in range(NUM_FOLDS):
            others = folds != fold
            # Where a raw corpus is so small that the other folds are empty, there is nothing to keep apart.
            fits.append(fit_classifier(target, raw[others] if others.any() else raw))
        return cls(
            np.concatenate([model.coef_ for model in fits]).astype(np.float64),
            np.concatenate([model.intercept_ for model in fits]).astype(np.float64),
            np.array([model.n_iter_[0] for model in fits], np.int64),
        )

    def decide(self, rows: Features, folds: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The log density ratio of each row, float64 [N], by the classifier of its fold.

        Args:
            rows: float [N, D].
            folds: int64 [N].
        """
        decisions = np.empty(rows.shape[0])
        for fold in range(NUM_FOLDS):
            of_fold = folds == fold
            if of_fold.any():
                decisions[of_fold] = rows[of_fold] @ self.coefficients[fold] + self.intercepts[fold]
        return decisions
