"""A linear projection of rows: what a principal component analysis comes to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hir_transforms.common.threads import use_one_thread


@dataclass(frozen=True, eq=False)
class Projection:
    """Takes a row x to (x - mean) @ matrix.

    Attributes:
        mean: float64 [D0].
        matrix: float64 [D0, D].
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = self.matrix.shape
        if len(shape) != 2 or 0 in shape or self.mean.shape != shape[:1]:
            raise ValueError(f"mean {self.mean.shape} and matrix {shape} do not fit")

    def apply(self, rows: NDArray[np.floating]) -> NDArray[np.float32]:
        """Projected rows: float32 or float64 [N, D0] -> float32 [N, D].

        The same bits for the same matrix of rows on one processor family; which rows stand beside a row may show in
        its last bit.

        Raises:
            ValueError: for another number of columns.
        """
        if rows.shape[1:] != self.mean.shape:
            raise ValueError(f"the projection takes {len(self.mean)} features, rows have shape {rows.shape}")
        use_one_thread()
        return ((rows - self.mean) @ self.matrix).astype(np.float32)
