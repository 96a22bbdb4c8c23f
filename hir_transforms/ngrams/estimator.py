"""The n-gram importance estimator of DSIR (arXiv 2302.03169, section 3): bucket counts to log ratios."""

import io
import json
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from hir_transforms.common.portable_log import portable_log
from hir_transforms.ngrams.features import HASH_ALGORITHMS, NgramSettings

FORMAT_VERSION = 1
# Added to both probabilities, so that a bucket that one side never fills has a finite log ratio.
_PROBABILITY_FLOOR = 1e-8


def target_proportions(target_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Each target's share of the n-grams of all targets, float64 [T], of integers [T, B]."""
    totals = target_counts.sum(axis=1)
    return totals / totals.sum()


@dataclass(frozen=True, eq=False)
class NgramEstimator:
    """Log ratios of the n-gram bucket probabilities of each target and of raw.

    Attributes:
        raw_counts: int64 [B], n-grams of raw in each bucket.
        target_counts: int64 [T, B], n-grams of each target in each bucket.
        log_ratio: float64 [T, B], log(p_target + 1e-8) - log(p_raw + 1e-8); a document's log importance weight is its
            sum over the document's n-grams.
        settings: what the counts were made with.
        target_laplace_smoothing: n-grams added to every bucket of each target.
    """

    raw_counts: npt.NDArray[np.int64]
    target_counts: npt.NDArray[np.int64]
    log_ratio: npt.NDArray[np.float64]
    settings: NgramSettings
    target_laplace_smoothing: float = 0.0

    @classmethod
    def fit(
        cls,
        settings: NgramSettings,
        raw_counts: npt.NDArray[np.int64],
        target_counts: npt.NDArray[np.int64],
        *,
        target_laplace_smoothing: float = 0.0,
    ) -> "NgramEstimator":
        """Estimates the log ratios: p_raw = counts / total, p_target = (counts + s) / (total + s B).

        Args:
            settings: what the counts were made with.
            raw_counts: integers [B].
            target_counts: integers [T, B], one row per target.
            target_laplace_smoothing: s, zero or more.

        Raises:
            ValueError: If raw or a target has no n-gram, or a shape or the smoothing does not fit.
        """
        raw_counts = np.array(raw_counts, np.int64)
        target_counts = np.array(target_counts, np.int64)
        smoothing = float(target_laplace_smoothing)
        num_buckets = settings.num_buckets
        if raw_counts.shape != (num_buckets,):
            raise ValueError(f"raw_counts must have shape ({num_buckets},), not {raw_counts.shape}")
        if target_counts.ndim != 2 or target_counts.shape[1] != num_buckets or not len(target_counts):
            raise ValueError(f"target_counts must have shape (targets, {num_buckets}), not {target_counts.shape}")
        if not 0.0 <= smoothing < np.inf:
            raise ValueError(f"target_laplace_smoothing must be zero or more, not {target_laplace_smoothing}")
        raw_total = raw_counts.sum()
        target_totals = target_counts.sum(axis=1)
        if not raw_total:
            raise ValueError("the raw documents have no n-gram to fit on")
        if not target_totals.all():
            raise ValueError(f"target {int(np.argmin(target_totals != 0))} has no n-gram to fit on")
        raw_probabilities = raw_counts / raw_total
        target_probabilities = (target_counts + smoothing) / (target_totals + smoothing * num_buckets)[:, np.newaxis]
        log_ratio = portable_log(target_probabilities + _PROBABILITY_FLOOR) - portable_log(
            raw_probabilities + _PROBABILITY_FLOOR
        )
        return cls(raw_counts, target_counts, log_ratio, settings, smoothing)

    @property
    def target_proportions(self) -> npt.NDArray[np.float64]:
        """Each target's share of the n-grams of all targets, float64 [T]."""
        return target_proportions(self.target_counts)

    def require(self, settings: NgramSettings) -> None:
        """Checks that documents scored under `settings` have the features this estimator was fitted on.

        Raises:
            ValueError: If a setting differs.
        """
        wanted = asdict(settings)
        for name, fitted in asdict(self.settings).items():
            if wanted[name] != fitted:
                raise ValueError(f"the n-gram estimator was fitted with {name} {fitted}, not {wanted[name]}")

    def save(self, file: IO[bytes]) -> None:
        """Writes the estimator as an npz file without pickled objects; equal estimators give equal bytes."""
        description = {
            "format_version": FORMAT_VERSION,
            "hash_algorithm": HASH_ALGORITHMS[self.settings.hash],
            "settings": asdict(self.settings),
            "target_laplace_smoothing": self.target_laplace_smoothing,
        }
        np.savez(
            file,
            description=np.array(json.dumps(description, sort_keys=True)),
            raw_counts=self.raw_counts,
            target_counts=self.target_counts,
            log_ratio=self.log_ratio,
        )

    @classmethod
    def load(cls, file: IO[bytes]) -> "NgramEstimator":
        """Reads what `save` wrote.

        Raises:
            ValueError: If the file is of another format version, or its hash algorithm is not the one used here.
        """
        # The zip directory is at the end; a stream from an object store may not seek.
        with np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
            if "description" not in arrays:
                raise ValueError("not an n-gram estimator file: it has no description")
            description: dict[str, Any] = json.loads(str(arrays["description"]))
            version = description.get("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(f"the n-gram estimator file has format version {version}, not {FORMAT_VERSION}")
            settings = NgramSettings(**description["settings"])
            fitted, known = description["hash_algorithm"], HASH_ALGORITHMS[settings.hash]
            if fitted != known:
                raise ValueError(f"the n-gram estimator was fitted with hash algorithm {fitted}, not {known}")
            return cls(
                arrays["raw_counts"],
                arrays["target_counts"],
                arrays["log_ratio"],
                settings,
                description["target_laplace_smoothing"],
            )
