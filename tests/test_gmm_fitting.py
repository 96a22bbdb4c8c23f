import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from sklearn.mixture import GaussianMixture as SklearnMixture

from hir_transforms.embedding_shards import write_shard
from hir_transforms.gmm_fitting import (
    FitGaussianMixture,
    MixtureSettings,
    RowSummary,
    arrange_shards,
    load_mixture,
    mixture_path,
)
from hir_transforms.numerics.gmm_init import initial_mixture
from hir_transforms.records import DocumentBatch, DocumentGroup, SourceFile
from hir_transforms.stages import Stage


@pytest.fixture
def blobs():
    """Rows around five centres, float32 [3000, 6]."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(5, 6)) * 3
    return (centres[generator.integers(0, 5, 3000)] + generator.normal(size=(3000, 6))).astype(np.float32)


def write_shards(folder, rows, rows_per_shard):
    file = SourceFile(0, "raw.jsonl", "raw.jsonl", 0, 0.0)
    shards = []
    for block, start in enumerate(range(0, len(rows), rows_per_shard)):
        part = rows[start : start + rows_per_shard]
        offsets = np.arange(start, start + len(part)) * 10
        batch = DocumentBatch(file, block, offsets, np.full(len(part), 9), ["text"] * len(part))
        shards.append(write_shard(str(folder), DocumentGroup((0, block), [batch]), part, "model", "1"))
    return shards


def fit(folder, shards, settings, *, unrolled):
    """Fits through a pipeline; returns the mixture that it wrote."""
    stage = Stage.create("gmm/raw", str(folder), {})

    def check(mixtures):
        (mixture,) = mixtures
        np.testing.assert_array_equal(mixture.means, load_mixture(mixture_path(stage)).means)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        fitted = pipeline | beam.Create(shards) | FitGaussianMixture(stage, settings, unrolled=unrolled)
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
