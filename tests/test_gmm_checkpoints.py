import dataclasses

import numpy as np
import pytest

from hir_transforms.gmm_checkpoints import Checkpoints, load_mixture, save_mixture
from hir_transforms.numerics.gmm import GaussianMixture
from hir_transforms.stages import Stage


def mixture_after(iterations):
    return GaussianMixture(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)), np.arange(iterations) / 3, iterations == 9)


def assert_same(one, other):
    for name in ("weights", "means", "covariances", "log_likelihood"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.converged == other.converged


@pytest.fixture(params=["local", "mem"])
def directory(request, tmp_path, memory_store):
    return str(tmp_path / "kept [a-b]*") if request.param == "local" else "mem://bucket/kept"


def test_the_newest_is_that_of_most_iterations(directory):
    checkpoints = Checkpoints(directory)
    assert checkpoints.newest() is None
    for iterations in (2, 9, 10_001, 10):
        checkpoints.save(mixture_after(iterations))
    assert_same(checkpoints.newest(), mixture_after(10_001))


def test_a_file_that_is_being_written_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(mixture_after(3))
    (tmp_path / "iteration-0004.npz.tmp-00ff").write_bytes(b"PK")
    (tmp_path / "notes.txt").write_bytes(b"")
    assert_same(checkpoints.newest(), mixture_after(3))


def test_each_stage_and_each_fingerprint_has_its_own_folder():
    raw = Stage.create("gmm/raw", "/work", {"seed": 0})
    folder = Checkpoints.of_stage("/kept", raw).folder
    assert folder == f"/kept/raw/{raw.fingerprint[:16]}"
    others = [Stage.create("gmm/raw", "/work", {"seed": 1}), dataclasses.replace(raw, name="gmm/target-0")]
    assert len({folder, *(Checkpoints.of_stage("/kept", other).folder for other in others)}) == 3


def test_a_saved_mixture_is_loaded_bit_by_bit(directory):
    path = f"{directory}/raw.npz"
    save_mixture(path, mixture_after(9))
    assert_same(load_mixture(path), mixture_after(9))
