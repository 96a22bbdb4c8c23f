"""`--ngram_estimator classifier` and `--weight_per_token` end to end."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import logsumexp

from hir_transforms.commands import launching
from hir_transforms.commands.input_checks import FEW_TARGET_NGRAMS
from hir_transforms.common.errors import UserError
from pipelines import fit, resample, score, select
from tests.helpers.corpora import docstrings_with_bad_lines, jsonl
from tests.helpers.folders import contents

CLASSIFIER = ["--ngram_estimator=classifier", "--alpha=1", "--hash=fast"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Flags of 200 and 40 real documents, and a line of each that is no JSON."""
    return docstrings_with_bad_lines(tmp_path_factory.mktemp("corpus") / "docstrings")


@pytest.fixture(scope="module")
def selected(corpus, tmp_path_factory):
    """A folder with an output and its work folder, by one worker."""
    folder = tmp_path_factory.mktemp("selected")
    command = [*corpus, *CLASSIFIER, f"--output={folder}/out", "--num_to_sample=30", "--direct_num_workers=1"]
    assert select.run(command) == 0
    return folder


def table_of(work):
    return pa.concat_tables(pq.read_table(path) for path in sorted((work / "scores").glob("*.parquet")))


def manifest_of(output):
    return json.loads((output / "manifest.json").read_bytes())


def weights_of(work, column="weight"):
    return np.array(table_of(work)[column].to_pylist())


def test_another_number_of_workers_changes_no_byte(corpus, selected, tmp_path):
    flags = ["--num_to_sample=30", "--direct_num_workers=2"]
    assert select.run([*corpus, *CLASSIFIER, *flags, f"--output={tmp_path}/out"]) == 0
    assert contents(tmp_path / "out") == contents(selected / "out")
    assert contents(tmp_path / "out.work") == contents(selected / "out.work")


def test_what_is_computed_and_kept(selected):
    work = selected / "out.work"
    stages = {str(path.parent.relative_to(work)) for path in work.rglob("_manifest.json")}
    assert stages == {"documents", "ngram_classifier", "ngram_weights", "scores"}
    assert np.isfinite(weights_of(work)).all()
    # The rejected line of each dataset stands with the output.
    rejected = {path.name.partition("-")[0] for path in (selected / "out" / "rejected").iterdir()}
    assert rejected == {"raw", "target"}


def test_the_manifest_tells_the_effective_sample_size(selected):
    weights = weights_of(selected / "out.work")[table_of(selected / "out.work")["num_tokens"].to_numpy() >= 100]
    expected = np.exp(2 * logsumexp(weights) - logsumexp(2 * weights))
    found = manifest_of(selected / "out")["effective_sample_size"]
    assert 1 < found < len(weights)
    assert found == pytest.approx(expected, rel=1e-5)


def test_too_many_rejected_lines_of_the_target_end_the_run(corpus, selected, tmp_path, capsys):
    flags = ["--num_to_sample=30", "--max_rejected_share=0.01", "--direct_num_workers=1"]
    assert select.run([*corpus, *CLASSIFIER, *flags, f"--output={tmp_path}/out"]) == 2
    assert "--target: 1 of 41 lines are rejected" in capsys.readouterr().err
    # Of a stage that is complete as well.
    command = [*corpus, *CLASSIFIER, *flags, f"--output={tmp_path}/out", f"--work_dir={selected}/out.work"]
    assert select.run(command) == 2
    assert "--target: 1 of 41 lines are rejected" in capsys.readouterr().err


def test_fit_score_and_resample_find_what_is_there(corpus, selected, tmp_path, capsys):
    work = [f"--work_dir={tmp_path}", "--direct_num_workers=1"]
    assert fit.run([*corpus, *CLASSIFIER, *work]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path}/ngram_classifier"]
    assert score.run([*corpus, *CLASSIFIER, *work]) == 0
    assert "not computed again: ngram_classifier" in capsys.readouterr().err
    assert contents(tmp_path / "scores") == contents(selected / "out.work" / "scores")
    flags = [f"--output={selected}/again", f"--work_dir={selected}/out.work", "--num_to_sample=7", "--overwrite"]
    assert resample.run(flags) == 0
    assert manifest_of(selected / "again")["counts"]["selected"] == 7
    assert resample.run([*flags, *corpus, *CLASSIFIER]) == 0
    assert resample.run([*flags, *corpus, "--alpha=1", "--hash=fast"]) == 2
    assert "has no scores of these settings and files (counts/raw, counts/target, ngram" in capsys.readouterr().err


def test_each_of_several_targets_has_its_own_classifier(corpus, tmp_path):
    raw, target = (flag.partition("=")[2] for flag in corpus)
    (tmp_path / "other.jsonl").write_bytes(jsonl(["a page of quite another kind"] * 3))
    flags = [f"--raw={raw}", *CLASSIFIER, "--min_example_length=0", "--direct_num_workers=1"]
    both = [f"--target={target},{tmp_path}/other.jsonl", "--separate_targets"]
    assert select.run([*flags, *both, f"--output={tmp_path}/both", "--num_to_sample=20"]) == 0
    for number, one in enumerate([target, tmp_path / "other.jsonl"]):
        assert score.run([*flags, f"--target={one}", f"--work_dir={tmp_path}/one-{number}"]) == 0
    alone = np.stack([weights_of(tmp_path / f"one-{number}") for number in range(2)], axis=1)
    np.testing.assert_allclose(weights_of(tmp_path / "both.work"), alone, atol=1e-6)
    sizes = [share["effective_sample_size"] for share in manifest_of(tmp_path / "both")["shares"]]
    np.testing.assert_allclose(sizes, np.exp(2 * logsumexp(alone, axis=0) - logsumexp(2 * alone, axis=0)), rtol=1e-5)
    # Shares are those of the n-grams, as with the ratio.
    counts = np.load(tmp_path / "both.work" / "counts" / "target" / "counts.npy").sum(axis=1)
    shares = json.loads((tmp_path / "both.work" / "scores" / "_manifest.json").read_bytes())["counts"]
    assert shares["target_proportions"] == pytest.approx(counts / counts.sum())


def test_it_mixes_with_given_embedding_weights(corpus, selected, tmp_path):
    given = np.random.default_rng(0).normal(size=200)
    np.save(tmp_path / "gmm.npy", given)
    flags = ["--ngram_estimator=classifier", "--hash=fast", "--alpha=0.5", f"--gmm_weights={tmp_path}/gmm.npy"]
    assert score.run([*corpus, *flags, f"--work_dir={tmp_path}/work", "--direct_num_workers=1"]) == 0
    expected = 0.5 * weights_of(selected / "out.work") + 0.5 * given
    np.testing.assert_allclose(weights_of(tmp_path / "work"), expected, rtol=1e-15)


def test_ngram_weights_per_token(corpus, tmp_path, capsys):
    ratio = ["--alpha=1", "--hash=fast", "--target_laplace_smoothing=1", "--direct_num_workers=1"]
    for name, flags in (("sum", []), ("mean", ["--weight_per_token"])):
        assert score.run([*corpus, *ratio, *flags, f"--work_dir={tmp_path}/{name}"]) == 0
    assert "warning" not in capsys.readouterr().err
    tokens = np.maximum(1, table_of(tmp_path / "sum")["num_tokens"].to_numpy())
    np.testing.assert_allclose(weights_of(tmp_path / "mean"), weights_of(tmp_path / "sum") / tokens, rtol=1e-15)
    # Weights are mixed again, and no text is read.
    flags = ["--weight_per_token", f"--work_dir={tmp_path}/sum", f"--output={tmp_path}/out", "--num_to_sample=5"]
    assert resample.run([*corpus, *ratio, *flags]) == 0
    np.testing.assert_array_equal(weights_of(tmp_path / "sum"), weights_of(tmp_path / "mean"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ngram_estimator=bayes"], "--ngram_estimator: must be one of ratio, classifier, auto, not bayes"),
        (["--num_documents_to_fit=0"], "--num_documents_to_fit: must be between 1 and 2147483647, not 0"),
        (["--num_documents_to_fit=1.5"], "--num_documents_to_fit: must be a whole number, not 1.5"),
        (["--weight_per_token", "--ngram_estimator=classifier"], "--weight_per_token: weights by --ngram_estimator"),
    ],
)
def test_wrong_values_are_one_line(corpus, tmp_path, capsys, flags, message):
    assert score.run([*corpus, f"--work_dir={tmp_path}/work", "--alpha=1", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hir score: error: {message}")
    assert not (tmp_path / "work").exists()


def test_a_small_target_of_the_ratio_is_told_before_anything_runs(corpus, tmp_path, capsys, monkeypatch):
    raw, target = (flag.partition("=")[2] for flag in corpus)
    large = tmp_path / "large.jsonl"
    large.write_bytes(jsonl(["a word " * 5_000] * (FEW_TARGET_NGRAMS // 10_000)))
    flags = [f"--raw={raw}", "--alpha=1", "--hash=fast", "--direct_num_workers=1"]

    def warnings(*more):
        ended = fit.run([*flags, f"--work_dir={tmp_path}/{len(list(tmp_path.iterdir()))}", *more])
        return ended, [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]

    def begin(*_):
        raise UserError("it runs")

    monkeypatch.setattr(launching, "run_to_end", begin)
    status, (line,) = warnings(f"--target={target}")
    assert status == 2
    assert line.startswith(f"warning: --target: {target} is small for ratios of n-grams (")
    assert "--ngram_estimator classifier" in line
    assert "--target_laplace_smoothing" in line
    assert "--weight_per_token" in line
    monkeypatch.undo()
    assert warnings(f"--target={large}") == (0, [])
    assert warnings(f"--target={target},{large}") == (0, [])
    _, (line,) = warnings(f"--target={large},{target}", "--separate_targets")
    assert line.startswith(f"warning: --target: {target} is small")
    for helps in ("--ngram_estimator=classifier", "--target_laplace_smoothing=1"):
        assert warnings(f"--target={target}", helps) == (0, [])
