"""Checkpoints: the mixture after each iteration, kept so that an interrupted fit can go on from the newest."""

import io
import re
from dataclasses import dataclass, replace

import numpy as np

from hir_transforms.artifacts.stages import Stage
from hir_transforms.files import storage
from hir_transforms.mixtures.em import GaussianMixture, RowBounds, converged_after

_BOUNDS = "bounds.npz"
_NAME = re.compile(r"iteration-(\d+)\.npz")


def read_mixture(path: str) -> GaussianMixture:
    """A mixture that `save_mixture` wrote."""
    return GaussianMixture.load(io.BytesIO(storage.read_bytes(path)))


def save_mixture(path: str, mixture: GaussianMixture) -> None:
    """Writes a mixture, complete or not at all; the same mixture gives the same bytes."""
    with storage.atomic_write(path, durable=True) as file:
        mixture.save(file)


@dataclass(frozen=True)
class Checkpoints:
    """The mixtures of one fit in a folder of their own: `iteration-0001.npz` and so on.

    Attributes:
        folder: its name holds a fingerprint of the data and of the settings that decide an iteration's result, so that
            a fit of others finds nothing in it. When to stop is not among them.
    """

    folder: str

    @classmethod
    def of_stage(cls, directory: str, stage: Stage) -> "Checkpoints":
        """The checkpoints of a mixture's stage: `directory/raw/FINGERPRINT` for the stage `gmm/raw`."""
        settings = replace(stage.settings, max_iter=0, tol=0.0)
        fingerprint = Stage.create(stage.name, stage.work_dir, settings, stage.datasets, stage.upstream).fingerprint
        return cls(storage.join(directory, stage.name.rpartition("/")[2], fingerprint[:16]))

    def path(self, iteration: int) -> str:
        """Path of the mixture after an iteration; that of 0 is what EM starts from."""
        return storage.join(self.folder, f"iteration-{iteration:04d}.npz")

    def save(self, mixture: GaussianMixture) -> None:
        """Keeps the mixture of an iteration: one iteration adds one entry to `log_likelihood`."""
        save_mixture(self.path(len(mixture.log_likelihood)), mixture)

    def save_bounds(self, bounds: RowBounds) -> None:
        """Keeps the bounds of all rows, which every iteration needs."""
        with storage.atomic_write(storage.join(self.folder, _BOUNDS)) as file:
            np.savez(file, num_rows=bounds.num_rows, max_abs=bounds.max_abs)

    def load_bounds(self) -> RowBounds:
        """The bounds that were kept."""
        content = storage.read_bytes(storage.join(self.folder, _BOUNDS))
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return RowBounds(int(arrays["num_rows"]), arrays["max_abs"])

    def has_bounds(self) -> bool:
        """Whether the bounds of all rows are kept."""
        return storage.exists(storage.join(self.folder, _BOUNDS))

    def newest(self, max_iter: int, tol: float) -> GaussianMixture | None:
        """Where a fit of `max_iter` iterations to the tolerance `tol` goes on, None if nothing is kept.

        The mixtures may be those of a fit that was to stop earlier or later: the last one that this fit would reach
        comes back, marked converged if this fit would stop there.
        """
        found = {
            int(match[1]): path
            for path in storage.list_folder(self.folder)
            if (match := _NAME.fullmatch(path.rpartition("/")[2]))
        }
        while reached := [iteration for iteration in found if iteration <= max_iter]:
            mixture = read_mixture(found[max(reached)])
            last = converged_after(mixture.log_likelihood, tol)
            if last is None or last == len(mixture.log_likelihood):
                return replace(mixture, converged=last is not None)
            max_iter = last
        return None
