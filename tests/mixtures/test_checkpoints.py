import dataclasses
import re

import numpy as np
import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.mixtures.checkpoints import Checkpoints, read_mixture, save_mixture
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.fitting import MixtureSettings


def mixture_after(iterations):
    """Converged at tolerance 0.1 after 9 iterations, at 0.6 after 5."""
    log_likelihood = np.array([0, 1, 2, 3, 3.5, 4.5, 5.5, 6.5, 6.51, 6.52])[:iterations]
    return GaussianMixture(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)), log_likelihood, iterations == 9)


def assert_same(one, other):
    for name in ("weights", "means", "covariances", "log_likelihood"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.converged == other.converged


@pytest.fixture(params=["local", "mem"])
def directory(request, tmp_path, memory_store):
    return str(tmp_path / "kept [a-b]*") if request.param == "local" else "mem://bucket/kept"


def test_the_newest_is_that_of_most_iterations(directory):
    checkpoints = Checkpoints(directory)
    assert checkpoints.newest(100, 0.0) is None
    for iterations in (2, 10, 9):
        checkpoints.save(mixture_after(iterations))
    assert_same(checkpoints.newest(100, 0.0), mixture_after(10))


def test_the_newest_is_the_last_that_a_fit_of_these_settings_reaches(directory):
    checkpoints = Checkpoints(directory)
    for iterations in (2, 3, 5, 8, 9):
        checkpoints.save(mixture_after(iterations))
    for max_iter, tol, iterations, converged in (
        (100, 0.1, 9, True),
        (100, 0.001, 9, False),
        (8, 0.1, 8, False),
        (7, 0.1, 5, False),
        (100, 0.6, 5, True),
        (5, 0.6, 5, True),
        (4, 0.6, 3, False),
        (100, 1.5, 2, True),
    ):
        expected = dataclasses.replace(mixture_after(iterations), converged=converged)
        assert_same(checkpoints.newest(max_iter, tol), expected)
    assert checkpoints.newest(1, 0.0) is None


def test_a_file_that_is_being_written_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(mixture_after(3))
    (tmp_path / "iteration-0004.npz.tmp-00ff").write_bytes(b"PK")
    (tmp_path / "notes.txt").write_bytes(b"")
    assert_same(checkpoints.newest(100, 0.0), mixture_after(3))


def test_each_fit_has_its_own_folder_whenever_it_stops():
    settings = MixtureSettings(5, 10, 1e-3, seed=0)
    raw = Stage.create("gmm/raw", "/work", settings)
    folder = Checkpoints.of_stage("/kept", raw).folder
    assert re.fullmatch("/kept/raw/[0-9a-f]{16}", folder)
    later = Stage.create("gmm/raw", "/work", dataclasses.replace(settings, max_iter=20, tol=0.0))
    assert Checkpoints.of_stage("/kept", later).folder == folder
    others = [
        Stage.create("gmm/raw", "/work", dataclasses.replace(settings, seed=1)),
        Stage.create("gmm/raw", "/work", settings, upstream=[raw]),
        dataclasses.replace(raw, name="gmm/target-0"),
    ]
    assert len({folder, *(Checkpoints.of_stage("/kept", other).folder for other in others)}) == 4


def test_a_saved_mixture_is_loaded_bit_by_bit(directory):
    path = f"{directory}/raw.npz"
    save_mixture(path, mixture_after(9))
    assert_same(read_mixture(path), mixture_after(9))
