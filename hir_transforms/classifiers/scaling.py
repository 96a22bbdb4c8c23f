"""Classifiers of dense rows of any scale."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from hir_transforms.classifiers.logistic import CrossFittedClassifier

# How strongly a classifier is regularised depends on the scale of its features. On labelled corpora with embeddings of
# length 1 this total variance found more than 1 or 4, most of all with few target documents; features that are each
# brought to unit variance found far less.
_TOTAL_VARIANCE = 0.25


@dataclass(frozen=True, eq=False)
class Scaling:
    """Takes rows to (row - mean) * factor, of which raw's have mean 0 and a total variance of 1/4.

    All features get the same factor. So neither the unit that embeddings are in shows in the result, nor an offset
    that all have in common.

    Attributes:
        mean: float64 [D].
        factor: positive.
    """

    mean: npt.NDArray[np.float64]
    factor: np.float64

    @classmethod
    def of(cls, raw: npt.NDArray[np.floating]) -> "Scaling":
        """That of raw's rows, float [N, D]."""
        variance = float(raw.var(axis=0, dtype=np.float64).sum())
        factor = np.float64((_TOTAL_VARIANCE / variance) ** 0.5 if variance > 0 else 1.0)
        return cls(raw.mean(axis=0, dtype=np.float64), factor)

    def apply(self, rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Scaled rows, float64 [N, D]."""
        return (rows - self.mean) * self.factor


def fit_scaled(
    target: npt.NDArray[np.floating], raw: npt.NDArray[np.floating], folds: npt.NDArray[np.int64]
) -> CrossFittedClassifier:
    """The classifier of rows as they are, fitted to scaled ones; dense arguments of `CrossFittedClassifier.fit`."""
    scaling = Scaling.of(raw)
    fitted = CrossFittedClassifier.fit(scaling.apply(target), scaling.apply(raw), folds)
    coefficients = fitted.coefficients * scaling.factor
    return replace(fitted, coefficients=coefficients, intercepts=fitted.intercepts - coefficients @ scaling.mean)
