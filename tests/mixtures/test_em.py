import dataclasses
import io
import pickle
import warnings
import zipfile
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as SklearnMixture

from hir_transforms.mixtures.em import (
    GaussianMixture,
    RowBounds,
    SufficientStatistics,
    expectation,
    fit,
    maximization,
)
from hir_transforms.mixtures.kmeans_start import initial_mixture
from hir_transforms.mixtures.projection import Projection


def blobs(num_rows: int, num_features: int, num_blobs: int, *, distance: float = 2.0, seed: int = 0) -> np.ndarray:
    """Rows of `num_blobs` Gaussians; at `distance` near 1 or below they overlap."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(scale=distance, size=(num_blobs, num_features))
    stds = rng.uniform(0.5, 1.5, size=(num_blobs, num_features))
    labels = rng.integers(num_blobs, size=num_rows)
    return centers[labels] + stds[labels] * rng.normal(size=(num_rows, num_features))


def random_mixture(
    num_components: int, num_features: int, *, log_spread: float = 0.5, seed: int = 0
) -> GaussianMixture:
    """Parameters whose scales vary by a factor of e^log_spread, more or less."""
    rng = np.random.default_rng(seed)
    shape = (num_components, num_features)
    return GaussianMixture(
        rng.dirichlet(np.ones(num_components)),
        rng.normal(size=shape) * np.exp(rng.normal(scale=log_spread, size=shape)),
        np.exp(rng.normal(scale=2 * log_spread, size=shape)),
    )


def joint_log_densities(mixture: GaussianMixture, rows: np.ndarray) -> np.ndarray:
    """log(w_k p_k(x)) by the definition, [N, K]."""
    deviations = rows.astype(np.float64)[:, None, :] - mixture.means
    exponents = (deviations**2 / mixture.covariances + np.log(2 * np.pi * mixture.covariances)).sum(axis=2)
    return np.log(mixture.weights) - 0.5 * exponents


def sklearn_from(start: GaussianMixture, rows: np.ndarray, *, max_iter: int, tol: float = 1e-3) -> SklearnMixture:
    model = SklearnMixture(
        start.num_components,
        covariance_type="diag",
        reg_covar=1e-6,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=1 / start.covariances,
        max_iter=max_iter,
        tol=tol,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows)


def in_batches(rows: np.ndarray, size: int) -> Callable[[], list[np.ndarray]]:
    return lambda: [rows[start : start + size] for start in range(0, len(rows), size)]


def same_bits(first: GaussianMixture | SufficientStatistics, second: GaussianMixture | SufficientStatistics) -> bool:
    return pickle.dumps(first) == pickle.dumps(second)


# Log densities


@settings(deadline=None, max_examples=60)
@given(
    num_components=st.integers(1, 30),
    num_features=st.integers(1, 40),
    log_spread=st.floats(0, 4),
    row_scale=st.sampled_from([1e-6, 1.0, 1e3, 1e20]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_log_densities_are_those_of_the_definition(
    num_components: int, num_features: int, log_spread: float, row_scale: float, dtype: type, seed: int
) -> None:
    mixture = random_mixture(num_components, num_features, log_spread=log_spread, seed=seed)
    rows = (np.random.default_rng(seed).normal(size=(20, num_features)) * row_scale).astype(dtype)

    scores = mixture.score_samples(rows)

    np.testing.assert_allclose(scores, logsumexp(joint_log_densities(mixture, rows), axis=1), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("means", "covariances", "row"),
    [
        pytest.param([1.743e16, 1.5687e16, -3.3117e16], [1e-6, 1e-5, 1e-5], 1.5687e16, id="a worse one is +inf"),
        pytest.param([0.93e16, 2.79e16, -3.72e16], [1e-6, 1e-4, 1e-4], 0.93e16, id="the best one is -inf"),
        pytest.param([1e30, -1e30, 0.0], [1.0, 1.0, 1.0], 1e30, id="all are NaN"),
    ],
)
def test_log_density_where_float32_overflows(means: list[float], covariances: list[float], row: float) -> None:
    mixture = GaussianMixture(np.full(3, 1 / 3), np.array(means)[:, None], np.array(covariances)[:, None])
    rows = np.array([[row]])

    scores = mixture.score_samples(rows)

    np.testing.assert_allclose(scores, logsumexp(joint_log_densities(mixture, rows), axis=1), rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", [0.1, 1.0, 10.0])
def test_score_samples_agrees_with_sklearn(dtype: type, distance: float) -> None:
    rows = blobs(2000, 16, 8, distance=distance)
    model = sklearn_from(initial_mixture(rows, 8, seed=0), rows, max_iter=5)
    mixture = GaussianMixture(model.weights_, model.means_, model.covariances_)
    others = np.random.default_rng(1).normal(scale=20, size=(500, 16)).astype(dtype)

    np.testing.assert_allclose(mixture.score_samples(others), model.score_samples(others.astype(float)), rtol=1e-6)


def test_score_of_a_row_does_not_depend_on_its_neighbours() -> None:
    mixture = random_mixture(20, 24)
    rows = np.random.default_rng(0).normal(size=(600, 24)).astype(np.float32)

    alone = np.concatenate([mixture.score_samples(row[None]) for row in rows])

    assert alone.tobytes() == mixture.score_samples(rows).tobytes()


def test_rows_may_be_read_only_or_strided() -> None:
    mixture = random_mixture(3, 4)
    rows = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    read_only = np.frombuffer(rows.tobytes(), dtype=np.float32).reshape(10, 4)
    strided = np.repeat(rows, 2, axis=1)[:, ::2]

    assert mixture.score_samples(read_only).tolist() == mixture.score_samples(rows).tolist()
    assert mixture.score_samples(strided).tolist() == mixture.score_samples(rows).tolist()


def test_no_rows() -> None:
    assert random_mixture(3, 4).score_samples(np.empty((0, 4))).shape == (0,)


# Sufficient statistics


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_expectation_sums_responsibilities(dtype: type) -> None:
    rows = blobs(700, 6, 4, distance=0.5).astype(dtype)
    mixture, bounds = random_mixture(5, 6), RowBounds.from_rows(rows)
    joint = joint_log_densities(mixture, rows)
    log_densities = logsumexp(joint, axis=1)
    responsibilities = np.exp(joint - log_densities[:, None])

    statistics = expectation(rows, mixture, bounds)

    count_scale, x_scales, xx_scales = bounds.scales
    x = rows.astype(np.float64)
    np.testing.assert_allclose(statistics.counts / count_scale, responsibilities.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.sum_x / x_scales, responsibilities.T @ x, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(statistics.sum_xx / xx_scales, responsibilities.T @ x**2, rtol=1e-12)
    assert statistics.log_likelihood / 2**36 == pytest.approx(log_densities.sum(), rel=1e-10)
    assert statistics.num_rows == 700


@given(num_rows=st.integers(1, 20), seed=st.integers(0, 2**32 - 1))
def test_sums_of_one_component_are_exact_sums_of_rounded_rows(num_rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(num_rows, 1)) * np.exp2(rng.uniform(-40, 0, size=(num_rows, 1)))).astype(np.float32)
    values = rows[:, 0].tolist()
    mixture, bounds = random_mixture(1, 1), RowBounds.from_rows(rows)

    statistics = expectation(rows, mixture, bounds)

    count_scale, x_scales, xx_scales = bounds.scales
    assert statistics.counts[0] == len(values) * count_scale
    assert statistics.sum_x[0, 0] == sum(round(Fraction(value) * int(x_scales[0])) for value in values)
    assert statistics.sum_xx[0, 0] == sum(round(Fraction(value) ** 2 * int(xx_scales[0])) for value in values)


@settings(deadline=None, max_examples=50)
@given(data=st.data(), distance=st.sampled_from([0.1, 3.0]), seed=st.integers(0, 2**32 - 1))
def test_statistics_do_not_depend_on_order_batches_or_merge_tree(
    data: st.DataObject, distance: float, seed: int
) -> None:
    rows = blobs(300, 5, 3, distance=distance, seed=seed).astype(np.float32)
    mixture, bounds = random_mixture(4, 5, seed=seed), RowBounds.from_rows(rows)
    whole = expectation(rows, mixture, bounds)

    shuffled = rows[np.random.default_rng(seed).permutation(len(rows))]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=8)))
    parts = [expectation(batch, mixture, bounds) for batch in np.split(shuffled, cuts)]
    while len(parts) > 1:
        taken = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts[data.draw(st.integers(0, len(parts) - 1))].add(taken)

    assert same_bits(parts[0], whole)


def test_expectation_adds_to_given_statistics() -> None:
    rows = blobs(400, 5, 3)
    mixture, bounds = random_mixture(4, 5), RowBounds.from_rows(rows)
    statistics = SufficientStatistics.zeros(4, 5)

    for batch in in_batches(rows, 90)():
        assert expectation(batch, mixture, bounds, statistics) is statistics

    assert same_bits(statistics, expectation(rows, mixture, bounds))


def test_statistics_of_different_shapes_do_not_add() -> None:
    with pytest.raises(ValueError, match="shapes"):
        SufficientStatistics.zeros(2, 3).add(SufficientStatistics.zeros(1, 3))


@given(st.permutations(range(6)))
def test_bounds_do_not_depend_on_the_order_of_merging(order: list[int]) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    parts = [RowBounds.from_rows(rows[10 * i : 10 * i + 10]) for i in order]

    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)

    assert merged.num_rows == 60
    assert merged.max_abs.tolist() == np.abs(rows).max(axis=0).tolist()


# EM


@pytest.mark.parametrize(("num_features", "distance"), [(1, 2.0), (8, 0.2), (8, 2.0), (64, 1.0)])
@pytest.mark.parametrize("max_iter", [1, 2, 10])
def test_parameters_agree_with_sklearn(num_features: int, distance: float, max_iter: int) -> None:
    rows = blobs(1500, num_features, 5, distance=distance)
    start = initial_mixture(rows, 7, seed=0)

    mixture = fit(in_batches(rows, 400), start, RowBounds.from_rows(rows), max_iter=max_iter, tol=0)

    model = sklearn_from(start, rows, max_iter=max_iter, tol=0)
    np.testing.assert_allclose(mixture.weights, model.weights_, atol=1e-9)
    np.testing.assert_allclose(mixture.means, model.means_, atol=1e-8)
    np.testing.assert_allclose(mixture.covariances, model.covariances_, atol=1e-8)
    np.testing.assert_allclose(mixture.log_likelihood, model.lower_bounds_, rtol=1e-9)


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3, 1e-4])
def test_stops_where_sklearn_stops(tol: float) -> None:
    rows = blobs(1000, 4, 4, distance=0.8)
    start = initial_mixture(rows, 4, seed=0)

    mixture = fit(in_batches(rows, 300), start, RowBounds.from_rows(rows), max_iter=100, tol=tol)

    model = sklearn_from(start, rows, max_iter=100, tol=tol)
    assert mixture.converged == model.converged_
    assert len(mixture.log_likelihood) == model.n_iter_
    np.testing.assert_allclose(mixture.means, model.means_, atol=1e-7)


def test_parameters_of_float32_rows_are_those_of_their_values() -> None:
    rows = blobs(800, 12, 5, distance=1.0).astype(np.float32)
    start, bounds = initial_mixture(rows, 5, seed=0), RowBounds.from_rows(rows)

    narrow = fit(in_batches(rows, 256), start, bounds, max_iter=5, tol=0)
    wide = fit(in_batches(rows.astype(np.float64), 256), start, bounds, max_iter=5, tol=0)

    np.testing.assert_allclose(narrow.means, wide.means, atol=1e-12)
    np.testing.assert_allclose(narrow.covariances, wide.covariances, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(distance=st.floats(0, 5), num_components=st.integers(1, 10), seed=st.integers(0, 2**32 - 1))
def test_em_keeps_its_invariants(distance: float, num_components: int, seed: int) -> None:
    rows = blobs(300, 4, 3, distance=distance, seed=seed)

    start, bounds = initial_mixture(rows, num_components, seed=0), RowBounds.from_rows(rows)
    mixture = fit(in_batches(rows, 100), start, bounds, max_iter=15, tol=0)

    assert mixture.weights.sum() == pytest.approx(1, abs=1e-12)
    assert (mixture.covariances >= 1e-6).all()
    assert (np.abs(mixture.means) <= bounds.max_abs).all()
    assert (np.diff(mixture.log_likelihood) > -1e-4).all()  # reg_covar widens the maximum a little
    assert not mixture.converged


def test_batch_size_does_not_change_a_bit_of_the_fit() -> None:
    rows = blobs(1000, 8, 4, distance=0.5).astype(np.float32)
    start, bounds = initial_mixture(rows, 6, seed=0), RowBounds.from_rows(rows)

    fits = [fit(in_batches(rows, size), start, bounds, max_iter=8) for size in (1000, 333, 7)]

    assert same_bits(fits[0], fits[1])
    assert same_bits(fits[0], fits[2])


def test_converged_mixture_passes_through() -> None:
    rows = blobs(200, 3, 2)
    bounds = RowBounds.from_rows(rows)
    mixture = fit(in_batches(rows, 200), initial_mixture(rows, 2, seed=0), bounds, max_iter=100)

    assert mixture.converged
    assert maximization(expectation(rows, mixture, bounds), mixture, bounds) is mixture


def test_component_without_rows_is_removed() -> None:
    rows = blobs(400, 3, 2)
    start, bounds = initial_mixture(rows, 2, seed=0), RowBounds.from_rows(rows)
    with_empty = GaussianMixture(
        np.append(start.weights * 0.9, 0.1),
        np.vstack([start.means, np.full(3, 1e4)]),
        np.vstack([start.covariances, np.ones(3)]),
    )

    mixture = fit(in_batches(rows, 100), with_empty, bounds, max_iter=3, tol=0)

    expected = fit(in_batches(rows, 100), start, bounds, max_iter=3, tol=0)
    assert mixture.num_components == 2
    np.testing.assert_allclose(mixture.means, expected.means, atol=1e-12)
    np.testing.assert_allclose(mixture.weights, expected.weights, atol=1e-12)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(np.ones((1, 3)), id="one row"),
        pytest.param(np.ones((20, 3)), id="one row many times"),
        pytest.param(np.zeros((20, 3)), id="zeros"),
        pytest.param(blobs(5, 3, 1), id="as many rows as components"),
        pytest.param(blobs(50, 3, 2) * [1, 0, 1] + [0, 7, 1e4], id="constant dimension"),
        pytest.param(np.repeat(blobs(4, 3, 1), 10, axis=0), id="fewer distinct rows than components"),
        pytest.param(blobs(50, 3, 2) * 1e-30, id="tiny"),
        pytest.param(blobs(50, 3, 2) * 1e15, id="huge"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_degenerate_rows_end_in_a_valid_mixture(rows: np.ndarray, dtype: type) -> None:
    rows = rows.astype(dtype)

    mixture = fit(in_batches(rows, 8), initial_mixture(rows, 5, seed=0), RowBounds.from_rows(rows), max_iter=20)

    assert mixture.weights.sum() == pytest.approx(1)
    assert (mixture.covariances >= 1e-6).all()
    assert np.isfinite(mixture.score_samples(rows)).all()


# Refusals


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_not_finite_are_refused(value: float, dtype: type) -> None:
    rows = blobs(10, 3, 1).astype(dtype)
    bounds, mixture = RowBounds.from_rows(rows), random_mixture(2, 3)
    rows[4, 1] = value

    with pytest.raises(ValueError, match="row 4"):
        RowBounds.from_rows(rows)
    with pytest.raises(ValueError, match="NaN"):
        expectation(rows, mixture, bounds)
    with pytest.raises(ValueError, match="NaN"):
        mixture.score_samples(rows)


def test_rows_outside_the_bounds_are_refused() -> None:
    rows = blobs(10, 3, 1)

    with pytest.raises(ValueError, match="bounds"):
        expectation(rows, random_mixture(2, 3), RowBounds.from_rows(rows / 2))


def test_more_rows_than_in_the_bounds_are_refused() -> None:
    rows = blobs(10, 3, 1)
    mixture, bounds = random_mixture(2, 3), RowBounds.from_rows(rows)
    statistics = expectation(rows, mixture, bounds)
    statistics.add(statistics)

    with pytest.raises(ValueError, match="statistics of 20 rows"):
        maximization(statistics, mixture, bounds)


@pytest.mark.parametrize(
    "rows", [np.zeros((2, 4)), np.zeros(3), np.zeros((2, 3), np.int64), np.zeros((2, 3), np.float16)]
)
def test_rows_of_another_shape_or_type_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"features|float32"):
        random_mixture(2, 3).score_samples(rows)


@pytest.mark.parametrize(
    ("weights", "means", "covariances"),
    [
        pytest.param([1.0], [[0.0]], [[0.0]], id="no variance"),
        pytest.param([0.0, 1.0], [[0.0], [1.0]], [[1.0], [1.0]], id="no weight"),
        pytest.param([1.0], [[np.nan]], [[1.0]], id="NaN"),
        pytest.param([1.0], [[0.0], [1.0]], [[1.0], [1.0]], id="shapes"),
    ],
)
def test_parameters_that_are_no_mixture_are_refused(weights: list, means: list, covariances: list) -> None:
    with pytest.raises(ValueError, match=r"mixture needs|do not fit"):
        GaussianMixture(np.array(weights), np.array(means), np.array(covariances))


# Files


def test_saves_and_loads() -> None:
    rows = blobs(100, 3, 2)
    mixture = fit(in_batches(rows, 50), initial_mixture(rows, 2, seed=0), RowBounds.from_rows(rows))
    file = io.BytesIO()

    mixture.save(file)
    file.seek(0)

    assert same_bits(GaussianMixture.load(file), mixture)
    assert {"weights", "means", "covariances", "log_likelihood"} <= set(np.load(io.BytesIO(file.getvalue())))


def test_projection_is_kept_and_applied_to_rows_that_are_scored() -> None:
    mixture = random_mixture(2, 3)
    rows = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    projection = Projection(rows.mean(axis=0, dtype=np.float64), np.random.default_rng(1).normal(size=(5, 3)))
    projected = dataclasses.replace(mixture, projection=projection)
    expected = mixture.score_samples(projection.apply(rows))
    np.testing.assert_array_equal(projected.score_samples(rows), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(projected)).score_samples(rows), expected)  # noqa: S301
    file = io.BytesIO()
    projected.save(file)
    file.seek(0)
    np.testing.assert_array_equal(GaussianMixture.load(file).score_samples(rows), expected)
    file.seek(0)
    assert {"projection", "projection_mean"} < set(np.load(file))
    with pytest.raises(ValueError, match="features"):
        projected.score_samples(rows[:, :3])
    with pytest.raises(ValueError, match="projection"):
        dataclasses.replace(random_mixture(2, 4), projection=projection)


def test_file_holds_no_time() -> None:
    file = io.BytesIO()

    random_mixture(2, 3).save(file)

    assert {entry.date_time for entry in zipfile.ZipFile(file).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_load_refuses_another_version() -> None:
    file = io.BytesIO()
    np.savez(file, format_version=np.int64(2))
    file.seek(0)

    with pytest.raises(ValueError, match="format version 2"):
        GaussianMixture.load(file)


def test_pickle_leaves_out_what_can_be_computed() -> None:
    mixture = random_mixture(50, 20)
    size = len(pickle.dumps(mixture))

    mixture.score_samples(np.zeros((1, 20)))

    assert len(pickle.dumps(mixture)) == size


def dense_mixture(num_features: int, offset: float) -> tuple[np.ndarray, GaussianMixture]:
    """Rows and 40 components that overlap so much that most matter to every row."""
    rng = np.random.default_rng(3)
    rows = (offset + rng.normal(size=(1500, num_features)) * rng.uniform(0.1, 10, num_features)).astype(np.float32)
    return rows, initial_mixture(rows, 40, seed=0)


def matters_to_many(mixture: GaussianMixture, rows: np.ndarray) -> bool:
    joint = joint_log_densities(mixture, rows)
    return bool(((joint > joint.max(axis=1, keepdims=True) - 36).sum(axis=1) > 20).mean() > 0.9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_where_components_overlap_parameters_agree_with_sklearn(dtype: type, offset: float) -> None:
    rows, start = dense_mixture(24, offset)
    assert matters_to_many(start, rows)
    rows = rows.astype(dtype)
    bounds = RowBounds.from_rows(rows)
    ours = fit(lambda: [rows], start, bounds, max_iter=4, tol=0.0)
    # float64, and centred: the variances of scikit-learn lose digits where a mean is large
    model = sklearn_from(
        GaussianMixture(start.weights, start.means - offset, start.covariances), rows.astype(np.float64) - offset,
        max_iter=4, tol=0.0,
    )  # fmt: skip
    assert ours.log_likelihood[-1] == pytest.approx(model.lower_bound_, rel=1e-6)
    np.testing.assert_allclose(ours.weights, model.weights_, rtol=1e-4)
    stds = np.sqrt(model.covariances_)
    assert np.abs((ours.means - offset - model.means_) / stds).max() < 1e-4
    np.testing.assert_allclose(ours.covariances, model.covariances_, rtol=1e-4)


def test_where_components_overlap_statistics_do_not_depend_on_the_order_of_batches() -> None:
    rows, mixture = dense_mixture(24, 0.0)
    bounds = RowBounds.from_rows(rows)
    batches = [rows[begin : begin + 300] for begin in range(0, len(rows), 300)]
    forward, backward = (SufficientStatistics.zeros(40, 24) for _ in range(2))
    for batch in batches:
        expectation(batch, mixture, bounds, forward)
    for batch in reversed(batches):
        backward.add(expectation(batch, mixture, bounds))
    for name in ("counts", "sum_x", "sum_xx", "log_likelihood", "num_rows"):
        np.testing.assert_array_equal(getattr(forward, name), getattr(backward, name))


def test_rows_too_far_for_float32_are_summed_exactly_though_all_components_matter() -> None:
    """At 1e6 standard deviations float32 cannot tell overlapping components apart; scikit-learn's float64 can."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(40, 2)) * 1e-6
    mixture = GaussianMixture(np.full(40, 1 / 40), means, np.ones((40, 2)))
    rows = rng.normal(size=(300, 2)) + 1e6
    joint = joint_log_densities(mixture, rows)
    responsibilities = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    bounds = RowBounds.from_rows(rows)
    statistics = expectation(rows, mixture, bounds)
    np.testing.assert_allclose(statistics.counts / bounds.scales[0], responsibilities.sum(axis=0), rtol=1e-3)
