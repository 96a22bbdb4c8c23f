import numpy as np
import pytest

from hir_transforms.mixtures.kmeans_start import effective_components, initial_mixture


def blobs(num_rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 5.0], [0.0, 20.0, -5.0]])
    return centers[np.arange(num_rows) % 3] + rng.normal(size=(num_rows, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_separate_clusters_give_their_share_mean_and_variance(dtype: type) -> None:
    rows = blobs(300).astype(dtype)

    mixture = initial_mixture(rows, 3, seed=7)

    order = np.argsort(mixture.means[:, 0] - mixture.means[:, 1])  # the third blob, the first, the second
    for k, blob in zip(order, (2, 0, 1), strict=True):
        members = rows[blob::3].astype(np.float64)
        np.testing.assert_allclose(mixture.means[k], members.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(mixture.covariances[k], members.var(axis=0) + 1e-6, rtol=1e-12)
    np.testing.assert_allclose(mixture.weights, 1 / 3)
    assert not mixture.converged
    assert mixture.log_likelihood.size == 0


def test_same_rows_and_seed_give_the_same_bits() -> None:
    rows = np.random.default_rng(1).normal(size=(500, 8)).astype(np.float32)

    first, second = (initial_mixture(rows, 20, seed=3) for _ in range(2))

    assert first.means.tobytes() == second.means.tobytes()
    assert first.covariances.tobytes() == second.covariances.tobytes()
    assert first.weights.tobytes() == second.weights.tobytes()


def test_seed_matters() -> None:
    rows = np.random.default_rng(1).normal(size=(500, 8))

    assert initial_mixture(rows, 20, seed=3).means.tobytes() != initial_mixture(rows, 20, seed=4).means.tobytes()


@pytest.mark.parametrize(("distinct", "components"), [(1, 1), (3, 3), (10, 4)])
def test_no_more_components_than_distinct_rows(distinct: int, components: int) -> None:
    rows = np.repeat(np.random.default_rng(2).normal(size=(distinct, 5)), 6, axis=0)

    mixture = initial_mixture(rows, 4, seed=0)

    assert mixture.num_components == components
    assert mixture.weights.sum() == pytest.approx(1)


def test_signed_zeros_are_one_row() -> None:
    assert initial_mixture(np.array([[0.0], [-0.0]]), 2, seed=0).num_components == 1


def test_one_row() -> None:
    mixture = initial_mixture(np.array([[1.0, 2.0]]), 5, seed=0, reg_covar=1e-3)

    assert mixture.weights.tolist() == [1.0]
    assert mixture.means.tolist() == [[1.0, 2.0]]
    assert mixture.covariances.tolist() == [[1e-3, 1e-3]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_refuses_rows_that_are_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="row 1"):
        initial_mixture(np.array([[0.0], [value]]), 1, seed=0)


def test_effective_components() -> None:
    assert effective_components(3, 5) == (3, None)
    assert effective_components(5, 5) == (5, None)
    number, warning = effective_components(50, 5)
    assert number == 5
    assert warning == "50 components asked for, but there are only 5 rows: fitting 5 components"


@pytest.mark.parametrize(("num_components", "num_rows", "message"), [(0, 5, "at least 1"), (3, 0, "no rows")])
def test_effective_components_refuses(num_components: int, num_rows: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        effective_components(num_components, num_rows)
