"""`--embedding_estimator classifier` end to end, against scikit-learn and itself."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from hir_transforms.documents.identity import identity_hash
from pipelines import fit, resample, score, select
from tests.helpers.corpora import jsonl
from tests.helpers.folders import contents

CLASSIFIER = ["--embedding_estimator=classifier", "--min_example_length=0"]
SIZES = {"raw": 150, "a": 30, "b": 20}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder of documents of raw and two targets, with embeddings of six dimensions."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    rows = {
        name: generator.normal(mean, 1, (size, 6))
        for (name, size), mean in zip(SIZES.items(), (0, 1, -1), strict=True)
    }
    for name, size in SIZES.items():
        (folder / f"{name}.jsonl").write_bytes(jsonl(f"the document {number} of {name}" for number in range(size)))
        np.save(folder / f"{name}.npy", rows[name].astype(np.float32))
    return folder


def flags_of(corpus, *targets):
    patterns = [f"--target={','.join(f'{corpus}/{name}.jsonl' for name in targets)}"]
    patterns += [f"--target_embeddings={','.join(f'{corpus}/{name}.npy' for name in targets)}"]
    return [f"--raw={corpus}/raw.jsonl", f"--raw_embeddings={corpus}/raw.npy", *patterns, *CLASSIFIER]


def rows_of(corpus, *names):
    return [np.load(corpus / f"{name}.npy").astype(np.float64) for name in names]


def weights_of(work, column="gmm"):
    table = pa.concat_tables(pq.read_table(path) for path in sorted((work / "scores").glob("*.parquet")))
    return np.array(table[column].to_pylist())


def decisions(corpus, target, raw):
    """By scikit-learn, each of raw's documents by the classifier of its fold."""
    lengths = [len(line) for line in (corpus / "raw.jsonl").read_bytes().splitlines(keepends=True)]
    offsets = np.cumsum([0, *lengths[:-1]])
    folds = identity_hash(0, "raw.jsonl", offsets, purpose="folds") % np.uint64(5)
    scale = 0.5 / np.sqrt(raw.var(axis=0).sum())
    found = np.empty(len(raw))
    for fold in range(5):
        rows = np.concatenate([target, raw[folds != fold]])
        labels = np.arange(len(rows)) < len(target)
        model = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=10_000).fit(rows * scale, labels)
        found[folds == fold] = model.decision_function(raw[folds == fold] * scale)
    return found


@pytest.mark.parametrize("dim", [0, 3])
def test_weights_are_the_decisions_of_scikit_learn(corpus, tmp_path, dim):
    flags = [*flags_of(corpus, "a"), "--alpha=0", f"--embedding_dim={dim}"]
    assert score.run([*flags, f"--work_dir={tmp_path}", "--direct_num_workers=1"]) == 0
    raw, target = rows_of(corpus, "raw", "a")
    if dim:
        pca = PCA(dim, svd_solver="full").fit(raw)
        raw, target = pca.transform(raw), pca.transform(target)
    np.testing.assert_allclose(weights_of(tmp_path), decisions(corpus, target, raw), atol=0.01)
    counts = json.loads((tmp_path / "embedding_classifier" / "_manifest.json").read_bytes())["counts"]
    assert (counts["rows"], counts["target_rows"]) == (150, [30])


def test_workers_and_repeated_bundles_change_no_byte(corpus, tmp_path):
    """Nor does it what was there before; samples of both and a projection included."""
    flags = [*flags_of(corpus, "a", "b"), "--separate_targets", "--num_to_sample=20", "--embedding_dim=4"]
    flags += ["--raw_max_samples=120", "--target_max_samples=15"]
    more = {"one": ["1"], "two": ["2"], "repeated": ["2", "--direct_runner_bundle_repeat=2"], "fitted": ["1"]}
    work = [f"--work_dir={tmp_path}/fitted.work", "--direct_num_workers=2"]
    assert fit.run([*(flag for flag in flags if "num_to_sample" not in flag and "min_ex" not in flag), *work]) == 0
    for name, (workers, *repeat) in more.items():
        assert select.run([*flags, f"--output={tmp_path}/{name}", f"--direct_num_workers={workers}", *repeat]) == 0
        assert contents(tmp_path / name) == contents(tmp_path / "one")
        assert contents(tmp_path / f"{name}.work") == contents(tmp_path / "one.work")
    assert json.loads((tmp_path / "one" / "manifest.json").read_bytes())["counts"]["selected"] == 20


def test_each_of_several_targets_has_its_own_and_mixing_and_resampling_work(corpus, tmp_path, capsys):
    flags = [*flags_of(corpus, "a", "b"), "--separate_targets", "--num_to_sample=20", "--direct_num_workers=1"]
    assert select.run([*flags, f"--output={tmp_path}/out"]) == 0
    raw, *targets = rows_of(corpus, "raw", "a", "b")
    expected = np.stack([decisions(corpus, target, raw) for target in targets], axis=1)
    work = tmp_path / "out.work"
    np.testing.assert_allclose(weights_of(work), expected, atol=0.01)
    mixed = (weights_of(work, "ngram") + weights_of(work)) / 2
    np.testing.assert_allclose(weights_of(work, "weight"), mixed, rtol=1e-12)
    again = [f"--work_dir={work}", f"--output={tmp_path}/again", "--num_to_sample=9", "--min_example_length=0"]
    assert resample.run(again) == 0
    capsys.readouterr()
    of_alpha = [*flags, f"--work_dir={work}", f"--output={tmp_path}/alpha", "--alpha=0.25"]
    assert resample.run(of_alpha) == 0
    assert capsys.readouterr().err.rstrip().endswith("embedding_classifier, gmm_weights")
    assert select.run([*of_alpha[:-2], f"--output={tmp_path}/mix", "--embedding_estimator=mixture"]) == 0
    assert "gmm_weights" not in capsys.readouterr().err
