"""Gaussian mixtures with diagonal covariances: log densities, and EM over batches of rows.

EM (A. P. Dempster, N. M. Laird and D. B. Rubin, 1977), in the form of C. M. Bishop, "Pattern Recognition and Machine
Learning", section 9.2.2, cut into pieces that a distributed runner can arrange as it likes: `expectation` turns rows
into sufficient statistics, these add up to the same bits in any order and grouping, and `maximization` turns their sum
into the next mixture. `fit` is the same loop in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hir_transforms.common.threads import use_one_thread
from hir_transforms.mixtures.exact_sum import fixed_point_scales, mean_log_density, sum_log_densities
from hir_transforms.mixtures.projection import Projection

if TYPE_CHECKING:
    from hir_transforms.mixtures.estep import MixtureDensity

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rows = NDArray[np.floating]

DEFAULT_REG_COVAR = 1e-6
_FORMAT_VERSION = 1
_MAX_ABS = 1e100  # the squared distance to such a row is still finite
_MIN_COUNT = 1e-6  # rows


def as_rows(rows: Rows) -> Rows:
    """`rows` in C order.

    Raises:
        ValueError: unless it is a float32 or float64 matrix with at least one column.
    """
    if rows.ndim != 2 or rows.shape[1] == 0 or rows.dtype not in (np.float32, np.float64):
        raise ValueError(f"rows must be a float32 or float64 matrix, got {rows.dtype} of shape {rows.shape}")
    return np.ascontiguousarray(rows)


@dataclass(frozen=True, eq=False)
class RowBounds:
    """Number of rows and the largest absolute value in each dimension: what the exact sums are scaled with.

    Attributes:
        num_rows: rows seen.
        max_abs: float64 [D].
    """

    num_rows: int
    max_abs: FloatArray

    @classmethod
    def from_rows(cls, rows: Rows) -> RowBounds:
        """Bounds of `rows`, float32 or float64 [N, D].

        Raises:
            ValueError: for NaN or absolute values over 1e100.
        """
        max_abs = np.abs(as_rows(rows)).max(axis=0, initial=0.0).astype(np.float64)
        if not (max_abs <= _MAX_ABS).all():  # also false for NaN, which the maximum keeps
            bad = int(np.argmin(np.abs(rows).max(axis=1).astype(np.float64) <= _MAX_ABS))
            raise ValueError(f"row {bad} holds NaN, infinity or a value over {_MAX_ABS:g}")
        return cls(len(rows), max_abs)

    def merge(self, other: RowBounds) -> RowBounds:
        """Bounds of both sets of rows; exact, so the order of merging does not matter."""
        return RowBounds(self.num_rows + other.num_rows, np.maximum(self.max_abs, other.max_abs))

    @cached_property
    def scales(self) -> tuple[float, FloatArray, FloatArray]:
        """Fixed-point scales of the sums of r, r x [D] and r x^2 [D] over all rows x, with r in [0, 1]."""
        return (
            float(fixed_point_scales(1.0, self.num_rows)),
            fixed_point_scales(self.max_abs, self.num_rows),
            fixed_point_scales(self.max_abs**2, self.num_rows),
        )


@dataclass(eq=False)
class SufficientStatistics:
    """Sums over rows x with responsibilities r_k, in fixed point with the scales of the `RowBounds` in use.

    Attributes:
        counts: int64 [K], sum of r_k.
        sum_x: int64 [K, D], sum of r_k x.
        sum_xx: int64 [K, D], sum of r_k x^2.
        log_likelihood: sum of log p(x), as of `sum_log_densities`.
        num_rows: rows summed.
    """

    counts: IntArray
    sum_x: IntArray
    sum_xx: IntArray
    log_likelihood: int = 0
    num_rows: int = 0

    @classmethod
    def zeros(cls, num_components: int, num_features: int) -> SufficientStatistics:
        """The sums over no rows."""
        shape = (num_components, num_features)
        return cls(np.zeros(num_components, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    def add(self, other: SufficientStatistics) -> None:
        """Add the sums of other rows under the same mixture, in place; exact, so in any order and grouping."""
        if other.sum_x.shape != self.sum_x.shape:
            raise ValueError(f"statistics of different shapes: {self.sum_x.shape} and {other.sum_x.shape}")
        self.counts += other.counts
        self.sum_x += other.sum_x
        self.sum_xx += other.sum_xx
        self.log_likelihood += other.log_likelihood
        self.num_rows += other.num_rows


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """A mixture of Gaussians with diagonal covariances.

    Attributes:
        weights: float64 [K], positive, sum 1.
        means: float64 [K, D].
        covariances: float64 [K, D], positive.
        log_likelihood: float64 [iterations], mean log density a row before each M-step (nats).
        converged: whether the last step changed the mean log density by less than the tolerance.
        projection: from the rows to score to the D dimensions of the mixture; None where these are the same.
    """

    weights: FloatArray
    means: FloatArray
    covariances: FloatArray
    log_likelihood: FloatArray = field(default_factory=lambda: np.empty(0))
    converged: bool = False
    projection: Projection | None = None

    def __post_init__(self) -> None:
        shape = self.means.shape
        if len(shape) != 2 or 0 in shape or self.covariances.shape != shape or self.weights.shape != shape[:1]:
            raise ValueError(
                f"weights {self.weights.shape}, means {shape} and covariances {self.covariances.shape} do not fit"
            )
        parameters = np.concatenate([self.weights, self.means.ravel(), self.covariances.ravel()])
        if not (np.isfinite(parameters).all() and (self.weights > 0).all() and (self.covariances > 0).all()):
            raise ValueError("a mixture needs finite parameters, positive weights and positive covariances")
        if self.projection is not None and self.projection.matrix.shape[1] != shape[1]:
            raise ValueError(f"a projection of shape {self.projection.matrix.shape} and means {shape} do not fit")

    @property
    def num_components(self) -> int:
        """K."""
        return self.means.shape[0]

    @property
    def num_inputs(self) -> int:
        """Dimension of the rows to score: D0 with a projection, else D."""
        return self.num_features if self.projection is None else len(self.projection.mean)

    @property
    def num_features(self) -> int:
        """D, of the means."""
        return self.means.shape[1]

    @cached_property
    def _density(self) -> MixtureDensity:
        # Imported here: the compiler takes a second that users of the parameters alone need not wait.
        from hir_transforms.mixtures.estep import MixtureDensity

        return MixtureDensity(self.weights, self.means, self.covariances)

    def score_samples(self, rows: Rows) -> FloatArray:
        """Log density of each row in nats: float32 or float64 [N, D] -> float64 [N].

        With a projection, rows are [N, D0]: they are projected first.

        Raises:
            ValueError: for NaN.
        """
        rows = rows if self.projection is None else self.projection.apply(as_rows(rows))
        return self._density.log_densities(self._check(rows), np.full(self.num_features, _MAX_ABS))

    def _check(self, rows: Rows) -> Rows:
        if rows.shape[1:] != (self.num_features,):
            raise ValueError(f"the mixture has {self.num_features} features, rows have shape {rows.shape}")
        return as_rows(rows)

    def __reduce__(self) -> tuple[type[GaussianMixture], tuple[object, ...]]:
        return type(self), (
            self.weights,
            self.means,
            self.covariances,
            self.log_likelihood,
            self.converged,
            self.projection,
        )

    def save(self, file: str | IO[bytes]) -> None:
        """Write as npz without pickle; the same mixture always gives the same bytes."""
        arrays: dict[str, Any] = {
            "format_version": np.int64(_FORMAT_VERSION),
            "weights": self.weights,
            "means": self.means,
            "covariances": self.covariances,
            "log_likelihood": self.log_likelihood,
            "converged": np.bool_(self.converged),
        }
        if self.projection is not None:
            arrays |= {"projection_mean": self.projection.mean, "projection": self.projection.matrix}
        np.savez(file, **arrays)

    @classmethod
    def load(cls, file: str | IO[bytes]) -> GaussianMixture:
        """Read what `save` wrote.

        Raises:
            ValueError: for another format version.
        """
        with np.load(file, allow_pickle=False) as arrays:
            version = int(arrays["format_version"])
            if version != _FORMAT_VERSION:
                raise ValueError(f"mixture file has format version {version}, this code reads {_FORMAT_VERSION}")
            projected = "projection" in arrays
            return cls(
                arrays["weights"],
                arrays["means"],
                arrays["covariances"],
                arrays["log_likelihood"],
                bool(arrays["converged"]),
                Projection(arrays["projection_mean"], arrays["projection"]) if projected else None,
            )


def log_ratios(rows: Rows, raw: GaussianMixture, targets: Sequence[GaussianMixture]) -> FloatArray:
    """Log p_target(x) - log p_raw(x), in nats, of each row x of float32 or float64 [N, D] and each target: [N, T]."""
    use_one_thread()
    of_raw = raw.score_samples(rows)
    return np.stack([target.score_samples(rows) - of_raw for target in targets], axis=1)


def expectation(
    rows: Rows, mixture: GaussianMixture, bounds: RowBounds, statistics: SufficientStatistics | None = None
) -> SufficientStatistics:
    """E-step: sufficient statistics of `rows`, float32 or float64 [N, D] (projected already), under `mixture`.

    Added to `statistics` where given (which is then returned): batches are summed to the same bits in any order and
    grouping. Where many components matter to most rows, the cut into batches shows in the last bits of float32 sums.

    Raises:
        ValueError: for NaN, infinity, or rows outside `bounds`, which must be those of all rows to be summed.
    """
    if statistics is None:
        statistics = SufficientStatistics.zeros(mixture.num_components, mixture.num_features)
    log_densities = mixture._density.accumulate(
        mixture._check(rows),
        bounds.max_abs,
        bounds.scales,
        statistics.counts,
        statistics.sum_x,
        statistics.sum_xx,
    )
    statistics.log_likelihood += sum_log_densities(log_densities)
    statistics.num_rows += len(rows)
    return statistics


def maximization(
    statistics: SufficientStatistics,
    mixture: GaussianMixture,
    bounds: RowBounds,
    *,
    reg_covar: float = DEFAULT_REG_COVAR,
    tol: float = 1e-3,
) -> GaussianMixture:
    """M-step: the mixture after `mixture`, from the statistics of all rows under it.

    The formulas and the stopping rule are those of scikit-learn's `GaussianMixture(covariance_type="diag")`: the
    mixture is marked converged when the mean log density changed by less than `tol` (nats). A converged mixture is
    returned as it is, so that steps laid out beforehand pass it through. A component that holds less than a millionth
    of a row is removed: it has no mean, and a removal needs nothing but the statistics.
    """
    if mixture.converged:
        return mixture
    if not 0 < statistics.num_rows <= bounds.num_rows:
        raise ValueError(f"statistics of {statistics.num_rows} rows, expected 1 to {bounds.num_rows} as in the bounds")
    count_scale, x_scales, xx_scales = bounds.scales
    counts = statistics.counts / count_scale
    kept = counts >= _MIN_COUNT
    counts = counts[kept] + 10 * np.finfo(np.float64).eps
    means = statistics.sum_x[kept] / x_scales / counts[:, None]
    mean_squares = statistics.sum_xx[kept] / xx_scales / counts[:, None]
    # Rounding can leave a small negative variance where a dimension is constant, hence the floor.
    covariances = np.maximum(mean_squares - means**2, 0.0) + reg_covar
    log_likelihood = mean_log_density(statistics.log_likelihood, statistics.num_rows)
    previous = mixture.log_likelihood[-1] if mixture.log_likelihood.size else -np.inf
    return GaussianMixture(
        counts / counts.sum(),
        means,
        covariances,
        np.append(mixture.log_likelihood, log_likelihood),
        bool(abs(log_likelihood - previous) < tol),
    )


def converged_after(log_likelihood: FloatArray, tol: float) -> int | None:
    """The iteration (from 1) after which `maximization` with this tolerance stops; None while it goes on."""
    stops = np.flatnonzero(np.abs(np.diff(log_likelihood)) < tol)
    return int(stops[0]) + 2 if stops.size else None


def fit(
    batches: Callable[[], Iterable[Rows]],
    start: GaussianMixture,
    bounds: RowBounds,
    *,
    max_iter: int = 100,
    tol: float = 1e-3,
    reg_covar: float = DEFAULT_REG_COVAR,
) -> GaussianMixture:
    """EM from `start` in one process, until converged or for `max_iter` steps; `batches()` yields all rows anew."""
    mixture = start
    for _ in range(max_iter):
        statistics = SufficientStatistics.zeros(mixture.num_components, mixture.num_features)
        for rows in batches():
            expectation(rows, mixture, bounds, statistics)
        mixture = maximization(statistics, mixture, bounds, reg_covar=reg_covar, tol=tol)
        if mixture.converged:
            break
    return mixture
