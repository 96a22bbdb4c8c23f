import io

import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.common.errors import find_user_error
from hir_transforms.documents.keys import key_hashes
from hir_transforms.mixtures import em
from hir_transforms.mixtures.em import RowBounds
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.mixtures.kmeans_start import initial_mixture
from hir_transforms.mixtures.transforms import FitGaussianMixture
from tests.helpers.collections import ONE_WORKER, TWO_WORKERS, elements

GENERATOR = np.random.default_rng(0)
ROWS = (GENERATOR.normal(size=(700, 3)) + 4 * GENERATOR.integers(0, 3, (700, 1))).astype(np.float32)
KEYED = [(f"document-{number}", row) for number, row in enumerate(ROWS)]


def saved(mixture):
    file = io.BytesIO()
    mixture.save(file)
    return file.getvalue()


def fitted(keyed, settings, options=ONE_WORKER):
    (mixture,) = elements(lambda pipeline: pipeline | beam.Create(keyed) | FitGaussianMixture(settings), options)
    return mixture


@pytest.mark.parametrize("max_samples", [None, 300, 5000])
def test_the_mixture_is_that_of_em_on_the_rows_of_the_smallest_hashes(max_samples):
    settings = MixtureSettings(3, max_iter=20, seed=5, max_samples=max_samples)
    order = np.argsort(key_hashes(5, [key for key, _ in KEYED], purpose="rows"))[:max_samples]
    rows = ROWS[order]
    bounds, start = RowBounds.from_rows(rows), initial_mixture(rows, 3, 5)
    assert saved(fitted(KEYED, settings)) == saved(em.fit(lambda: [rows], start, bounds, max_iter=20, tol=1e-3))


def test_order_and_workers_do_not_show():
    settings = MixtureSettings(3, max_iter=5, max_samples=400)
    assert saved(fitted(KEYED[::-1], settings, TWO_WORKERS)) == saved(fitted(KEYED, settings))


def test_there_are_no_more_components_than_rows():
    assert fitted(KEYED[:2], MixtureSettings(50)).num_components == 2


def test_vectors_that_cannot_be_fitted_to_are_an_error():
    with pytest.raises(ValueError, match="there is no vector") as error:
        elements(
            lambda pipeline: (
                pipeline | beam.Create([], reshuffle=False) | FitGaussianMixture(MixtureSettings(2, max_samples=9))
            )
        )
    assert find_user_error(error.value) == "there is no vector to fit a mixture to"
    with pytest.raises(ValueError, match="NaN"):
        fitted([*KEYED, ("bad", np.array([0, np.nan, 0], np.float32))], MixtureSettings(2))
