"""Mixtures that the user gives instead of having them fitted."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.embeddings.source import EmbeddingFiles, EmbeddingSource
from hir_transforms.files import storage
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.projection import Projection

_NEEDED = ("weights", "means", "covariances")
_WEIGHT_TOLERANCE = 1e-4  # float32 weights of thousands of components may be off by that much


@dataclass(frozen=True)
class GivenMixture:
    """A file with a mixture, as it was when it was checked.

    The format is that of fitted mixtures: an npz file with `weights` [K], `means` [K, D] and `covariances` [K, D]
    (variances of each dimension), of any real type; `log_likelihood`, `converged` and the two arrays of a projection
    are optional.

    Attributes:
        flag: that named the file, for messages.
        path: of the file.
        digest: SHA-256 of its content.
        num_features: dimension of the embeddings that it scores.
    """

    flag: str
    path: str = field(metadata=NO_EFFECT)  # its content has
    digest: str
    num_features: int

    @classmethod
    def check(cls, flag: str, path: str) -> "GivenMixture":
        """Reads the file once; raises `UserError` if it is missing or holds no mixture."""
        if not storage.exists(path):
            raise UserError(f"{flag}: no file {path}")
        try:
            content = storage.read_bytes(path)
        except UserError as error:
            raise UserError(f"{flag}: {error}") from None
        mixture = _parse(content, f"{flag}: {path}")
        return cls(flag, path, storage.sha256_of(content), mixture.num_inputs)

    def load(self) -> GaussianMixture:
        """The mixture; raises `UserError` if the file has changed since it was checked."""
        content = storage.read_bytes(self.path)
        if storage.sha256_of(content) != self.digest:
            raise UserError(f"{self.flag}: {self.path} changed while it was used; run again")
        return _parse(content, f"{self.flag}: {self.path}")


def _parse(content: bytes, where: str) -> GaussianMixture:
    try:
        stored = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise UserError(f"{where} holds one array, not a mixture; write it with numpy.savez")
        arrays = {name: stored[name] for name in stored.files}
    except UserError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{where} is not an npz file of numeric arrays ({' '.join(str(error).split())})") from None
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise UserError(f"{where} has no {' and no '.join(missing)}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    _check_arrays(arrays, where)
    weights, means, covariances = (np.ascontiguousarray(arrays[name], np.float64) for name in _NEEDED)
    log_likelihood = arrays.get("log_likelihood", np.empty(0)).astype(np.float64).reshape(-1)
    return GaussianMixture(
        weights,
        means,
        covariances,
        log_likelihood,
        bool(arrays.get("converged", False)),
        _parse_projection(arrays, means.shape[1], where),
    )


def _parse_projection(arrays: dict[str, np.ndarray], num_features: int, where: str) -> Projection | None:
    if "projection" not in arrays and "projection_mean" not in arrays:
        return None
    mean, matrix = (np.asarray(arrays.get(name, np.empty(0))) for name in ("projection_mean", "projection"))
    fits = mean.ndim == 1 and matrix.shape == (len(mean), num_features)
    if not fits or mean.dtype.kind != "f" or matrix.dtype.kind != "f":
        raise UserError(
            f"{where}: projection_mean and projection must have the shapes [embedding dimensions] and "
            f"[embedding dimensions, {num_features}], not {list(mean.shape)} and {list(matrix.shape)}"
        )
    return Projection(mean, matrix)


def _check_arrays(arrays: dict[str, np.ndarray], where: str) -> None:
    for name in (*_NEEDED, "log_likelihood", "converged"):
        if name in arrays and arrays[name].dtype.kind not in "fiub":
            raise UserError(f"{where}: {name} must hold real numbers, not {arrays[name].dtype}")
    if arrays.get("converged", np.bool_(False)).shape:
        raise UserError(f"{where}: converged must be a single value")
    weights, means, covariances = (arrays[name] for name in _NEEDED)
    if means.ndim != 2 or 0 in means.shape:
        raise UserError(f"{where}: means must have the shape [components, dimensions], not {list(means.shape)}")
    if weights.shape != means.shape[:1]:
        raise UserError(f"{where}: weights must have the shape {[len(means)]}, not {list(weights.shape)}")
    if covariances.shape != means.shape:
        raise UserError(
            f"{where}: covariances must be diagonal, of the shape {list(means.shape)} as the means, "
            f"not {list(covariances.shape)}"
        )
    for name in _NEEDED:
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{where}: {name} hold NaN or infinity")
    if not (weights > 0).all():
        raise UserError(f"{where}: weights must be positive, the smallest is {weights.min():g}")
    total = float(weights.sum(dtype=np.float64))
    if abs(total - 1) > _WEIGHT_TOLERANCE:
        raise UserError(f"{where}: weights must sum to 1, not {total:g}")
    if not (covariances > 0).all():
        raise UserError(f"{where}: covariances must be positive, the smallest is {covariances.min():g}")


@dataclass(frozen=True)
class GivenMixtures:
    """The mixtures that the user gave: raw's, and that of each target (none: they are fitted)."""

    raw: GivenMixture | None
    targets: tuple[GivenMixture, ...]

    def check_embeddings(self, *sources: EmbeddingSource | None) -> None:
        """Raises `UserError` for embeddings of another dimension, where it can be told before they are made."""
        for source in sources:
            for mixture in (self.raw, *self.targets):
                if mixture and isinstance(source, EmbeddingFiles) and source.dim != mixture.num_features:
                    raise UserError(
                        f"{mixture.flag}: {mixture.path} has {mixture.num_features} dimensions, the rows of "
                        f"--{source.dataset.role} have {source.dim} numbers; both must be of one model"
                    )


def given_mixtures(raw_path: str | None, target_paths: Sequence[str]) -> GivenMixtures:
    """Reads the mixtures that the flags name; raises `UserError` for a file that holds none, or another dimension."""
    raw = GivenMixture.check("--raw_gmm", raw_path) if raw_path else None
    targets = tuple(GivenMixture.check("--target_gmm", path) for path in target_paths)
    given = [mixture for mixture in (raw, *targets) if mixture]
    for mixture in given[1:]:
        if mixture.num_features != given[0].num_features:
            raise UserError(
                f"{mixture.flag}: {mixture.path} has {mixture.num_features} dimensions, "
                f"{given[0].flag}'s {given[0].path} has {given[0].num_features}"
            )
    return GivenMixtures(raw, targets)
