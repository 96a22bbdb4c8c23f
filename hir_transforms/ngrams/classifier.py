"""The n-gram classifier: cross-fitted logistic regression on the counts of each document's n-grams."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hir_transforms.classifiers.logistic import CrossFittedClassifier
from hir_transforms.ngrams.features import HASH_ALGORITHMS, NgramSettings

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class NgramClassifier:
    """For each target and each fold of raw a linear classifier; its decision value is a log importance weight.

    Attributes:
        coefficients: float64 [T, F, B], of log(1 + count) of each bucket, scaled to unit Euclidean length.
        intercepts: float64 [T, F].
        iterations: int64 [T, F], that each fit took.
        settings: what the n-grams are.
        seed: of the folds, see `folds_of`.
    """

    coefficients: npt.NDArray[np.float64]
    intercepts: npt.NDArray[np.float64]
    iterations: npt.NDArray[np.int64]
    settings: NgramSettings
    seed: int

    @classmethod
    def fit(
        cls,
        settings: NgramSettings,
        seed: int,
        targets: Sequence[sparse.csr_matrix],
        raw: sparse.csr_matrix,
        folds: npt.NDArray[np.int64],
    ) -> "NgramClassifier":
        """Fits the classifiers of each target; buckets that no document has get the coefficient 0.

        Args:
            settings: what the n-grams are.
            seed: of the folds.
            targets: for each of T targets its features, float64 CSR [M, B].
            raw: raw's features, float64 CSR [N, B].
            folds: int64 [N], of raw's rows.

        Raises:
            ValueError: If a target or raw has no row.
        """
        seen = np.zeros(settings.num_buckets, np.bool_)
        for rows in (*targets, raw):
            seen[rows.indices] = True
        buckets = np.flatnonzero(seen)
        columns = np.zeros(len(seen), np.int32)
        columns[buckets] = np.arange(len(buckets), dtype=np.int32)
        of_raw = _renumber(raw, columns, len(buckets))
        fits = [CrossFittedClassifier.fit(_renumber(rows, columns, len(buckets)), of_raw, folds) for rows in targets]
        coefficients = np.zeros((len(fits), *fits[0].intercepts.shape, settings.num_buckets))
        for of_target, fit in zip(coefficients, fits, strict=True):
            of_target[:, buckets] = fit.coefficients
        intercepts, iterations = (
            np.stack([getattr(fit, name) for fit in fits]) for name in ("intercepts", "iterations")
        )
        return cls(coefficients, intercepts, iterations, settings, seed)

    def require(self, settings: NgramSettings) -> None:
        """Checks that documents scored under `settings` have the features this classifier was fitted on.

        Raises:
            ValueError: If a setting differs.
        """
        wanted = asdict(settings)
        for name, fitted in asdict(self.settings).items():
            if wanted[name] != fitted:
                raise ValueError(f"the n-gram classifier was fitted with {name} {fitted}, not {wanted[name]}")

    def save(self, file: IO[bytes], coefficients: IO[bytes]) -> None:
        """Writes all but the coefficients as an npz file, and these as an npy file, which processes can map."""
        description = {
            "format_version": FORMAT_VERSION,
            "hash_algorithm": HASH_ALGORITHMS[self.settings.hash],
            "settings": asdict(self.settings),
            "seed": self.seed,
        }
        np.savez(
            file,
            description=np.array(json.dumps(description, sort_keys=True)),
            intercepts=self.intercepts,
            iterations=self.iterations,
        )
        np.save(coefficients, self.coefficients, allow_pickle=False)

    @classmethod
    def load(cls, file: bytes, coefficients: npt.NDArray[np.float64]) -> "NgramClassifier":
        """Of the content of the npz file that `save` wrote, and the array of the npy file.

        Raises:
            ValueError: If it is of another format version, hash algorithm or shape.
        """
        with np.load(io.BytesIO(file), allow_pickle=False) as arrays:
            if "description" not in arrays:
                raise ValueError("not an n-gram classifier file: it has no description")
            description: dict[str, Any] = json.loads(str(arrays["description"]))
            version = description.get("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(f"the n-gram classifier file has format version {version}, not {FORMAT_VERSION}")
            settings = NgramSettings(**description["settings"])
            fitted, known = description["hash_algorithm"], HASH_ALGORITHMS[settings.hash]
            if fitted != known:
                raise ValueError(f"the n-gram classifier was fitted with hash algorithm {fitted}, not {known}")
            intercepts, iterations = arrays["intercepts"], arrays["iterations"]
        wanted = (*intercepts.shape, settings.num_buckets)
        if coefficients.shape != wanted or coefficients.dtype != np.float64:
            raise ValueError(f"coefficients must be float64 {wanted}, not {coefficients.dtype} {coefficients.shape}")
        return cls(coefficients, intercepts, iterations, settings, description["seed"])


def _renumber(rows: sparse.csr_matrix, columns: npt.NDArray[np.int32], num_columns: int) -> sparse.csr_matrix:
    """The rows with each bucket at its column, of int32 [B]."""
    return sparse.csr_matrix((rows.data, columns[rows.indices], rows.indptr), (rows.shape[0], num_columns))
