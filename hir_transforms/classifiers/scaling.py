"""Classifiers of dense rows of any scale."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hir_transforms.classifiers.logistic import CrossFittedClassifier

# How strongly a classifier is regularised depends on the scale of its features. On labelled corpora with embeddings of
# length 1 this total variance found more than 1 or 4, most of all with few target documents; features that are each
# brought to unit variance found far less.
_TOTAL_VARIANCE = 0.25


def fit_scaled(
    target: npt.NDArray[np.floating], raw: npt.NDArray[np.floating], folds: npt.NDArray[np.int64]
) -> CrossFittedClassifier:
    """The classifier of rows as they are, fitted to rows of which raw's have mean 0 and a total variance of 1/4.

    All features get the same factor. So neither the unit that embeddings are in shows in the result, nor an offset
    that all have in common. Arguments are those of `CrossFittedClassifier.fit`, dense.
    """
    mean, variance = raw.mean(axis=0, dtype=np.float64), float(raw.var(axis=0, dtype=np.float64).sum())
    scale = np.float64((_TOTAL_VARIANCE / variance) ** 0.5 if variance > 0 else 1.0)
    fitted = CrossFittedClassifier.fit((target - mean) * scale, (raw - mean) * scale, folds)
    coefficients = fitted.coefficients * scale
    return replace(fitted, coefficients=coefficients, intercepts=fitted.intercepts - coefficients @ mean)
