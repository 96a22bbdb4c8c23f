import apache_beam as beam
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hir_transforms.artifacts.stages import Stage
from hir_transforms.classifiers.logistic import NUM_FOLDS, CrossFittedClassifier, folds_of
from hir_transforms.embedding_classifiers.ratio import ClassifierFile, ClassifierRatio, save_classifiers
from hir_transforms.embeddings.shards import write_shard
from hir_transforms.mixtures.checkpoints import save_mixture
from hir_transforms.mixtures.em import GaussianMixture
from hir_transforms.mixtures.fitting import FittedMixture, mixture_path
from hir_transforms.mixtures.ratio import MixtureRatio, MixtureRatioFiles
from hir_transforms.weights.embedding_weights import WriteEmbeddingWeights
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
    """A reference to the ratio, whose models are written to the folder."""
    if isinstance(ratio, ClassifierRatio):
        stage = Stage.create("embedding_classifier", str(folder), {})
        save_classifiers(stage, ratio.targets)
        stage.write_manifest({})
        return ClassifierFile(stage, ratio.seed)
    stages = [Stage.create(f"gmm/{number}", str(folder), {}) for number in range(1 + len(ratio.targets))]
    for stage, mixture in zip(stages, (ratio.raw, *ratio.targets), strict=True):
        save_mixture(mixture_path(stage), mixture)
        stage.write_manifest({})
    files = [FittedMixture(stage) for stage in stages]
    return MixtureRatioFiles(files[0], tuple(files[1:]))


def mixtures(num_targets=1, *, raw_dim=DIM, target_dim=DIM):
    targets = tuple(mixture(seed, dim=target_dim) for seed in range(1, 1 + num_targets))
    return MixtureRatio(mixture(0, dim=raw_dim), targets)


def classifiers(num_targets=1, *, dim=DIM):
    rng = np.random.default_rng(5)
    targets = (
        CrossFittedClassifier(
            rng.normal(size=(NUM_FOLDS, dim)), rng.normal(size=NUM_FOLDS), np.ones(NUM_FOLDS, np.int64)
        )
        for _ in range(num_targets)
    )
    return ClassifierRatio(tuple(targets), seed=3)


def score(folder, rows, ratio, *, shift=0):
    """The stage of the weights; embeddings are of documents `shift` bytes further on."""
    parts = write_parts(folder / "documents", np.arange(NUM_ROWS), 15, rows_per_group=5)
    for first in range(0, NUM_ROWS, 5):
        group = group_of(first, [10 * row + shift for row in range(first, first + 5)])
        write_shard(str(folder / "embeddings"), group, rows[first : first + 5], "model", "1")
    stage = Stage.create("gmm_weights", str(folder), {})
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        reference = pipeline | "Ratio" >> beam.Create([saved(ratio, folder)])
        write = WriteEmbeddingWeights(stage, str(folder / "documents"), str(folder / "embeddings"), reference)
        pipeline | "Parts" >> beam.Create(parts) | write
    assert load_parts(stage) == parts
    return stage


def read_weights(folder, stage):
    weights = []
    for part in load_parts(stage):
        if part.rows:
            paths = (part_path(where, part.index) for where in (str(folder / "documents"), stage.folder))
            with PartReader(*paths) as reader:
                weights += [found for _, (found,) in reader.row_groups()]
    return np.concatenate(weights)


@pytest.mark.parametrize("num_targets", [1, 3])
def test_weights_by_mixtures_are_log_density_ratios(tmp_path, num_targets):
    ratio = mixtures(num_targets)
    stage = score(tmp_path, ROWS, ratio)
    of_raw = log_density(ratio.raw, ROWS)
    expected = np.stack([log_density(target, ROWS) - of_raw for target in ratio.targets], axis=1)
    np.testing.assert_allclose(read_weights(tmp_path, stage), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("num_targets", [1, 3])
def test_weights_by_classifiers_are_those_of_each_document_s_fold(tmp_path, num_targets):
    ratio = classifiers(num_targets)
    stage = score(tmp_path, ROWS, ratio)
    folds = folds_of(3, FILE.name, 10 * np.arange(NUM_ROWS))
    assert set(folds) == set(range(NUM_FOLDS))
    expected = [
        [target.coefficients[fold] @ row + target.intercepts[fold] for target in ratio.targets]
        for row, fold in zip(ROWS.astype(np.float64), folds, strict=True)
    ]
    np.testing.assert_allclose(read_weights(tmp_path, stage), expected, rtol=1e-12)


@pytest.mark.parametrize("ratio", [mixtures(), classifiers()])
def test_a_document_without_a_finite_embedding_gets_nan(tmp_path, ratio):
    rows = ROWS.copy()
    rows[[0, 7, *range(10, 15)]] = np.inf
    whole = read_weights(tmp_path / "whole", score(tmp_path / "whole", ROWS, ratio))
    weights = read_weights(tmp_path, score(tmp_path, rows, ratio))
    finite = np.isfinite(rows).all(axis=1)
    np.testing.assert_array_equal(np.isnan(weights[:, 0]), ~finite)
    np.testing.assert_allclose(weights[finite], whole[finite], rtol=1e-12)


def test_embeddings_of_other_documents_are_an_error(tmp_path):
    with pytest.raises(Exception, match=f"its documents are not those of {FILE.path}; embed the dataset again"):
        score(tmp_path, ROWS, mixtures(), shift=1)


@pytest.mark.parametrize(("raw", "target", "flag"), [(DIM + 1, DIM, "raw"), (DIM, DIM + 1, "target")])
def test_a_mixture_of_another_dimension_is_an_error(tmp_path, raw, target, flag):
    with pytest.raises(Exception, match=f"the mixture of {flag} has 4 dimensions, the embeddings of raw have 3: "):
        score(tmp_path, ROWS, mixtures(raw_dim=raw, target_dim=target))


def test_a_classifier_of_another_dimension_is_an_error(tmp_path):
    with pytest.raises(Exception, match="the classifier is of 4 dimensions, the embeddings of raw have 3"):
        score(tmp_path, ROWS, classifiers(dim=DIM + 1))
