"""The stages one by one, and what is computed again when something changes."""

import json
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.commands.docstring_corpus import write_corpus
from pipelines import fit, resample, score, select
from tests.helpers.folders import contents

COUNTS = ["--num_to_sample=20", "--min_example_length=20"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(raw, target, flags of embeddings): 120 and 20 real documents, with embeddings of eight dimensions."""
    folder = tmp_path_factory.mktemp("corpus")
    raw, target = write_corpus(folder / "docstrings", {"numpy": 80, "scikit-learn": 40}, 20)
    generator = np.random.default_rng(0)
    np.save(folder / "raw.npy", generator.normal(size=(120, 8)))
    np.save(folder / "target.npy", generator.normal(0.5, size=(20, 8)))
    embeddings = [f"--raw_embeddings={folder / 'raw.npy'}", f"--target_embeddings={folder / 'target.npy'}"]
    return raw, target, [*embeddings, "--raw_components=5", "--target_components=2"]


def call(command, corpus, work, *flags):
    raw, target, embeddings = corpus
    data = [f"--raw={raw}", f"--target={target}", *embeddings]
    return command.run([*data, f"--work_dir={work}", "--direct_num_workers=1", *flags])


def selected(output):
    return [line for path in sorted(output.glob("part-*.jsonl")) for line in path.read_bytes().splitlines()]


def read_parts(work, stage):
    """All parts of a stage as one table."""
    return pa.concat_tables(pq.read_table(path) for path in sorted((work / stage).glob("*.parquet")))


def computed(work):
    """When each stage was declared complete."""
    return {str(path.parent.relative_to(work)): path.stat().st_mtime_ns for path in work.rglob("_manifest.json")}


@pytest.fixture(scope="module")
def done(corpus, tmp_path_factory):
    """A folder with the result of `select` in `out` and its work folder `work`."""
    folder = tmp_path_factory.mktemp("done")
    assert call(select, corpus, folder / "work", f"--output={folder / 'out'}", *COUNTS) == 0
    return folder


@pytest.fixture
def work(done, tmp_path):
    shutil.copytree(done / "work", tmp_path / "work")
    return tmp_path / "work"


def test_stage_by_stage_gives_the_bytes_of_select(corpus, done, tmp_path, capsys):
    assert call(fit, corpus, tmp_path / "work") == 0
    fitted = computed(tmp_path / "work")
    assert {"ngram", "gmm/raw", "gmm/target-0"} <= set(fitted)
    assert "documents" not in fitted
    assert call(score, corpus, tmp_path / "work") == 0
    assert "120 read, 0 rejected" in capsys.readouterr().out
    assert {name: computed(tmp_path / "work")[name] for name in fitted} == fitted
    assert contents(tmp_path / "work") == contents(done / "work")
    output = tmp_path / "out"
    assert call(resample, corpus, tmp_path / "work", f"--output={output}", *COUNTS) == 0
    assert contents(output) == contents(done / "out")
    assert resample.run([f"--work_dir={tmp_path / 'work'}", f"--output={tmp_path / 'bare'}", *COUNTS]) == 0
    assert selected(tmp_path / "bare") == selected(output)
    assert contents(tmp_path / "work") == contents(done / "work")


@pytest.mark.parametrize(
    ("flags", "again"),
    [
        (["--seed=1"], set()),
        (["--top_k"], set()),
        (["--num_to_sample=7"], set()),
        (["--alpha=0.25"], {"scores"}),
        (["--alpha=1"], {"scores"}),
        (["--alpha=0"], {"scores"}),
        (["--weight_scaling=standardize"], {"scores"}),
        (["--gmm_tol=0.5"], {"gmm/raw", "gmm/target-0", "gmm_weights", "scores"}),
        (["--target_laplace_smoothing=1"], {"ngram", "ngram_weights", "scores"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else value[0],
)
def test_only_what_depends_on_a_change_is_computed_again(corpus, work, tmp_path, flags, again):
    before = computed(work)
    assert call(select, corpus, work, f"--output={tmp_path / 'out'}", *COUNTS, *flags) == 0
    after = computed(work)
    assert {name for name in before if after[name] != before[name]} == again


def test_another_target_keeps_what_is_raws(corpus, work, tmp_path):
    before = computed(work)
    raw, target, flags = corpus
    lines = target.read_bytes().splitlines(keepends=True)
    (tmp_path / "other.jsonl").write_bytes(b"".join(lines[:10]))
    np.save(tmp_path / "other.npy", np.zeros((10, 8)))
    other = (raw, tmp_path / "other.jsonl", [*flags, f"--target_embeddings={tmp_path / 'other.npy'}"])
    assert call(select, other, work, f"--output={tmp_path / 'out'}", *COUNTS) == 0
    after = computed(work)
    assert {name for name in before if after[name] == before[name]} == {
        "counts/raw",
        "documents",
        "embeddings/raw",
        "gmm/raw",
    }


def test_resample_does_not_score(corpus, work, tmp_path, capsys):
    flags = [f"--output={tmp_path / 'out'}", *COUNTS]
    assert call(resample, corpus, work, *flags, "--ngrams=3") == 2
    assert "has no scores of these settings and files (documents, counts/raw" in capsys.readouterr().err
    assert call(resample, corpus, work, *flags, "--alpha=0.25") == 0
    assert resample.run([f"--work_dir={work}", f"--output={tmp_path / 'other'}", *COUNTS, "--alpha=0.3"]) == 2
    assert "--alpha: without --raw the scores are taken as they are" in capsys.readouterr().err


def test_resample_finds_what_is_missing_or_changed(corpus, work, tmp_path, capsys):
    def error(folder):
        assert resample.run([f"--work_dir={folder}", f"--output={tmp_path / 'out'}", *COUNTS]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    assert "no scores in" in error(tmp_path / "nothing")
    (work / "scores" / "part-00000.parquet").unlink()
    assert "part-00000.parquet is missing" in error(work)
    (work / "scores" / "_manifest.json").unlink()
    assert "the scores are not complete in" in error(work)


def test_a_source_that_changed_after_it_was_scored_is_an_error(corpus, tmp_path, capsys):
    raw = tmp_path / "raw.jsonl"
    shutil.copy(corpus[0], raw)
    flags = [f"--raw={raw}", f"--target={corpus[1]}", f"--work_dir={tmp_path / 'work'}", "--alpha=1"]
    assert score.run([*flags, "--min_example_length=20"]) == 0
    os.utime(raw, (1, 1))
    assert resample.run([f"--work_dir={tmp_path / 'work'}", f"--output={tmp_path / 'out'}", *COUNTS]) == 2
    assert f"{raw} changed since it was scored" in capsys.readouterr().err


def test_duplicates_are_found_once_and_skipped(corpus, tmp_path, capsys):
    lines = corpus[0].read_bytes().splitlines(keepends=True)
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(b"".join(lines + lines[5:25]))
    flags = [f"--raw={raw}", f"--target={corpus[1]}", f"--work_dir={tmp_path / 'work'}", "--alpha=1", "--top_k"]
    most = [*flags, "--num_to_sample=120", "--min_example_length=0", "--skip_duplicates"]
    assert select.run([*most, f"--output={tmp_path / 'all'}"]) == 0
    assert "140 read, 0 rejected, 0 short, 20 duplicate, 120 eligible, 120 selected" in capsys.readouterr().out
    assert b"".join(line + b"\n" for line in selected(tmp_path / "all")) == b"".join(lines)
    before = computed(tmp_path / "work")
    bare = [f"--work_dir={tmp_path / 'work'}", "--top_k", "--skip_duplicates", "--num_to_sample=100"]
    assert resample.run([*bare, "--min_example_length=0", f"--output={tmp_path / 'fewer'}"]) == 0
    assert computed(tmp_path / "work") == before
    assert len({*selected(tmp_path / "fewer")}) == 100


@pytest.fixture(scope="module")
def targets(corpus, tmp_path_factory):
    """(raw, two targets of 5 and 15 documents, flags)."""
    folder = tmp_path_factory.mktemp("targets")
    lines = corpus[1].read_bytes().splitlines(keepends=True)
    (folder / "a.jsonl").write_bytes(b"".join(lines[:5]))
    (folder / "b.jsonl").write_bytes(b"".join(lines[5:]))
    return corpus[0], f"{folder / 'a.jsonl'},{folder / 'b.jsonl'}", [*corpus[2], "--separate_targets"]


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_each_target_takes_its_share(targets, tmp_path, alpha):
    flags = ["--num_to_sample=11", "--min_example_length=0", "--top_k", f"--alpha={alpha}"]
    assert call(select, targets, tmp_path / "work", f"--output={tmp_path / 'out'}", *flags) == 0
    table = read_parts(tmp_path / "work", "scores")
    weights = np.array(table["weight"].to_pylist())
    if alpha:
        counts = np.load(tmp_path / "work" / "ngram" / "estimator.npz")["target_counts"].sum(axis=1)
        np.testing.assert_allclose(
            weights, (np.array(table["ngram"].to_pylist()) + np.array(table["gmm"].to_pylist())) / 2, rtol=1e-12
        )
    else:
        counts = np.array([5, 15])
    shares = [int(11 * counts[0] / counts.sum())]
    shares.append(11 - shares[0])
    taken = {}
    for target, share in enumerate(shares):
        order = [row for row in np.argsort(-weights[:, target], kind="stable") if row not in taken]
        taken |= dict.fromkeys(order[:share], target)
    selection = pq.read_table(tmp_path / "out" / "selection.parquet").to_pydict()
    offsets = table["offset"].to_pylist()
    assert dict(zip(selection["offset"], selection["target"], strict=True)) == {
        offsets[row]: target for row, target in taken.items()
    }
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [share["selected"] for share in manifest["shares"]] == shares


@pytest.mark.parametrize("alpha", [0, 0.5])
@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("--num_to_sample=121", "--num_to_sample: 121 documents asked for, but only "),
        ("--num_tokens_to_sample=1000000", "1000000 tokens asked for, but eligible documents have only "),
    ],
)
def test_too_large_a_budget_is_told_before_anything_is_embedded(corpus, tmp_path, capsys, alpha, budget, message):
    flags = [f"--output={tmp_path / 'out'}", budget, "--min_example_length=20", f"--alpha={alpha}"]
    assert call(select, corpus, tmp_path / "work", *flags) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert error.endswith("shorter than 20 tokens); ask for fewer, or lower --min_example_length")
    assert not [*(tmp_path / "work").rglob("*.avro")]


def test_what_given_rows_do_not_allow_is_told_before_anything_runs(corpus, tmp_path, capsys):
    path = tmp_path / "mixture.npz"
    np.savez(path, weights=np.ones(1), means=np.zeros((1, 3)), covariances=np.ones((1, 3)))
    for flag in ("raw_gmm", "target_gmm"):
        assert call(score, corpus, tmp_path / "work", f"--{flag}={path}") == 2
        error = capsys.readouterr().err
        assert f"--{flag}: {path} has 3 dimensions, the rows of --raw_embeddings have 8 numbers" in error
    np.save(tmp_path / "short.npy", np.zeros((20, 3)))
    assert call(score, corpus, tmp_path / "work", f"--target_embeddings={tmp_path / 'short.npy'}") == 2
    assert "raw's rows have 8 numbers, the target's 3" in capsys.readouterr().err
    assert not computed(tmp_path / "work")


def test_few_rows_are_warned_of_before_anything_runs(corpus, tmp_path, capsys):
    flags = ["--raw_components=130", "--embedding_dim=9", "--alpha=0"]
    np.save(tmp_path / "broken.npy", np.full((20, 8), np.nan))
    assert call(fit, corpus, tmp_path / "work", *flags, f"--target_embeddings={tmp_path / 'broken.npy'}") == 2
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "warning: projection: 9 embedding dimensions asked for, but there are only 120 rows of 8: keeping 8 dimensions"
    )
    assert second == (
        "warning: gmm/raw: 130 components asked for, but there are only 120 rows: fitting 120 components"
    )


@pytest.mark.parametrize("alpha", [0, 1])
def test_shares_are_of_these_targets_whatever_was_fitted_in_between(targets, tmp_path, alpha):
    raw, (one, other), flags = targets[0], targets[1].split(","), targets[2]
    mixing = [f"--alpha={alpha}", f"--output={tmp_path / 'out'}", "--num_to_sample=20", "--min_example_length=0"]

    def proportions():
        shares = json.loads((tmp_path / "out" / "manifest.json").read_text())["shares"]
        return [share["proportion"] for share in shares]

    assert call(select, targets, tmp_path / "work", *mixing) == 0
    before = proportions()
    assert call(fit, (raw, f"{other},{one}", flags), tmp_path / "work", f"--alpha={alpha}") == 0
    # The weights of documents are still there, so that nothing else would ask for what tells the shares.
    again = [*mixing, "--overwrite", "--weight_scaling=standardize"]
    assert call(select, targets, tmp_path / "work", *again) == 0
    assert proportions() == before


def test_each_target_has_its_own_mixture(targets, tmp_path):
    assert call(fit, targets, tmp_path / "work") == 0
    rows = np.load(targets[2][1].partition("=")[2])
    for number, part in enumerate((rows[:5], rows[5:])):
        arrays = np.load(tmp_path / "work" / "gmm" / f"target-{number}.npz")
        np.testing.assert_allclose(arrays["weights"] @ arrays["means"], part.mean(axis=0), atol=1e-5)


def test_given_proportions(targets, tmp_path, capsys):
    flags = ["--num_to_sample=12", "--min_example_length=0", "--alpha=1", f"--output={tmp_path / 'out'}"]
    assert call(select, targets, tmp_path / "work", *flags, "--target_proportions=3,1") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [share["selected"] for share in manifest["shares"]] == [9, 3]
    bare = [f"--work_dir={tmp_path / 'work'}", f"--output={tmp_path / 'bare'}", *flags[:2]]
    assert resample.run([*bare, "--target_proportions=1,1,1"]) == 2
    assert "--target_proportions: 3 shares for 2 targets" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_given_weights_replace_computed_ones(corpus, tmp_path, suffix):
    ngram, gmm = np.random.default_rng(1).normal(size=(2, 120))
    gmm[[3, 50]] = np.nan
    for name, weights in (("ngram", ngram), ("gmm", gmm)):
        if suffix == "npy":
            np.save(tmp_path / f"{name}.npy", weights)
        else:
            pq.write_table(pa.table({"w": weights}), tmp_path / f"{name}.parquet")
    given = [f"--{name}_weights={tmp_path / name}.{suffix}" for name in ("ngram", "gmm")]
    flags = [f"--raw={corpus[0]}", f"--work_dir={tmp_path / 'work'}", f"--output={tmp_path / 'out'}", "--top_k"]
    assert select.run([*flags, *given, "--num_to_sample=9", "--min_example_length=20", "--alpha=0.25"]) == 0
    lengths = read_parts(tmp_path / "work", "documents")["num_tokens"].to_numpy()
    weights = np.where(lengths < 20, -np.inf, 0.25 * ngram + 0.75 * gmm)
    lines = corpus[0].read_bytes().splitlines()
    best = np.argsort(-np.nan_to_num(weights, nan=-np.inf))[:9]
    assert selected(tmp_path / "out") == [lines[row] for row in sorted(best)]
    rejected = sorted((tmp_path / "out" / "rejected").glob("raw-gmm_weights-*.jsonl"))
    rejects = [line for path in rejected for line in path.read_text().splitlines()]
    assert [json.loads(line)["reason"] for line in rejects] == ["--gmm_weights is not a number"] * 2
    assert json.loads(rejects[0])["excerpt"] == lines[3].decode()[:200]
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert (counts["read"], counts["rejected"]) == (120, 2)


def test_given_weights_that_do_not_fit_are_an_error(corpus, tmp_path, capsys):
    np.save(tmp_path / "few.npy", np.zeros(119))
    np.save(tmp_path / "two.npy", np.zeros((120, 2)))
    flags = [f"--raw={corpus[0]}", f"--output={tmp_path / 'out'}", "--alpha=1", "--num_to_sample=1"]
    for name, message in (("few", "119 rows in"), ("two", "2 weights a document in"), ("none", "no file matches")):
        assert select.run([*flags, f"--ngram_weights={tmp_path / name}.npy"]) == 2
        (error,) = [line for line in capsys.readouterr().err.splitlines() if "not computed again" not in line]
        assert error.startswith("hir select: error: --ngram_weights:")
        assert message in error
        assert not (tmp_path / "out").exists()


def test_a_target_without_a_finite_embedding_is_named(targets, tmp_path, capsys):
    rows = np.load(targets[2][1].partition("=")[2])
    rows[5:] = np.nan
    np.save(tmp_path / "target.npy", rows)
    broken = (*targets[:2], [*targets[2], f"--target_embeddings={tmp_path / 'target.npy'}"])
    assert call(fit, broken, tmp_path / "work") == 2
    assert "--target: no document has a finite embedding to fit gmm/target-1 to" in capsys.readouterr().err
