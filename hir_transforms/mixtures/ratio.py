"""The ratio of mixtures as what scores embeddings, and the files that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.shards import EmbeddingBatch
from hir_transforms.mixtures.em import GaussianMixture, log_ratios


@dataclass(frozen=True)
class MixtureRatio:
    """What scores embeddings: the mixture of raw and that of each target."""

    raw: GaussianMixture
    targets: tuple[GaussianMixture, ...]

    @property
    def num_targets(self) -> int:
        """T."""
        return len(self.targets)

    def log_ratio(self, batches: Sequence[EmbeddingBatch]) -> np.ndarray:
        """Log p_target(e) - log p_raw(e) of each row of raw's and each target, float64 [N, T].

        Raises:
            UserError: if a mixture is of another dimension than raw's embeddings.
        """
        rows = np.concatenate([batch.rows for batch in batches])
        for role, mixture in (("raw", self.raw), *(("target", target) for target in self.targets)):
            if mixture.num_inputs != rows.shape[1]:
                raise UserError(
                    f"the mixture of {role} has {mixture.num_inputs} dimensions, the embeddings of raw have "
                    f"{rows.shape[1]}: --{role}_gmm or --{role}_embeddings must be of the same model as they"
                )
        return log_ratios(rows, self.raw, self.targets)


@runtime_checkable
class MixtureReference(Protocol):
    """A mixture in a file."""

    def load(self) -> GaussianMixture:
        """The mixture."""


@dataclass(frozen=True)
class MixtureRatioFiles:
    """A reference to a `MixtureRatio`, which may be too large to be sent itself."""

    raw: MixtureReference
    targets: tuple[MixtureReference, ...]

    def load(self) -> MixtureRatio:
        """The ratio."""
        return MixtureRatio(self.raw.load(), tuple(target.load() for target in self.targets))
