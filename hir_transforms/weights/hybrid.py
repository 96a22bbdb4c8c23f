"""Mixing of the n-gram and the embedding log weight."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def hybrid_weight(ngram: FloatArray | None, gmm: FloatArray | None, alpha: float) -> FloatArray:
    """`alpha * ngram + (1 - alpha) * gmm` (HIR, arXiv 2501.03826), log weights of any one shape, float64.

    A part whose factor is 0 is not looked at and may be None: alpha 1 gives `ngram` and alpha 0 gives `gmm`, bit for
    bit, even where the other part is infinite.

    Raises:
        ValueError: for alpha outside [0, 1] or a missing part.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    if alpha == 1.0 and ngram is not None:
        return ngram
    if alpha == 0.0 and gmm is not None:
        return gmm
    if ngram is None or gmm is None:
        missing = "n-gram" if ngram is None else "embedding"
        raise ValueError(f"alpha {alpha} needs {missing} weights, which are missing")
    if ngram.shape != gmm.shape:
        raise ValueError(f"weights of different shapes: n-gram {ngram.shape}, embedding {gmm.shape}")
    return alpha * ngram + (1.0 - alpha) * gmm
