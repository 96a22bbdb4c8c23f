import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from sklearn.decomposition import PCA

from hir_transforms.artifacts.stages import Stage
from hir_transforms.mixtures.fit_projection import ProjectionFile, ProjectionSettings, WriteProjection
from tests.helpers.embeddings import write_shards


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return (generator.normal(size=(900, 6)) * [5, 4, 3, 2, 1, 0.5] + 7).astype(np.float32)


def fit(folder, shards, dim):
    """Fits through a pipeline; returns the projection that it wrote, and its counts."""
    stage = Stage.create("projection", str(folder), ProjectionSettings(dim))
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        fitted = pipeline | beam.Create(shards) | WriteProjection(stage)
        assert_that(fitted, equal_to([ProjectionFile(stage)]))
    return ProjectionFile(stage).load(), stage.counts()


def test_projection_is_that_of_scikit_learn(rows, tmp_path):
    projection, counts = fit(tmp_path, write_shards(tmp_path / "e", rows, 200), 3)
    oracle = PCA(3, svd_solver="full").fit(rows.astype(np.float64))
    np.testing.assert_allclose(projection.mean, oracle.mean_, atol=1e-5)
    np.testing.assert_allclose(projection.matrix.T, oracle.components_, atol=1e-5)
    assert counts.pop("explained_variance") == pytest.approx(oracle.explained_variance_ratio_.sum(), rel=1e-5)
    assert counts == {"rows": 900, "dimensions": 3, "warning": None}


def test_any_shards_in_any_order_give_the_same_bytes(rows, tmp_path):
    one = write_shards(tmp_path / "a", rows, 77)
    other = write_shards(tmp_path / "b", rows, 300)[::-1]
    for name, shards in (("one", one), ("backward", one[::-1]), ("other", other)):
        fit(tmp_path / name, shards, 4)
    files = [(tmp_path / name / "projection" / "projection.npz").read_bytes() for name in ("one", "backward", "other")]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(("num_rows", "kept"), [(900, 6), (4, 4), (1, 1)])
def test_more_dimensions_than_there_are_are_reduced_and_said(rows, tmp_path, num_rows, kept):
    projection, counts = fit(tmp_path, write_shards(tmp_path / "e", rows[:num_rows], 200), 9)
    assert projection.matrix.shape == (6, kept)
    assert counts["dimensions"] == kept
    assert "9 embedding dimensions asked for" in counts["warning"]
