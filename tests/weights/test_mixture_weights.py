import apache_beam as beam
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hir_transforms.artifacts.stages import Stage
from hir_transforms.embeddings.shards import write_shard
from hir_transforms.mixtures.checkpoints import save_mixture
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.fitting import FittedMixture, mixture_path
from hir_transforms.weights.mixture_weights import MixtureRatio, MixtureRatioFiles, WriteMixtureWeights
from hir_transforms.weights.parts import PartReader, load_parts, part_path
from tests.helpers.parts import FILE, group_of, write_parts

NUM_ROWS, DIM = 40, 3
ROWS = np.random.default_rng(0).normal(size=(NUM_ROWS, DIM)).astype(np.float32)


def mixture(seed, num_components=2, dim=DIM):
    rng = np.random.default_rng(seed)
    shape = (num_components, dim)
    return GaussianMixture(rng.dirichlet(np.ones(num_components)), rng.normal(size=shape), rng.uniform(0.5, 2, shape))


def log_density(mixture, rows):
    parts = zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    return np.log(sum(weight * multivariate_normal(mean, np.diag(cov)).pdf(rows) for weight, mean, cov in parts))


def saved(ratio, folder):
    """A reference to the ratio, whose mixtures are written to the folder."""
    stages = [Stage.create(f"gmm/{number}", str(folder), {}) for number in range(1 + len(ratio.targets))]
    for stage, mixture in zip(stages, (ratio.raw, *ratio.targets), strict=True):
        save_mixture(mixture_path(stage), mixture)
        stage.write_manifest({})
    files = [FittedMixture(stage) for stage in stages]
    return MixtureRatioFiles(files[0], tuple(files[1:]), ratio.raw_embeddings)


def score(folder, rows, targets, *, raw=None, shift=0):
    """(the stage of the weights, what it was computed from); embeddings are of documents `shift` bytes further on."""
    parts = write_parts(folder / "documents", np.arange(NUM_ROWS), 15, rows_per_group=5)
    for first in range(0, NUM_ROWS, 5):
        group = group_of(first, [10 * row + shift for row in range(first, first + 5)])
        write_shard(str(folder / "embeddings"), group, rows[first : first + 5], "model", "1")
    ratio = MixtureRatio(raw or mixture(0), tuple(targets), str(folder / "embeddings"))
    stage = Stage.create("gmm_weights", str(folder), {})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        mixtures = pipeline | "Mixtures" >> beam.Create([saved(ratio, folder)])
        pipeline | "Parts" >> beam.Create(parts) | WriteMixtureWeights(stage, str(folder / "documents"), mixtures)
    assert load_parts(stage) == parts
    return stage, ratio


def read_weights(folder, stage):
    weights = []
    for part in load_parts(stage):
        if part.rows:
            paths = (part_path(where, part.index) for where in (str(folder / "documents"), stage.folder))
            with PartReader(*paths) as reader:
                weights += [found for _, (found,) in reader.row_groups()]
    return np.concatenate(weights)


@pytest.mark.parametrize("num_targets", [1, 3])
def test_weights_are_log_density_ratios(tmp_path, num_targets):
    stage, ratio = score(tmp_path, ROWS, [mixture(seed) for seed in range(1, 1 + num_targets)])
    of_raw = log_density(ratio.raw, ROWS)
    expected = np.stack([log_density(target, ROWS) - of_raw for target in ratio.targets], axis=1)
    np.testing.assert_allclose(read_weights(tmp_path, stage), expected, rtol=1e-6, atol=1e-6)


def test_a_document_without_a_finite_embedding_gets_nan(tmp_path):
    rows = ROWS.copy()
    rows[[0, 7, *range(10, 15)]] = np.inf
    stage, ratio = score(tmp_path, rows, [mixture(1)])
    weights = read_weights(tmp_path, stage)
    finite = np.isfinite(rows).all(axis=1)
    np.testing.assert_array_equal(np.isnan(weights[:, 0]), ~finite)
    np.testing.assert_allclose(weights[finite], ratio.log_ratio(rows[finite]), rtol=1e-12)


def test_embeddings_of_other_documents_are_an_error(tmp_path):
    with pytest.raises(Exception, match=f"its documents are not those of {FILE.path}; embed the dataset again"):
        score(tmp_path, ROWS, [mixture(1)], shift=1)


@pytest.mark.parametrize(("raw", "target", "flag"), [(DIM + 1, DIM, "raw"), (DIM, DIM + 1, "target")])
def test_a_mixture_of_another_dimension_is_an_error(tmp_path, raw, target, flag):
    with pytest.raises(Exception, match=f"the mixture of {flag} has 4 dimensions, the embeddings of raw have 3: "):
        score(tmp_path, ROWS, [mixture(1, dim=target)], raw=mixture(0, dim=raw))
