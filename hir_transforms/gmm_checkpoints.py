"""Checkpoints: the mixture after each iteration, kept so that an interrupted fit can go on from the newest."""

import io
import re
from dataclasses import dataclass

from hir_transforms import storage
from hir_transforms.numerics.gmm import GaussianMixture
from hir_transforms.stages import Stage

_NAME = re.compile(r"iteration-(\d+)\.npz")


def load_mixture(path: str) -> GaussianMixture:
    """A mixture that `save_mixture` wrote."""
    return GaussianMixture.load(io.BytesIO(storage.read_bytes(path)))


def save_mixture(path: str, mixture: GaussianMixture) -> None:
    """Writes a mixture, complete or not at all; the same mixture gives the same bytes."""
    with storage.atomic_write(path) as file:
        mixture.save(file)


@dataclass(frozen=True)
class Checkpoints:
    """The mixtures of one fit in a folder of their own: `iteration-0001.npz` and so on.

    Attributes:
        folder: its name holds the fingerprint of the fit, so that a fit of other settings or data finds nothing in it.
    """

    folder: str

    @classmethod
    def of_stage(cls, directory: str, stage: Stage) -> "Checkpoints":
        """The checkpoints of a mixture's stage: `directory/raw/FINGERPRINT` for the stage `gmm/raw`."""
        return cls(storage.join(directory, stage.name.rpartition("/")[2], stage.fingerprint[:16]))

    def save(self, mixture: GaussianMixture) -> None:
        """Keeps the mixture of an iteration: one iteration adds one entry to `log_likelihood`."""
        save_mixture(storage.join(self.folder, f"iteration-{len(mixture.log_likelihood):04d}.npz"), mixture)

    def newest(self) -> GaussianMixture | None:
        """The mixture of the last iteration that is kept, None if there is none."""
        found = {
            int(match[1]): path
            for path in storage.list_folder(self.folder)
            if (match := _NAME.fullmatch(path.rpartition("/")[2]))
        }
        return load_mixture(found[max(found)]) if found else None
