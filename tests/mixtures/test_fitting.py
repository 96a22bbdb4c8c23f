import dataclasses
import shutil
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture as SklearnMixture

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.identity import identity_hash
from hir_transforms.files import storage
from hir_transforms.mixtures import em, jobs
from hir_transforms.mixtures.checkpoints import Checkpoints, read_mixture
from hir_transforms.mixtures.em import RowBounds
from hir_transforms.mixtures.fit_projection import ProjectionFile, ProjectionSettings
from hir_transforms.mixtures.fitting import (
    FittedMixture,
    MixtureSettings,
    StartRows,
    WriteMixture,
    load_mixture,
)
from hir_transforms.mixtures.jobs import AdvanceMixture, MixtureFit
from hir_transforms.mixtures.kmeans_start import initial_mixture
from hir_transforms.mixtures.projection import Projection
from hir_transforms.mixtures.sampling import read_rows
from tests.helpers.embeddings import write_shards


@pytest.fixture
def blobs():
    """Rows around five centres, float32 [3000, 6]."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(5, 6)) * 3
    return (centres[generator.integers(0, 5, 3000)] + generator.normal(size=(3000, 6))).astype(np.float32)


def stage_of(folder, settings):
    return Stage.create("gmm/raw", str(folder), settings)


def fit(folder, shards, settings, *, by_jobs, projection=None, checkpoint_dir=None):
    """Fits on one worker or by jobs; returns the mixture that was written, and its stage."""
    stage = stage_of(folder, settings)
    if projection is not None:
        projected = Stage.create("projection", str(folder), ProjectionSettings(projection.matrix.shape[1]))
        with storage.atomic_write(projected.path("projection.npz")) as file:
            np.savez(file, projection_mean=projection.mean, projection=projection.matrix)
        projected.write_manifest({})
        projection = ProjectionFile(projected)
    if by_jobs:
        advance(MixtureFit(stage, projection, checkpoint_dir), shards)
    else:
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            projections = projection and pipeline | "Projection" >> beam.Create([projection])
            fit_mixture = WriteMixture(stage, projection=projections, checkpoint_dir=checkpoint_dir)
            fitted = pipeline | beam.Create(shards) | fit_mixture
            assert_that(fitted, equal_to([FittedMixture(stage)]))
    # Nothing stays of what the fit needed meanwhile.
    assert {path.name for path in (folder / "gmm").rglob("*") if path.is_file()} == {"raw.npz", "_manifest.json"}
    return FittedMixture(stage).load(), stage


def advance(fit, shards, jobs=1000):
    """Runs jobs until the mixture is complete; returns how many it took."""
    for job in range(jobs):
        if fit.stage.manifest():
            return job
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            _ = pipeline | beam.Create(shards) | AdvanceMixture(fit)
    return jobs


def assert_same(one, other):
    for name in ("weights", "means", "covariances", "log_likelihood"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.converged == other.converged


SETTINGS = MixtureSettings(num_components=5, max_iter=8, tol=1e-3, seed=0)


def test_both_routes_and_any_shards_give_the_same_bits(blobs, tmp_path):
    fitted = [
        fit(
            tmp_path / f"{by_jobs}-{rows}", write_shards(tmp_path / f"e{rows}", blobs, rows), SETTINGS, by_jobs=by_jobs
        )
        for by_jobs in (False, True)
        for rows in (100, 700)
    ]
    for mixture, _ in fitted[1:]:
        assert_same(mixture, fitted[0][0])


def test_both_routes_fit_the_projected_rows_and_keep_the_projection(blobs, tmp_path):
    generator = np.random.default_rng(1)
    projection = Projection(blobs.mean(axis=0), np.linalg.qr(generator.normal(size=(6, 6)))[0][:, :3])
    shards = write_shards(tmp_path / "e", blobs, 256)
    one, by_jobs = (
        fit(tmp_path / f"{route}", shards, SETTINGS, by_jobs=route, projection=projection)[0]
        for route in (False, True)
    )
    assert_same(one, by_jobs)
    assert (tmp_path / "False/gmm/raw.npz").read_bytes() == (tmp_path / "True/gmm/raw.npz").read_bytes()
    np.testing.assert_array_equal(one.projection.matrix, projection.matrix)
    np.testing.assert_array_equal(one.projection.mean, projection.mean)
    projected = write_shards(tmp_path / "p", projection.apply(blobs), 256)
    plain, _ = fit(tmp_path / "plain", projected, SETTINGS, by_jobs=False)
    assert_same(one, plain)
    np.testing.assert_array_equal(one.score_samples(blobs), plain.score_samples(projection.apply(blobs)))


@pytest.mark.parametrize("max_iter", [1, 3, 50])
def test_fit_is_that_of_scikit_learn_from_the_same_start(blobs, tmp_path, max_iter):
    settings = MixtureSettings(5, max_iter, 1e-3, 0)
    shards = write_shards(tmp_path / "e", blobs, 256)
    mixture, stage = fit(tmp_path / "work", shards, settings, by_jobs=False)
    start = initial_mixture(StartRows.first(*read_rows(tuple(shards), 0), settings.start_rows).rows, 5, 0)
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
    mixture, stage = fit(tmp_path, write_shards(tmp_path / "e", rows, 2), MixtureSettings(9, 5, 1e-3, 0), by_jobs=True)
    assert mixture.num_components <= 5
    assert np.isfinite(mixture.score_samples(rows)).all()
    assert "9 components" in stage.counts()["warning"]


def test_k_means_starts_from_the_rows_of_the_smallest_hashes(blobs, tmp_path):
    rows, hashes = read_rows(tuple(write_shards(tmp_path, np.tile(blobs, (3, 1)), 1000)), 0)
    start = StartRows.first(rows, hashes, 5000)
    np.testing.assert_array_equal(start.hashes, np.sort(hashes)[:5000])
    np.testing.assert_array_equal(start.rows, rows[np.argsort(hashes)[:5000]])
    parts = StartRows.first(rows[6000:], hashes[6000:], 5000).with_more(rows[:6000], hashes[:6000], 5000)
    np.testing.assert_array_equal(parts.rows, start.rows)
    np.testing.assert_allclose(start.rows.mean(axis=0), blobs.mean(axis=0), atol=0.2)


@pytest.mark.parametrize("max_samples", [1, 700, 2999])
def test_a_sample_is_fitted_as_if_it_were_all_there_is(blobs, tmp_path, max_samples):
    """By any cut into shards: the same bits as a fit to shards that hold the sample alone."""
    settings = MixtureSettings(3, 6, 1e-3, 0, max_samples)
    hashes = identity_hash(0, "raw.jsonl", np.arange(3000) * 10, purpose="rows")
    kept = np.sort(np.argsort(hashes)[:max_samples])
    alone = write_shards(tmp_path / "alone", blobs[kept], 3000, offsets=kept * 10)
    expected, _ = fit(tmp_path / "all", alone, dataclasses.replace(settings, max_samples=None), by_jobs=False)
    for rows in (3000, 130, 1000):
        shards = write_shards(tmp_path / f"e{rows}", blobs, rows)
        mixture, stage = fit(tmp_path / f"{rows}", shards, settings, by_jobs=False)
        assert (stage.counts()["rows"], stage.counts()["sampled_from"]) == (max_samples, 3000)
        assert_same(mixture, expected)


def test_a_sample_of_more_rows_than_there_are_is_all(blobs, tmp_path):
    shards = write_shards(tmp_path / "e", blobs, 1000)
    everything, _ = fit(tmp_path / "all", shards, SETTINGS, by_jobs=False)
    for max_samples in (3000, 10**12):
        settings = dataclasses.replace(SETTINGS, max_samples=max_samples)
        mixture, stage = fit(tmp_path / str(max_samples), shards, settings, by_jobs=False)
        assert_same(mixture, everything)
        assert stage.counts()["rows"] == stage.counts()["sampled_from"] == 3000


def all_bytes(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("by_jobs", [False, True])
def test_a_fit_that_was_interrupted_goes_on_to_the_same_bits(blobs, tmp_path, by_jobs):
    """Whichever route wrote the checkpoints, and wherever it was interrupted."""
    settings = MixtureSettings(5, 6, 0.0, 0)
    shards = write_shards(tmp_path / "e", blobs, 500)
    plain, _ = fit(tmp_path / "plain", shards, settings, by_jobs=by_jobs)
    full = tmp_path / "full"
    whole, stage = fit(tmp_path / "work", shards, settings, by_jobs=by_jobs, checkpoint_dir=str(full))
    assert_same(whole, plain)
    folder = Path(Checkpoints.of_stage(str(full), stage).folder)
    names = [f"iteration-{number:04d}.npz" for number in range(1, 7)]
    assert set(names) <= {path.name for path in full.rglob("*.npz")} <= {*names, "iteration-0000.npz", "bounds.npz"}
    assert_same(read_mixture(str(folder / names[-1])), whole)
    for done in (1, 4, 6):
        kept = tmp_path / f"kept-{done}"
        shutil.copytree(full, kept)
        for name in names[done:]:
            (kept / folder.relative_to(full) / name).unlink()
        before = {path: path.stat().st_mtime_ns for path in kept.rglob("*.npz")}
        mixture, _ = fit(tmp_path / f"work-{done}", shards, settings, by_jobs=not by_jobs, checkpoint_dir=str(kept))
        assert_same(mixture, whole)
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert all_bytes(kept) | all_bytes(full) == all_bytes(full) | all_bytes(kept)
        assert {path.name for path in all_bytes(kept)} >= set(names)


@pytest.mark.parametrize("by_jobs", [False, True])
def test_a_fit_starts_from_the_checkpoint_and_from_no_other_fits(blobs, tmp_path, by_jobs):
    settings = MixtureSettings(2, 4, 0.0, 0)
    shards = write_shards(tmp_path / "e", blobs, 1000)
    bounds = RowBounds.from_rows(blobs)
    elsewhere = em.fit(lambda: [blobs], initial_mixture(blobs[:50], 2, 9), bounds, max_iter=3, tol=0.0)
    fits = {}
    for name, of in {"own": settings, "other": dataclasses.replace(settings, seed=1)}.items():
        Checkpoints.of_stage(str(tmp_path / name), stage_of(tmp_path / "work", of)).save(elsewhere)
        fits[name], _ = fit(
            tmp_path / f"work-{name}", shards, settings, by_jobs=by_jobs, checkpoint_dir=str(tmp_path / name)
        )
    assert_same(fits["own"], em.fit(lambda: [blobs], elsewhere, bounds, max_iter=1, tol=0.0))
    assert_same(fits["other"], fit(tmp_path / "plain", shards, settings, by_jobs=by_jobs)[0])


@pytest.mark.parametrize("by_jobs", [False, True])
def test_a_converged_checkpoint_is_the_result(blobs, tmp_path, by_jobs):
    settings = MixtureSettings(5, 8, 0.5, 0)
    shards = write_shards(tmp_path / "e", blobs, 1000)
    directory = str(tmp_path / "kept")
    whole, _ = fit(tmp_path / "work", shards, settings, by_jobs=False, checkpoint_dir=directory)
    assert whole.converged
    again, _ = fit(tmp_path / "again", shards, settings, by_jobs=by_jobs, checkpoint_dir=directory)
    assert_same(again, whole)


@pytest.mark.parametrize("by_jobs", [False, True])
def test_a_fit_goes_on_from_one_that_was_to_stop_earlier_or_later(blobs, tmp_path, by_jobs):
    shards = write_shards(tmp_path / "e", blobs, 1000)
    for max_iter, tol in ((2, 1e-3), (5, 0.0), (3, 0.0), (30, 0.05)):
        settings = MixtureSettings(5, max_iter, tol, 0)
        whole, _ = fit(tmp_path / f"plain-{max_iter}", shards, settings, by_jobs=False)
        kept = str(tmp_path / "kept")
        again, _ = fit(tmp_path / f"work-{max_iter}", shards, settings, by_jobs=by_jobs, checkpoint_dir=kept)
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
    mixture, stage = fit(tmp_path / "one", shards, settings, by_jobs=False)
    assert_same(mixture, fit(tmp_path / "jobs", shards, settings, by_jobs=True)[0])
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


def test_jobs_that_are_cut_short_go_on_to_the_same_bits_in_any_number(blobs, tmp_path, monkeypatch):
    settings = MixtureSettings(5, 12, 0.0, 0)
    shards = write_shards(tmp_path / "e", blobs, 1000)
    whole, _ = fit(tmp_path / "whole", shards, settings, by_jobs=False)
    monkeypatch.setattr(jobs, "ITERATIONS_PER_JOB", 5)
    by_jobs = MixtureFit(stage_of(tmp_path / "jobs", settings), None, None)
    assert advance(by_jobs, shards, jobs=1) == 1
    maximization = jobs._maximization

    def fails_once(chunks, iteration, fit):
        if iteration == 8:
            raise OSError("the worker is gone")
        return maximization(chunks, iteration, fit)

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_maximization", fails_once)
        with pytest.raises(Exception, match="the worker is gone"):
            advance(by_jobs, shards)
    assert len(by_jobs.newest().log_likelihood) == 7
    assert advance(by_jobs, shards) == 1
    assert_same(load_mixture(by_jobs.stage), whole)


@pytest.mark.parametrize(("rows", "components"), [(1, 1), (199, 1), (400, 2), (5_360, 26), (10**6, 1000)])
def test_components_follow_from_the_rows(rows, components):
    settings = MixtureSettings(1000, rows_per_component=200)
    assert settings.components_of(rows) == (components, None)


@pytest.mark.parametrize("by_jobs", [False, True])
def test_components_of_a_fit_follow_from_its_rows(tmp_path, blobs, by_jobs):
    shards = write_shards(tmp_path / "e", blobs, 1000)
    settings = MixtureSettings(50, max_iter=2, rows_per_component=len(blobs) // 3)
    fitted, stage = fit(tmp_path, shards, settings, by_jobs=by_jobs)
    assert fitted.num_components == 3
    assert stage.counts()["warning"] is None
