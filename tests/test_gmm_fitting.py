import dataclasses
import shutil
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture as SklearnMixture

from hir_transforms.gmm_checkpoints import Checkpoints, load_mixture
from hir_transforms.gmm_fitting import (
    FitGaussianMixture,
    MixtureSettings,
    RowSummary,
    arrange_shards,
    mixture_path,
)
from hir_transforms.gmm_sampling import RowSample
from hir_transforms.numerics import gmm
from hir_transforms.numerics.gmm import RowBounds
from hir_transforms.numerics.gmm_init import initial_mixture
from hir_transforms.numerics.gumbel import identity_hash
from hir_transforms.numerics.projection import Projection
from hir_transforms.stages import Stage
from tests.helpers.embeddings import write_shards


@pytest.fixture
def blobs():
    """Rows around five centres, float32 [3000, 6]."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(5, 6)) * 3
    return (centres[generator.integers(0, 5, 3000)] + generator.normal(size=(3000, 6))).astype(np.float32)


def stage_of(folder, settings):
    return Stage.create("gmm/raw", str(folder), dataclasses.asdict(settings))


def fit(folder, shards, settings, *, unrolled, projection=None, checkpoint_dir=None):
    """Fits through a pipeline; returns the mixture that it wrote."""
    stage = stage_of(folder, settings)

    def check(mixtures):
        (mixture,) = mixtures
        np.testing.assert_array_equal(mixture.means, load_mixture(mixture_path(stage)).means)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        projections = projection and pipeline | "Projection" >> beam.Create([projection])
        fit_mixture = FitGaussianMixture(
            stage, settings, unrolled=unrolled, projection=projections, checkpoint_dir=checkpoint_dir
        )
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
    start = initial_mixture(RowSummary.of(tuple(shards), RowSample(0), settings).rows, 5, 0)
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
    parts = [RowSummary.of((shard,), RowSample(0), settings) for shard in shards]
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


@pytest.mark.parametrize("max_samples", [1, 700, 2999])
def test_a_sample_is_fitted_as_if_it_were_all_there_is(blobs, tmp_path, max_samples):
    """By both routes and any cut into shards: the same bits as a fit to shards that hold the sample alone."""
    settings = MixtureSettings(3, 6, 1e-3, 0, max_samples)
    hashes = identity_hash(0, "raw.jsonl", np.arange(3000) * 10, purpose="rows")
    kept = np.sort(np.argsort(hashes)[:max_samples])
    alone = write_shards(tmp_path / "alone", blobs[kept], 3000, offsets=kept * 10)
    expected, _ = fit(tmp_path / "all", alone, dataclasses.replace(settings, max_samples=None), unrolled=False)
    for unrolled, rows in ((False, 3000), (False, 130), (True, 1000)):
        shards = write_shards(tmp_path / f"e{rows}", blobs, rows)
        mixture, stage = fit(tmp_path / f"{unrolled}-{rows}", shards, settings, unrolled=unrolled)
        assert stage.counts()["rows"] == max_samples
        assert_same(mixture, expected)


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_sample_of_more_rows_than_there_are_is_all(blobs, tmp_path, unrolled):
    shards = write_shards(tmp_path / "e", blobs, 1000)
    everything, _ = fit(tmp_path / "all", shards, SETTINGS, unrolled=False)
    for max_samples in (3000, 10**12):
        settings = dataclasses.replace(SETTINGS, max_samples=max_samples)
        assert_same(fit(tmp_path / str(max_samples), shards, settings, unrolled=unrolled)[0], everything)


def all_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_fit_that_was_interrupted_goes_on_to_the_same_bits(blobs, tmp_path, unrolled):
    """Whichever route wrote the checkpoints, and wherever it was interrupted."""
    settings = MixtureSettings(5, 6, 0.0, 0, 2500)
    shards = write_shards(tmp_path / "e", blobs, 500)
    plain, _ = fit(tmp_path / "plain", shards, settings, unrolled=unrolled)
    full = tmp_path / "full"
    whole, stage = fit(tmp_path / "work", shards, settings, unrolled=unrolled, checkpoint_dir=str(full))
    assert_same(whole, plain)
    folder = Path(Checkpoints.of_stage(str(full), stage).folder)
    names = [f"iteration-{number:04d}.npz" for number in range(1, 7)]
    assert sorted(path.name for path in full.rglob("*.npz")) == names
    assert_same(load_mixture(str(folder / names[-1])), whole)
    for done in (1, 4, 6):
        kept = tmp_path / f"kept-{done}"
        shutil.copytree(full, kept)
        for name in names[done:]:
            (kept / folder.relative_to(full) / name).unlink()
        before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.npz")}
        mixture, _ = fit(tmp_path / "work", shards, settings, unrolled=not unrolled, checkpoint_dir=str(kept))
        assert_same(mixture, whole)
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert all_bytes(kept) == all_bytes(full)


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_fit_starts_from_the_checkpoint_and_from_no_other_fits(blobs, tmp_path, unrolled):
    settings = MixtureSettings(2, 4, 0.0, 0)
    shards = write_shards(tmp_path / "e", blobs, 1000)
    bounds = RowBounds.from_rows(blobs)
    elsewhere = gmm.fit(lambda: [blobs], initial_mixture(blobs[:50], 2, 9), bounds, max_iter=3, tol=0.0)
    fits = {}
    for name, of in {"own": settings, "other": dataclasses.replace(settings, seed=1)}.items():
        Checkpoints.of_stage(str(tmp_path / name), stage_of(tmp_path / "work", of)).save(elsewhere)
        fits[name], _ = fit(
            tmp_path / "work", shards, settings, unrolled=unrolled, checkpoint_dir=str(tmp_path / name)
        )
    assert_same(fits["own"], gmm.fit(lambda: [blobs], elsewhere, bounds, max_iter=1, tol=0.0))
    assert_same(fits["other"], fit(tmp_path / "plain", shards, settings, unrolled=unrolled)[0])


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_converged_checkpoint_is_the_result(blobs, tmp_path, unrolled):
    settings = MixtureSettings(5, 8, 0.5, 0)
    shards = write_shards(tmp_path / "e", blobs, 1000)
    directory = str(tmp_path / "kept")
    whole, _ = fit(tmp_path / "work", shards, settings, unrolled=False, checkpoint_dir=directory)
    assert whole.converged
    again, _ = fit(tmp_path / "work", shards, settings, unrolled=unrolled, checkpoint_dir=directory)
    assert_same(again, whole)


@pytest.mark.parametrize("unrolled", [False, True])
def test_a_fit_goes_on_from_one_that_was_to_stop_earlier_or_later(blobs, tmp_path, unrolled):
    shards = write_shards(tmp_path / "e", blobs, 1000)
    for max_iter, tol in ((2, 1e-3), (5, 0.0), (3, 0.0), (30, 0.05)):
        settings = MixtureSettings(5, max_iter, tol, 0)
        whole, _ = fit(tmp_path / "plain", shards, settings, unrolled=False)
        kept = str(tmp_path / "kept")
        again, _ = fit(tmp_path / "work", shards, settings, unrolled=unrolled, checkpoint_dir=kept)
        assert_same(again, whole)
    assert whole.converged


def generate(kind):
    """(rows that are hard to fit, most components that can come out)."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(200, 4)).astype(np.float32)
    match kind:
        case "duplicates":
            return np.tile(rows[:1], (200, 1)), 1
        case "constant dimensions":
            rows[:, 1:3] = (0.0, 1e4)
            return rows, 4
        case "one document":
            return rows[:1], 1
        case "five documents":
            return rows[:5], 4
        case "far rows":
            rows[::50] *= 1e15
            return rows, 4
        case _:
            return rows[:3], 3


KINDS = [
    "duplicates",
    "constant dimensions",
    "one document",
    "five documents",
    "far rows",
    "more components than rows",
]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_hard_to_fit_give_a_valid_mixture_by_both_routes(tmp_path, kind):
    rows, most = generate(kind)
    shards = write_shards(tmp_path / "e", rows, 64)
    settings = MixtureSettings(4, 5, 1e-3, 0)
    mixture, stage = fit(tmp_path / "one", shards, settings, unrolled=False)
    assert_same(mixture, fit(tmp_path / "unrolled", shards, settings, unrolled=True)[0])
    assert 1 <= mixture.num_components <= most
    np.testing.assert_allclose(mixture.weights.sum(), 1)
    assert (mixture.covariances > 0).all()
    scored = np.concatenate([rows, np.full((1, 4), 1e18, np.float32)])  # as far as a row can be from all components
    densities = mixture.score_samples(scored)
    assert np.isfinite(densities).all()
    logs = np.stack(
        [
            np.log(weight) - 0.5 * (np.log(2 * np.pi * variance) + (scored - mean) ** 2 / variance).sum(axis=1)
            for weight, mean, variance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
        ]
    )
    np.testing.assert_allclose(densities, logsumexp(logs, axis=0), rtol=1e-9)
    assert (stage.counts()["warning"] is not None) == (len(rows) < 4)
