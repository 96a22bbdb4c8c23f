"""A transform of vectors in anyone's pipeline: `FitGaussianMixture`."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np

from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.documents.identity import sample_limit
from hir_transforms.documents.keys import key_hashes
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.fitting import TASK_ROWS, MixtureSettings, fit_mixture

K = TypeVar("K")


@dataclass(frozen=True, eq=False)
class _HashedRow:
    """A vector, float32 [D], and the hash of its key."""

    hash: int
    row: np.ndarray


@dataclass(eq=False)
class FitGaussianMixture(beam.PTransform):
    """(key, vector) -> the one `GaussianMixture` with diagonal covariances that EM fits to the vectors.

    Vectors are float32 or float64 [D], finite, all of one D; they are fitted to as float32. One worker does all
    iterations and holds the vectors, so of many give `settings.max_samples`: the vectors whose keys have the smallest
    hashes are a uniform sample. (`hir select` fits to all rows of a large corpus with many workers, by several jobs.)
    The mixture is a function of the keys, the vectors and the settings: bundles and workers do not show.

    Attributes:
        settings: how the mixture is fitted; `target` is of no concern here.

    Raises:
        UserError: when run, without any vector.
        ValueError: when run, for a vector that is not finite or of another dimension, or a key of a type that
            `SampleDocuments` does not take.

    Example:
        >>> import apache_beam as beam, numpy as np
        >>> from hir_transforms import FitGaussianMixture, MixtureSettings
        >>> vectors = [(f"document-{i}", np.array([i % 2, 0], np.float32)) for i in range(100)]
        >>> with beam.Pipeline() as pipeline:
        ...     mixture = pipeline | beam.Create(vectors) | FitGaussianMixture(MixtureSettings(num_components=2))
        ...     _ = mixture | beam.Map(lambda mixture: print(sorted(mixture.means[:, 0].round(3).tolist())))
        [0.0, 1.0]
    """

    settings: MixtureSettings

    def expand(self, vectors: beam.PCollection[tuple[K, np.ndarray]]) -> beam.PCollection[GaussianMixture]:
        """See the class."""
        hashed = vectors | "Hash" >> beam.Map(_hash, self.settings.seed)
        if self.settings.max_samples is not None:
            num_rows = beam.pvalue.AsSingleton(vectors | "CountVectors" >> beam.combiners.Count.Globally())
            hashed = hashed | "Sample" >> beam.Filter(_may_be_sampled, num_rows, self.settings.max_samples)
        return hashed | "Gather" >> Gather() | "Fit" >> beam.Map(_fit, self.settings)


def _hash(keyed: tuple[Any, np.ndarray], seed: int) -> _HashedRow:
    key, vector = keyed
    return _HashedRow(int(key_hashes(seed, [key], purpose="rows")[0]), np.asarray(vector, np.float32))


def _may_be_sampled(hashed: _HashedRow, num_rows: int, max_samples: int) -> bool:
    return hashed.hash <= sample_limit(num_rows, max_samples)


def _fit(hashed: list[_HashedRow], settings: MixtureSettings) -> GaussianMixture:
    if not hashed:
        raise UserError("there is no vector to fit a mixture to")
    hashed = sorted(hashed, key=lambda one: (one.hash, one.row.tobytes()))[: settings.max_samples]
    hashes, rows = np.array([one.hash for one in hashed], np.uint64), np.stack([one.row for one in hashed])
    mixture, _ = fit_mixture(functools.partial(_batches, rows, hashes), settings)
    return mixture


def _batches(rows: np.ndarray, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for first in range(0, len(rows), TASK_ROWS):
        yield rows[first : first + TASK_ROWS], hashes[first : first + TASK_ROWS]
