import dataclasses

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import NUM_FOLDS, folds_of
from hir_transforms.classifiers.scaling import fit_scaled
from hir_transforms.documents.identity import identity_hash
from hir_transforms.embedding_classifiers.fitting import WriteEmbeddingClassifier
from hir_transforms.embedding_classifiers.ratio import ClassifierFile, EmbeddingClassifierSettings
from hir_transforms.files import storage
from hir_transforms.mixtures.fit_projection import ProjectionFile, ProjectionSettings
from hir_transforms.mixtures.projection import Projection
from tests.helpers.embeddings import write_shards

RNG = np.random.default_rng(0)
RAW = RNG.normal(size=(900, 6)).astype(np.float32)
TARGETS = [RNG.normal(mean, 1, size=(60, 6)).astype(np.float32) for mean in (0.5, -0.5)]
OFFSETS = np.arange(900) * 10
FOLDS = folds_of(4, "raw.jsonl", OFFSETS)
SETTINGS = EmbeddingClassifierSettings(num_targets=1, raw_max_samples=None, target_max_samples=None, seed=4)


def fit(folder, settings, *, rows_per_shard=128, targets=TARGETS[:1], raw=RAW, projection=None):
    """Fits to shards of so many rows each; returns the classifiers that were written, and the stage."""
    stage = Stage.create("embedding_classifier", str(folder), settings)
    if projection:
        projected = Stage.create("projection", str(folder), ProjectionSettings(projection.matrix.shape[1]))
        with storage.atomic_write(projected.path("projection.npz")) as file:
            np.savez(file, projection_mean=projection.mean, projection=projection.matrix)
        projected.write_manifest({})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        shards = [
            pipeline | f"Target{number}" >> beam.Create(write_shards(folder / f"t{number}", rows, rows_per_shard))
            for number, rows in enumerate(targets)
        ]
        found = pipeline | "Projection" >> beam.Create([ProjectionFile(projected)]) if projection else None
        fitted = (
            pipeline
            | "Raw" >> beam.Create(write_shards(folder / "raw", raw, rows_per_shard))
            | WriteEmbeddingClassifier(stage, targets=shards, projection=found)
        )
        assert_that(fitted, equal_to([ClassifierFile.of(stage)]))
    # Nothing stays of what the fit needed meanwhile.
    files = {path.name for path in (folder / "embedding_classifier").rglob("*") if path.is_file()}
    assert files == {"classifier.npz", "_manifest.json"}
    return ClassifierFile.of(stage).load().targets, stage


def assert_same(one, other):
    np.testing.assert_array_equal(one.coefficients, other.coefficients)
    np.testing.assert_array_equal(one.intercepts, other.intercepts)


@pytest.mark.parametrize("rows_per_shard", [50, 900])
def test_there_is_a_classifier_for_each_target_whatever_the_shards(tmp_path, rows_per_shard):
    settings = dataclasses.replace(SETTINGS, num_targets=2)
    fitted, stage = fit(tmp_path, settings, rows_per_shard=rows_per_shard, targets=TARGETS)
    assert len(fitted) == 2
    for classifier, target in zip(fitted, TARGETS, strict=True):
        assert_same(classifier, fit_scaled(target, RAW, FOLDS))
    counts = stage.counts()
    assert (counts["rows"], counts["sampled_from"], counts["target_rows"]) == (900, 900, [60, 60])
    assert [len(iterations) for iterations in counts["iterations"]] == [NUM_FOLDS, NUM_FOLDS]


@pytest.mark.parametrize("rows_per_shard", [50, 900])
def test_samples_are_fitted_to_as_if_they_were_all_there_is(tmp_path, rows_per_shard):
    settings = dataclasses.replace(SETTINGS, raw_max_samples=333, target_max_samples=40)
    (fitted,), stage = fit(tmp_path, settings, rows_per_shard=rows_per_shard)
    hashes = identity_hash(4, "raw.jsonl", OFFSETS, purpose="rows")
    raw, target = np.sort(np.argsort(hashes)[:333]), np.sort(np.argsort(hashes[:60])[:40])
    assert_same(fitted, fit_scaled(TARGETS[0][target], RAW[raw], FOLDS[raw]))
    counts = stage.counts()
    assert (counts["rows"], counts["sampled_from"], counts["target_rows"]) == (333, 900, [40])


def test_a_projection_is_part_of_the_classifier(tmp_path):
    """It judges rows as they are stored, as that of projected rows judges these."""
    projection = Projection(RAW.mean(axis=0).astype(np.float64), np.linalg.qr(RNG.normal(size=(6, 6)))[0][:, :3])
    (fitted,), _ = fit(tmp_path, SETTINGS, projection=projection)
    projected = projection.apply(RAW)
    expected = fit_scaled(projection.apply(TARGETS[0]), projected, FOLDS).decide(projected, FOLDS)
    np.testing.assert_allclose(fitted.decide(RAW, FOLDS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": [TARGETS[0], TARGETS[1] * np.nan]}, "--target: no document of target 2 of 2 has a finite embed"),
        ({"raw": RAW * np.nan, "targets": TARGETS}, "--raw: no document of raw has a finite embedding to fit a class"),
        (
            {"targets": [TARGETS[0], TARGETS[1][:, :4]]},
            "the embeddings of raw have 6 dimensions, those of target 2 of 2 4",
        ),
    ],
)
def test_what_cannot_be_fitted_to_is_named(tmp_path, changes, message):
    with pytest.raises(Exception, match=message):
        fit(tmp_path, dataclasses.replace(SETTINGS, num_targets=2), **changes)
