import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from hir_transforms.mixtures.em import RowBounds
from hir_transforms.mixtures.pca import Moments, effective_dim, principal_components

SPECTRUM = np.array([5.0, 3.0, 2.0, 1.0, 0.5, 0.2, 0.1])


def make_rows(num_rows, seed=0, offset=4.0):
    generator = np.random.default_rng(seed)
    rotation = np.linalg.qr(generator.normal(size=(len(SPECTRUM), len(SPECTRUM))))[0]
    return ((generator.normal(size=(num_rows, len(SPECTRUM))) * SPECTRUM) @ rotation + offset).astype(np.float32)


def fit(rows, dim):
    bounds = RowBounds.from_rows(rows)
    return principal_components(Moments.of(rows, bounds), bounds, dim)


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_components_are_those_of_scikit_learn_with_their_signs(dim):
    rows = make_rows(20_000)  # more than are summed in one product
    projection, shares = fit(rows, dim)
    oracle = PCA(dim, svd_solver="full").fit(rows.astype(np.float64))
    np.testing.assert_allclose(projection.mean, oracle.mean_, atol=1e-6)
    np.testing.assert_allclose(projection.matrix.T, oracle.components_, atol=1e-5)
    np.testing.assert_allclose(shares, oracle.explained_variance_ratio_, rtol=1e-5)
    np.testing.assert_allclose(projection.apply(rows), oracle.transform(rows), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_covariance_is_that_of_numpy(dtype):
    rows = make_rows(500).astype(dtype)
    bounds = RowBounds.from_rows(rows)
    expected = np.cov(rows.T.astype(np.float64), bias=True)
    np.testing.assert_allclose(Moments.of(rows, bounds).covariance(bounds), expected, atol=1e-4)


def test_rows_on_the_grid_have_their_exact_covariance():
    rows = np.array([[1.0, -4.0], [3.0, 8.0], [5.0, 2.0]])
    bounds = RowBounds.from_rows(rows)
    moments = Moments.of(rows, bounds)
    assert moments.mean(bounds).tolist() == [3.0, 2.0]
    assert moments.covariance(bounds).tolist() == [[8 / 3, 4.0], [4.0, 24.0]]


@given(st.integers(0, 1000), st.permutations(range(6)), st.integers(1, 5))
def test_sums_do_not_depend_on_order_or_grouping(seed, order, cut):
    rows = make_rows(60, seed)
    bounds = RowBounds.from_rows(rows)
    whole = Moments.of(rows, bounds)
    parts = [Moments.of(np.array_split(rows, 6)[place], bounds) for place in order]
    left, right = parts[0], parts[cut]
    for part in parts[1:cut]:
        left = left.merge(part)
    for part in parts[cut + 1 :]:
        right = part.merge(right)
    merged = right.merge(left)
    assert merged.num_rows == whole.num_rows
    np.testing.assert_array_equal(merged.sum_x, whole.sum_x)
    np.testing.assert_array_equal(merged.sum_xx, whole.sum_xx)
    one, _ = principal_components(whole, bounds, 3)
    other, _ = principal_components(merged, bounds, 3)
    assert one.matrix.tobytes() == other.matrix.tobytes()
    assert one.mean.tobytes() == other.mean.tobytes()


@given(st.integers(1, 2**50), st.floats(0, 1e100))
def test_sums_of_any_number_of_rows_fit_int64(num_rows, max_abs):
    bounds = RowBounds(num_rows, np.array([max_abs]))
    row = Moments.of(np.array([[max_abs]]), bounds)
    assert int(row.sum_xx[0, 0]) * num_rows < 2**63
    assert abs(int(row.sum_x[0])) * num_rows < 2**63


def test_precision_is_enough_for_a_billion_rows():
    rows = make_rows(2000)
    bounds = RowBounds(10**9, RowBounds.from_rows(rows).max_abs)
    projection, _ = principal_components(Moments.of(rows, bounds), bounds, 3)
    np.testing.assert_allclose(projection.matrix, fit(rows, 3)[0].matrix, atol=1e-3)


def test_the_largest_entry_of_each_direction_is_positive():
    matrix = fit(make_rows(100, seed=5), 7)[0].matrix
    assert (matrix[np.argmax(np.abs(matrix), axis=0), np.arange(7)] > 0).all()
    np.testing.assert_array_equal(fit(-make_rows(100, seed=5), 7)[0].matrix, matrix)


@pytest.mark.parametrize("rows", [np.ones((1, 4)), np.full((9, 4), 0.1), np.zeros((3, 4))], ids=["one", "equal", "0"])
def test_rows_without_variance_are_projected_to_zero(rows):
    projection, shares = fit(rows, 1)
    assert shares.tolist() == [0.0]
    np.testing.assert_allclose(projection.apply(rows), 0.0, atol=1e-6)


@pytest.mark.parametrize("dim", [0, -1, 8])
def test_a_number_of_components_that_cannot_be_is_refused(dim):
    with pytest.raises(ValueError, match="between 1 and 7"):
        fit(make_rows(20), dim)


@pytest.mark.parametrize(
    "rows", [np.full((1, 2), 2.0), np.full((1, 2), np.nan), np.zeros((1, 3))], ids=["large", "nan", "width"]
)
def test_rows_outside_the_bounds_are_refused(rows):
    with pytest.raises(ValueError, match="bounds"):
        Moments.of(rows, RowBounds(1, np.ones(2)))


@pytest.mark.parametrize(
    ("asked", "features", "rows", "kept"), [(3, 5, 9, 3), (5, 5, 5, 5), (6, 5, 9, 5), (6, 9, 4, 4)]
)
def test_dimensions_are_no_more_than_features_and_rows(asked, features, rows, kept):
    dim, warning = effective_dim(asked, features, rows)
    assert dim == kept
    assert (warning is None) == (kept == asked)
    assert warning is None or f"{asked} embedding dimensions" in warning
