import io
from typing import Any

import numpy as np
import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.mixtures.checkpoints import save_mixture
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.given import GivenMixture, given_mixtures

GOOD: dict[str, Any] = {
    "weights": np.array([0.25, 0.75]),
    "means": np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]),
    "covariances": np.full((2, 3), 0.5),
}


def check(path):
    return GivenMixture.check("--raw_gmm", str(path))


def test_a_fitted_mixture_is_read_bit_by_bit(tmp_path):
    path = str(tmp_path / "raw.npz")
    mixture = GaussianMixture(**GOOD, log_likelihood=np.array([-3.0, -2.5]), converged=True)
    save_mixture(path, mixture)
    loaded = check(path).load()
    for name in ("weights", "means", "covariances", "log_likelihood"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(mixture, name))
    assert loaded.converged


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.dtype(">f8")])
def test_three_arrays_are_enough(tmp_path, save, dtype):
    path = tmp_path / "own.npz"
    save(path, **{name: np.asfortranarray(values.astype(dtype)) for name, values in GOOD.items()})
    given = check(path)
    assert given.num_features == 3
    mixture = given.load()
    for name, values in GOOD.items():
        np.testing.assert_array_equal(getattr(mixture, name), values)
        assert getattr(mixture, name).dtype == np.float64
    assert mixture.log_likelihood.size == 0
    assert np.isfinite(mixture.score_samples(np.zeros((4, 3)))).all()


def test_rounded_weights_are_good(tmp_path):
    weights = np.random.default_rng(0).random(3000, np.float32)
    weights /= weights.sum()
    np.savez(tmp_path / "a.npz", weights=weights, means=np.zeros((3000, 1)), covariances=np.ones((3000, 1)))
    assert check(tmp_path / "a.npz").num_features == 1


NAN = np.where(np.arange(6).reshape(2, 3) == 4, np.nan, 1.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, "has no weights; it has covariances, means"),
        ({"weights": None, "covariances": None}, "has no weights and no covariances; it has means"),
        ({"means": np.zeros(3)}, "means must have the shape [components, dimensions], not [3]"),
        ({"means": np.zeros((2, 0))}, "means must have the shape [components, dimensions], not [2, 0]"),
        ({"weights": np.full(3, 1 / 3)}, "weights must have the shape [2], not [3]"),
        ({"covariances": np.ones((2, 3, 3))}, "covariances must be diagonal, of the shape [2, 3] as the means, not"),
        ({"weights": np.array([0.5, 0.4])}, "weights must sum to 1, not 0.9"),
        ({"weights": np.array([0.0, 1.0])}, "weights must be positive, the smallest is 0"),
        ({"weights": np.array([1.5, -0.5])}, "weights must be positive, the smallest is -0.5"),
        ({"covariances": np.array([[1.0, 0.0, 1.0]] * 2)}, "covariances must be positive, the smallest is 0"),
        ({"weights": np.array([0.5, np.nan])}, "weights hold NaN or infinity"),
        ({"means": NAN}, "means hold NaN or infinity"),
        ({"covariances": NAN * np.inf}, "covariances hold NaN or infinity"),
        ({"means": np.full((2, 3), "a")}, "means must hold real numbers, not <U1"),
        ({"means": np.full((2, 3), 1j)}, "means must hold real numbers, not complex128"),
        ({"means": np.full((2, 3), None)}, "is not an npz file of numeric arrays"),
        ({"log_likelihood": np.array("a")}, "log_likelihood must hold real numbers"),
        ({"converged": np.zeros(2, bool)}, "converged must be a single value"),
    ],
)
def test_what_is_no_mixture_is_said_in_one_line(tmp_path, changes, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **{name: values for name, values in (GOOD | changes).items() if values is not None})
    with pytest.raises(UserError) as caught:
        check(path)
    assert str(caught.value).startswith(f"--raw_gmm: {path}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def stored(save, *arrays):
    file = io.BytesIO()
    save(file, *arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"no npz", b"PK\3\4 cut off", stored(np.savez, np.ones(900))[:700], stored(np.save, np.ones(3))],
    ids=["empty", "text", "not a zip", "cut off", "npy"],
)
def test_other_files_are_errors_of_one_line(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^--raw_gmm: .*other\.npz (is not an npz file|holds one array)") as caught:
        check(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match=r"^--raw_gmm: no file /nowhere/raw\.npz$"):
        check("/nowhere/raw.npz")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^--raw_gmm: cannot read "):
        check(tmp_path)


def test_a_file_that_changes_is_an_error_and_has_another_digest(tmp_path):
    path = tmp_path / "raw.npz"
    np.savez(path, **GOOD)
    given = check(path)
    assert check(path) == given
    np.savez(path, **(GOOD | {"means": GOOD["means"] + 1}))
    assert check(path).digest != given.digest
    with pytest.raises(UserError, match=r"^--raw_gmm: .* changed while it was used; run again$"):
        given.load()


def test_two_given_mixtures_must_be_of_one_dimension(tmp_path):
    np.savez(tmp_path / "a.npz", **GOOD)
    np.savez(tmp_path / "b.npz", weights=np.ones(1), means=np.ones((1, 2)), covariances=np.ones((1, 2)))
    a, b = str(tmp_path / "a.npz"), str(tmp_path / "b.npz")
    given = given_mixtures(a, [a])
    assert (given.raw.flag, [target.flag for target in given.targets]) == ("--raw_gmm", ["--target_gmm"])
    with pytest.raises(UserError, match=r"--target_gmm: .*b\.npz has 2 dimensions, --raw_gmm's .*a\.npz has 3$"):
        given_mixtures(a, [b])
