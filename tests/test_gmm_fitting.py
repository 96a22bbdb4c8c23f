import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from sklearn.mixture import GaussianMixture as SklearnMixture

from hir_transforms.gmm_fitting import (
    FitGaussianMixture,
    MixtureSettings,
    RowSummary,
    arrange_shards,
    load_mixture,
    mixture_path,
)
from hir_transforms.numerics.gmm_init import initial_mixture
from hir_transforms.numerics.projection import Projection
from hir_transforms.stages import Stage
from tests.helpers.embeddings import write_shards


@pytest.fixture
def blobs():
    """Rows around five centres, float32 [3000, 6]."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(5, 6)) * 3
    return (centres[generator.integers(0, 5, 3000)] + generator.normal(size=(3000, 6))).astype(np.float32)


def fit(folder, shards, settings, *, unrolled, projection=None):
    """Fits through a pipeline; returns the mixture that it wrote."""
    stage = Stage.create("gmm/raw", str(folder), {})

    def check(mixtures):
        (mixture,) = mixtures
        np.testing.assert_array_equal(mixture.means, load_mixture(mixture_path(stage)).means)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        projections = projection and pipeline | "Projection" >> beam.Create([projection])
        fit_mixture = FitGaussianMixture(stage, settings, unrolled=unrolled, projection=projections)
        fitted = pipeline | beam.Create(shards) | fit_mixture
        assert_that(fitted, check)
    return load_mixture(mixture_path(stage)), stage


def assert_same(one, other):
    for name in ("weights", "means", "covariances", "log_likelihood"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.converged == other.converged


SETTINGS = MixtureSettings(num_components=5, max_iter=8, tol=1e-3, seed=0)


def test_both_routes_and_any_shards_give_the_same_bits(blobs, tmp_path):
    fitted = [
        fit(
            tmp_path / f"{unrolled}-{rows}",
            write_shards(tmp_path / f"e{rows}", blobs, rows),
            SETTINGS,
            unrolled=unrolled,
        )
        for unrolled in (False, True)
        for rows in (100, 700)
    ]
    for mixture, _ in fitted[1:]:
        assert_same(mixture, fitted[0][0])


def test_both_routes_fit_the_projected_rows_and_keep_the_projection(blobs, tmp_path):
    generator = np.random.default_rng(1)
    projection = Projection(blobs.mean(axis=0), np.linalg.qr(generator.normal(size=(6, 6)))[0][:, :3])
    shards = write_shards(tmp_path / "e", blobs, 256)
    one, unrolled = (
        fit(tmp_path / f"{route}", shards, SETTINGS, unrolled=route, projection=projection)[0]
        for route in (False, True)
    )
    assert_same(one, unrolled)
    assert (tmp_path / "False/gmm/raw.npz").read_bytes() == (tmp_path / "True/gmm/raw.npz").read_bytes()
    np.testing.assert_array_equal(one.projection.matrix, projection.matrix)
    np.testing.assert_array_equal(one.projection.mean, projection.mean)
    projected = write_shards(tmp_path / "p", projection.apply(blobs), 256)
    plain, _ = fit(tmp_path / "plain", projected, SETTINGS, unrolled=False)
    assert_same(one, plain)
    np.testing.assert_array_equal(one.score_samples(blobs), plain.score_samples(projection.apply(blobs)))


@pytest.mark.parametrize("max_iter", [1, 3, 50])
def test_fit_is_that_of_scikit_learn_from_the_same_start(blobs, tmp_path, max_iter):
    settings = MixtureSettings(5, max_iter, 1e-3, 0)
    shards = write_shards(tmp_path / "e", blobs, 256)
    mixture, stage = fit(tmp_path / "work", shards, settings, unrolled=False)
    start = initial_mixture(RowSummary.of(tuple(shards), settings).rows, 5, 0)
    oracle = SklearnMixture(
        5,
        covariance_type="diag",
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=1 / start.covariances,
        tol=1e-3,
        max_iter=max_iter,
        reg_covar=1e-6,
    ).fit(blobs.astype(np.float64))
    np.testing.assert_allclose(mixture.weights, oracle.weights_, rtol=1e-5)
    np.testing.assert_allclose(mixture.means, oracle.means_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mixture.covariances, oracle.covariances_, rtol=1e-5)
    assert len(mixture.log_likelihood) == oracle.n_iter_
    assert mixture.converged == oracle.converged_
    assert stage.counts()["iterations"] == oracle.n_iter_


def test_more_components_than_rows_are_reduced_and_said(tmp_path):
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    mixture, stage = fit(
        tmp_path, write_shards(tmp_path / "e", rows, 2), MixtureSettings(9, 5, 1e-3, 0), unrolled=True
    )
    assert mixture.num_components <= 5
    assert np.isfinite(mixture.score_samples(rows)).all()
    assert "9 components" in stage.counts()["warning"]


def test_sample_is_bounded_uniform_and_independent_of_the_order_of_merging(blobs, tmp_path):
    settings = MixtureSettings(5, 1, 1e-3, 0)
    shards = write_shards(tmp_path, np.tile(blobs, (3, 1)), 1000)
    parts = [RowSummary.of((shard,), settings) for shard in shards]
    forward, backward = parts[0], parts[-1]
    for part in parts[1:]:
        forward = forward.merge(part)
    for part in reversed(parts[:-1]):
        backward = backward.merge(part)
    assert len(forward.rows) == settings.sample_rows == 5000
    np.testing.assert_array_equal(forward.rows, backward.rows)
    assert forward.bounds.num_rows == 9000
    np.testing.assert_array_equal(forward.bounds.max_abs, np.abs(blobs).max(axis=0))
    np.testing.assert_allclose(forward.rows.mean(axis=0), blobs.mean(axis=0), atol=0.2)


def test_shards_are_arranged_in_corpus_order_by_size(blobs, tmp_path):
    shards = write_shards(tmp_path, np.tile(blobs, (6, 1)), 1000)
    tasks = arrange_shards(list(reversed(shards)))
    assert [shard for task in tasks for shard in task] == shards
    assert [sum(shard.num_rows for shard in task) for task in tasks] == [8000, 8000, 2000]
    assert arrange_shards([]) == []
