"""`select` end to end on the local runner, against `data-selection`, scikit-learn and itself."""

import bz2
import gzip
import hashlib
import json
import lzma
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zstandard
from data_selection import HashedNgramDSIR
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture as SklearnMixture

from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.embeddings.shards import read_shard
from hir_transforms.mixtures.em import GaussianMixture
from pipelines import resample, select
from tests.helpers.corpora import jsonl
from tests.helpers.folders import contents

# No run of this corpus takes that many seconds, however busy the machine is.
PATIENCE = 240
SIZES = {"numpy": 120, "scikit-learn": 80}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(raw, target): 200 and 40 real documents."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "docstrings", SIZES, 40)


def run(raw, target, output, *flags, workers=1):
    """Exit status of `select`; one worker runs in this process."""
    arguments = [f"--raw={raw}", f"--target={target}", f"--output={output}", f"--direct_num_workers={workers}", *flags]
    return select.run(arguments)


def selected_lines(output):
    return [line for path in sorted(output.glob("part-*.jsonl")) for line in path.read_bytes().splitlines()]


def scores(output):
    shards = sorted((output.parent / f"{output.name}.work" / "scores").glob("*.parquet"))
    table = [pq.read_table(shard) for shard in shards]
    return {name: np.concatenate([part[name].to_numpy() for part in table]) for name in table[0].column_names}


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


def dsir(corpus, tmp_path, k):
    """(lines that `data-selection` selects with top_k, its weights, its lengths)."""
    model = HashedNgramDSIR([str(corpus[0])], [str(corpus[1])], str(tmp_path / "cache"), num_proc=1)
    model.fit_importance_estimator(num_tokens_to_fit="all")
    model.compute_importance_weights()
    model.resample(str(tmp_path / "dsir"), k, cache_dir=str(tmp_path / "part"), top_k=True)
    lines = [line for path in (tmp_path / "dsir").rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    weights, lengths = (
        np.load(tmp_path / "cache" / name / "0.npy") for name in ("log_importance_weights", "perexample_metadata")
    )
    return lines, weights, lengths


def test_alpha_one_top_k_selects_what_dsir_selects(corpus, tmp_path):
    output = tmp_path / "out"
    assert run(*corpus, output, "--num_to_sample=50", "--alpha=1", "--top_k", "--num_tokens_to_fit=all") == 0
    lines, weights, lengths = dsir(corpus, tmp_path, 50)
    assert sorted(selected_lines(output)) == sorted(lines)
    ours = scores(output)
    np.testing.assert_allclose(ours["ngram"], weights, rtol=1e-9)
    np.testing.assert_array_equal(ours["num_tokens"], lengths)
    np.testing.assert_array_equal(ours["weight"], ours["ngram"])
    counts = manifest(output)["counts"]
    assert counts["short"] == (lengths < 100).sum()
    assert counts["eligible"] == (lengths >= 100).sum()


SHARDED = ["--num_to_sample=30", "--alpha=1", "--num_shards=4"]


@pytest.fixture(scope="module")
def plain(corpus, tmp_path_factory):
    """Output of a run by one worker."""
    output = tmp_path_factory.mktemp("plain") / "out"
    assert run(*corpus, output, *SHARDED) == 0
    return output


@pytest.mark.parametrize(("workers", "repeats"), [(1, 2), (2, 1), (3, 2)])
def test_workers_and_repeated_bundles_change_no_byte(corpus, plain, tmp_path, workers, repeats):
    output = tmp_path / "out"
    flags = [*SHARDED, f"--direct_runner_bundle_repeat={repeats}"] if repeats > 1 else SHARDED
    assert run(*corpus, output, *flags, workers=workers) == 0
    assert contents(output) == contents(plain)
    assert contents(tmp_path / "out.work") == contents(plain.parent / "out.work")


def test_a_document_of_utf16_read_as_utf8_changes_no_other(tmp_path):
    generator = np.random.default_rng(0)
    words = ["alice", "went", "down", "the", "rabbit", "hole", ".", "-", ",", "/", "_"]
    utf16 = "".join(f"{quote}{sign} " for quote in "\u2013\u201c\u201d" for sign in ".-,/_\\^") * 10
    texts = [utf16.encode("utf-16-le").decode()]
    texts += [" ".join(generator.choice(words, 200, p=generator.dirichlet(np.ones(len(words))))) for _ in range(300)]
    raw, target = tmp_path / "raw.jsonl", tmp_path / "target.jsonl"
    raw.write_bytes(jsonl(texts))
    target.write_bytes(jsonl(["the rabbit . - went - down the hole . . ." * 20]))
    for workers in (1, 2):
        output = tmp_path / f"out-{workers}"
        settings = ["--num_to_sample=100", "--alpha=1", "--top_k", "--num_tokens_to_fit=all"]
        assert run(raw, target, output, *settings, workers=workers) == 0
    assert contents(tmp_path / "out-1") == contents(tmp_path / "out-2")
    lines, weights, _ = dsir((raw, target), tmp_path, 100)
    np.testing.assert_allclose(scores(output)["ngram"], weights, rtol=1e-9)
    assert sorted(selected_lines(output)) == sorted(lines)


def test_moving_the_dataset_changes_no_selected_line(corpus, tmp_path):
    moved = tmp_path / "elsewhere" / "deeper"
    moved.mkdir(parents=True)
    raw = Path(shutil.copy(corpus[0], moved))
    assert run(*corpus, tmp_path / "a", "--num_to_sample=30", "--alpha=1") == 0
    assert run(raw, corpus[1], tmp_path / "b", "--num_to_sample=30", "--alpha=1") == 0
    assert selected_lines(tmp_path / "a") == selected_lines(tmp_path / "b")


def test_noise_comes_from_the_seed_and_only_without_top_k(corpus, tmp_path):
    for name, flags in {"0": [], "1": ["--seed=1"], "top": ["--top_k"], "top 1": ["--top_k", "--seed=1"]}.items():
        assert run(*corpus, tmp_path / name, "--num_to_sample=30", "--alpha=1", *flags) == 0
    noise = {}
    for name in ("0", "1", "top", "top 1"):
        table = pq.read_table(tmp_path / name / "selection.parquet").to_pydict()
        noise[name] = np.subtract(table["key"], table["weight"])
    assert (noise["0"] != 0).all()
    assert (noise["1"] != 0).all()
    assert not set(noise["0"]) & set(noise["1"])
    assert not noise["top"].any()
    assert contents(tmp_path / "top")["part-00000-of-00001.jsonl"] == selected_bytes(tmp_path / "top 1")


def selected_bytes(output):
    return b"".join(path.read_bytes() for path in sorted(output.glob("part-*.jsonl")))


def test_files_of_every_compression_give_the_documents_of_the_plain_one(corpus, tmp_path):
    lines = corpus[0].read_bytes().splitlines(keepends=True)
    parts = [b"".join(lines[start::4]) for start in range(4)]
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "0.jsonl.gz").write_bytes(gzip.compress(parts[0]))
    (folder / "1.jsonl.bz2").write_bytes(bz2.compress(parts[1]))
    (folder / "2.jsonl.xz").write_bytes(lzma.compress(parts[2]))
    (folder / "3.jsonl.zst").write_bytes(zstandard.compress(parts[3]))
    settings = ["--num_to_sample=30", "--alpha=1", "--top_k"]
    assert run(*corpus, tmp_path / "plain", *settings) == 0
    assert run(folder / "*.jsonl.*", corpus[1], tmp_path / "parts_out", *settings) == 0
    assert sorted(selected_lines(tmp_path / "plain")) == sorted(selected_lines(tmp_path / "parts_out"))
    in_order = [line.rstrip(b"\n") for part in parts for line in part.splitlines()]
    places = [in_order.index(line) for line in selected_lines(tmp_path / "parts_out")]
    assert places == sorted(places)


@pytest.fixture(scope="module")
def beginnings(corpus, tmp_path_factory):
    """(raw, target): the first words of 80 and 20 of these documents, soon embedded, in long lines: several blocks."""
    folder, paths = tmp_path_factory.mktemp("beginnings"), []
    for path, size in zip(corpus, (80, 20), strict=True):
        texts = [" ".join(json.loads(line)["text"].split()[:25]) for line in path.read_bytes().splitlines()[:size]]
        paths.append(folder / path.name)
        paths[-1].write_text("".join(json.dumps({"text": text, "more": "x" * 4_000}) + "\n" for text in texts))
    return paths


@pytest.fixture(scope="module")
def hybrid(beginnings, tmp_path_factory):
    """Output of a run with real embeddings, by two workers."""
    output = tmp_path_factory.mktemp("hybrid") / "out"
    assert run(*beginnings, output, *HYBRID, workers=2) == 0
    assert len(list((output.parent / "out.work" / "embeddings" / "raw").glob("*.avro"))) > 4
    return output


SHORT = 30
MIXED = ["--num_to_sample=30", "--alpha=0.5", f"--min_example_length={SHORT}"]
HYBRID = [*MIXED, "--raw_components=8", "--target_components=3", "--gmm_max_iter=20"]


def test_hybrid_weights_are_those_of_the_two_parts(hybrid):
    columns = scores(hybrid)
    np.testing.assert_allclose(columns["weight"], 0.5 * columns["ngram"] + 0.5 * columns["gmm"], rtol=1e-15)
    work = hybrid.parent / "out.work"
    shards = sorted((work / "embeddings" / "raw").glob("*.avro"))
    rows = np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))]).astype(np.float64)
    assert rows.shape == (80, 384)
    expected = sklearn_log_density(work / "gmm" / "target-0.npz", rows) - sklearn_log_density(
        work / "gmm" / "raw.npz", rows
    )
    np.testing.assert_allclose(columns["gmm"], expected, rtol=1e-6)


def sklearn_log_density(path, rows):
    mixture = GaussianMixture.load(str(path))
    model = SklearnMixture(mixture.num_components, covariance_type="diag")
    model.weights_, model.means_, model.covariances_ = mixture.weights, mixture.means, mixture.covariances
    model.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances)
    return model.score_samples(rows)


def test_embeddings_are_those_of_the_model(beginnings, hybrid):
    from sentence_transformers import SentenceTransformer

    from hir_transforms.embeddings.model import find_model

    texts = [json.loads(line)["text"] for line in beginnings[1].read_bytes().splitlines()]
    shards = sorted((hybrid.parent / "out.work" / "embeddings" / "target").glob("*.avro"))
    rows = np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))])
    model = SentenceTransformer(find_model("all-MiniLM-L6-v2").locate())
    np.testing.assert_allclose(rows, model.encode(texts), atol=1e-5)


def test_hybrid_result_does_not_depend_on_the_workers(beginnings, hybrid, tmp_path):
    assert run(*beginnings, tmp_path / "out", *HYBRID) == 0
    assert contents(tmp_path / "out") == contents(hybrid)
    assert contents(tmp_path / "out.work") == contents(hybrid.parent / "out.work")


def test_alpha_zero_reuses_embeddings_and_leaves_ngrams_out(beginnings, hybrid, tmp_path, capsys):
    work = tmp_path / "out.work"
    shutil.copytree(hybrid.parent / "out.work", work)
    settings = [flag for flag in HYBRID if "alpha" not in flag]
    assert run(*beginnings, tmp_path / "out", *settings, "--alpha=0", "--top_k") == 0
    assert "embeddings/raw, gmm/raw, embeddings/target, gmm/target-0" in capsys.readouterr().err
    columns = scores(tmp_path / "out")
    assert np.isnan(columns["ngram"]).all()
    eligible = columns["num_tokens"] >= SHORT
    best = np.sort(columns["gmm"][eligible])[-30:]
    chosen = pq.read_table(tmp_path / "out" / "selection.parquet")
    np.testing.assert_array_equal(np.sort(chosen["weight"].to_numpy()), best)


def test_more_components_than_documents_are_reduced_with_a_warning(beginnings, hybrid, tmp_path, capsys):
    shutil.copytree(hybrid.parent / "out.work", tmp_path / "out.work")
    too_many = ["--raw_components=1000", "--target_components=50"]
    assert run(*beginnings, tmp_path / "out", *MIXED, *too_many, "--gmm_max_iter=2") == 0
    warnings = capsys.readouterr().err
    assert "1000 components" in warnings
    assert "80 rows" in warnings
    assert "50 components" in warnings
    assert "20 rows" in warnings


def test_components_follow_from_the_documents(beginnings, hybrid, tmp_path, capsys):
    shutil.copytree(hybrid.parent / "out.work", tmp_path / "out.work")
    assert run(*beginnings, tmp_path / "out", *MIXED, "--gmm_max_iter=2") == 0
    assert "warning" not in capsys.readouterr().err
    counts = {
        name: json.loads((tmp_path / "out.work" / "gmm" / name / "_manifest.json").read_bytes())["counts"]
        for name in ("raw", "target-0")
    }
    assert {name: (count["rows"], count["components"]) for name, count in counts.items()} == {
        "raw": (80, 1),
        "target-0": (20, 1),
    }


def test_mixtures_of_principal_components(beginnings, hybrid, tmp_path, capsys):
    for name, more, workers in (("a", [], 1), ("b", [], 2), ("more", ["--target_components=2"], 1)):
        shutil.copytree(
            hybrid.parent / "out.work" if name != "more" else tmp_path / "a.work", tmp_path / f"{name}.work"
        )
        assert run(*beginnings, tmp_path / name, *HYBRID, "--embedding_dim=8", *more, workers=workers) == 0
    first, _, third = (line for line in capsys.readouterr().err.splitlines() if "not computed again" in line)
    assert first.endswith("ngram_weights, embeddings/raw, embeddings/target")
    assert third.endswith("embeddings/raw, projection, gmm/raw, embeddings/target")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a.work") == contents(tmp_path / "b.work")
    shards = sorted((tmp_path / "a.work" / "embeddings" / "raw").glob("*.avro"))
    rows = np.concatenate([batch.rows for shard in shards for batch in read_shard(str(shard))]).astype(np.float64)
    pca = PCA(8, svd_solver="full").fit(rows)
    densities = {}
    for name in ("raw", "target-0"):
        path = tmp_path / "a.work" / "gmm" / f"{name}.npz"
        arrays = np.load(path)
        np.testing.assert_allclose(arrays["projection"].T, pca.components_, atol=1e-4)
        np.testing.assert_allclose(arrays["projection_mean"], pca.mean_, atol=1e-6)
        densities[name] = sklearn_log_density(path, pca.transform(rows))
    np.testing.assert_allclose(scores(tmp_path / "a")["gmm"], densities["target-0"] - densities["raw"], atol=0.05)


def test_standardized_weights(beginnings, hybrid, tmp_path, capsys):
    settings = [*HYBRID, "--weight_scaling=standardize"]
    for name, alpha, workers in (("a", 0.25, 2), ("b", 0.25, 1), ("c", 0.75, 1)):
        start = tmp_path / "a.work" if name == "c" else hybrid.parent / "out.work"
        shutil.copytree(start, tmp_path / f"{name}.work")
        assert run(*beginnings, tmp_path / name, *settings, f"--alpha={alpha}", workers=workers) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a.work") == contents(tmp_path / "b.work")
    third = [line for line in capsys.readouterr().err.splitlines() if "not computed again" in line][2]
    assert third.endswith("target-0, gmm_weights")
    before = scores(hybrid)
    eligible = before["num_tokens"] >= SHORT
    ngram, gmm = (
        (before[part] - before[part][eligible].mean()) / before[part][eligible].std() for part in ("ngram", "gmm")
    )
    for name, alpha in (("a", 0.25), ("c", 0.75)):
        columns = scores(tmp_path / name)
        np.testing.assert_array_equal(columns["ngram"], before["ngram"])
        np.testing.assert_array_equal(columns["gmm"], before["gmm"])
        np.testing.assert_allclose(columns["weight"], alpha * ngram + (1 - alpha) * gmm, atol=1e-9)
    statistics = json.loads((tmp_path / "a.work" / "scores" / "_manifest.json").read_text())["counts"]["standardized"]
    assert statistics["gmm"][0]["documents"] == eligible.sum()
    assert statistics["gmm"][0]["mean"] == pytest.approx(before["gmm"][eligible].mean())


def test_a_single_standardized_weight_selects_the_same_documents(corpus, tmp_path):
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(b"no json\n" + corpus[0].read_bytes())
    settings = ["--num_to_sample=30", "--alpha=1", "--top_k"]
    assert run(raw, corpus[1], tmp_path / "none", *settings) == 0
    assert run(raw, corpus[1], tmp_path / "standardize", *settings, "--weight_scaling=standardize") == 0
    assert selected_lines(tmp_path / "none") == selected_lines(tmp_path / "standardize")
    assert manifest(tmp_path / "none")["counts"] == manifest(tmp_path / "standardize")["counts"]
    rejected = [contents(tmp_path / name / "rejected") for name in ("none", "standardize")]
    assert rejected[0] == rejected[1] != {}


def test_given_mixtures_give_the_result_of_fitted_ones(beginnings, hybrid, tmp_path, capsys):
    """The raw embeddings alone are needed then; a file of another content makes the scores anew."""
    fitted, work = hybrid.parent / "out.work", tmp_path / "out.work"
    kept = ("documents", "counts", "ngram", "ngram_weights", "embeddings/raw")
    for name in kept:
        shutil.copytree(fitted / name, work / name)
    for name in ("raw", "target-0"):
        shutil.copy(fitted / "gmm" / f"{name}.npz", tmp_path)
    raw_gmm = tmp_path / "raw.npz"
    given = [f"--raw_gmm={raw_gmm}", f"--target_gmm={tmp_path / 'target-0.npz'}"]
    output = tmp_path / "out"
    assert run(*beginnings, output, *HYBRID, *given) == 0
    assert "ngram_weights, embeddings/raw\n" in capsys.readouterr().err
    assert {path.name for path in work.iterdir()} == {*kept[:-1], "embeddings", "gmm_weights", "scores", "_runs.jsonl"}
    assert {path.name for path in (work / "embeddings").iterdir()} == {"raw"}
    np.testing.assert_array_equal(scores(output)["gmm"], scores(hybrid)["gmm"])
    assert selected_bytes(output) == selected_bytes(hybrid)
    assert run(*beginnings, output, *HYBRID, *given, "--overwrite") == 0
    assert "embeddings/raw, gmm_weights, scores" in capsys.readouterr().err
    mixture = GaussianMixture.load(str(raw_gmm))
    np.savez(raw_gmm, weights=mixture.weights, means=mixture.means, covariances=2 * mixture.covariances)
    assert run(*beginnings, output, *HYBRID, *given, "--overwrite") == 0
    assert "gmm_weights" not in capsys.readouterr().err
    assert not (scores(output)["gmm"] == scores(hybrid)["gmm"]).any()


def test_one_given_mixture_and_one_fitted_to_a_sample(beginnings, hybrid, tmp_path):
    """With raw documents that were not embedded before; checkpoints are kept for the mixture that is fitted."""
    fitted, work = hybrid.parent / "out.work", tmp_path / "out.work"
    shutil.copytree(fitted / "embeddings" / "target", work / "embeddings" / "target")
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(b"".join(beginnings[0].read_bytes().splitlines(keepends=True)[:20]))
    given = [f"--raw_gmm={fitted / 'gmm' / 'raw.npz'}", "--target_max_samples=15"]
    checkpoints = f"--gmm_checkpoint_dir={tmp_path / 'kept'}"
    assert run(raw, beginnings[1], tmp_path / "out", *HYBRID, *given, checkpoints, "--num_to_sample=2") == 0
    stage = json.loads((work / "gmm" / "target-0" / "_manifest.json").read_text())
    assert stage["counts"]["rows"] == 15
    assert len(list((tmp_path / "kept" / "target-0").rglob("*.npz"))) == stage["counts"]["iterations"]
    assert {path.name for path in tmp_path.joinpath("kept").iterdir()} == {"target-0"}
    rows = np.concatenate(
        [
            batch.rows
            for shard in sorted((work / "embeddings" / "raw").glob("*.avro"))
            for batch in read_shard(str(shard))
        ]
    ).astype(np.float64)
    target, raw_gmm = work / "gmm" / "target-0.npz", fitted / "gmm" / "raw.npz"
    expected = sklearn_log_density(target, rows) - sklearn_log_density(raw_gmm, rows)
    np.testing.assert_allclose(scores(tmp_path / "out")["gmm"], expected, rtol=1e-6)


def test_a_given_mixture_that_does_not_fit_is_an_error_of_one_line(beginnings, hybrid, tmp_path, capsys):
    shutil.copytree(hybrid.parent / "out.work", tmp_path / "out.work")
    path = tmp_path / "small.npz"
    np.savez(path, weights=np.ones(1), means=np.zeros((1, 3)), covariances=np.ones((1, 3)))
    target_gmm = hybrid.parent / "out.work" / "gmm" / "target-0.npz"
    for flags, message in (
        ([f"--raw_gmm={path}"], "the mixture of raw has 3 dimensions, the embeddings of raw have 384: --raw_gmm"),
        (
            [f"--target_gmm={path}"],
            "the mixture of target has 3 dimensions, the embeddings of raw have 384: --target_gmm",
        ),
        ([f"--raw_gmm={path}", f"--target_gmm={target_gmm}"], f"has 384 dimensions, --raw_gmm's {path} has 3"),
        (["--raw_gmm=/nowhere.npz"], "--raw_gmm: no file /nowhere.npz"),
    ):
        capsys.readouterr()
        assert run(*beginnings, tmp_path / "out", *HYBRID, *flags) == 2
        error = [line for line in capsys.readouterr().err.splitlines() if "not computed again" not in line]
        assert len(error) == 1
        assert message in error[0]
        assert not (tmp_path / "out").exists()


def test_a_second_run_computes_nothing_again(corpus, tmp_path, capsys):
    work = f"--work_dir={tmp_path / 'work'}"
    assert run(*corpus, tmp_path / "a", "--num_to_sample=30", "--alpha=1", work) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*")}
    capsys.readouterr()
    assert run(*corpus, tmp_path / "b", "--num_to_sample=20", "--alpha=1", "--seed=5", work) == 0
    assert (
        "not computed again: documents, counts/raw, counts/target, ngram, ngram_weights, scores"
        in capsys.readouterr().err
    )
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*")} == before
    assert len(selected_lines(tmp_path / "b")) == 20


def test_bad_lines_are_counted_and_kept_aside(corpus, tmp_path):
    good = corpus[0].read_bytes().splitlines()
    bad = [b"not json", b'{"other": "x"}', b'{"text": 3}', b'{"text": "\xff"}', b'["text"]']
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(b"\n".join([*good[:3], b"", *bad, b"   ", *good[3:]]))
    assert run(raw, corpus[1], tmp_path / "out", "--num_to_sample=30", "--alpha=1", "--top_k") == 0
    counts = manifest(tmp_path / "out")["counts"]
    assert counts["read"] == len(good) + len(bad)
    assert counts["rejected"] == len(bad)
    assert counts["read"] == counts["rejected"] + counts["short"] + counts["duplicate"] + counts["eligible"]
    files = sorted((tmp_path / "out" / "rejected").glob("*.jsonl"))
    rejects = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    content = raw.read_bytes()
    for reject, line in zip(rejects, bad, strict=True):
        assert reject["file"] == str(raw)
        assert content[reject["offset"] :].startswith(line)
        assert reject["excerpt"] == line.decode(errors="replace")
    reasons = [reject["reason"] for reject in rejects]
    assert reasons == [
        "not JSON",
        "no field 'text'",
        "field 'text' is not a string",
        "invalid UTF-8",
        "not a JSON object",
    ]


def test_deep_lines_are_judged_alike_by_any_number_of_workers(corpus, tmp_path):
    depths = [300, 880, 900, 901, 940, 970, 1000]
    deep = [
        b'{"x":%s%s,"y":%s,"text":"a"}' % (b"[" * (n - 1), b"]" * (n - 1), y) for n in depths for y in (b"1", b"NaN")
    ]
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(corpus[0].read_bytes() + b"\n".join(deep))
    for workers in (1, 2):
        assert run(raw, corpus[1], tmp_path / f"{workers}", "--num_to_sample=30", "--alpha=1", workers=workers) == 0
        assert manifest(tmp_path / f"{workers}")["counts"]["rejected"] == 2 * sum(depth > 900 for depth in depths)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_output_is_as_its_manifest_says(corpus, tmp_path):
    output = tmp_path / "out"
    flags = ["--num_to_sample=31", "--alpha=1", "--num_shards=4", "--compression=gzip"]
    assert run(*corpus, output, *flags) == 0
    shards = manifest(output)["shards"]
    assert [shard["name"] for shard in shards] == [f"part-{i:05d}-of-00004.jsonl.gz" for i in range(4)]
    lines = []
    for shard in shards:
        stored = (output / shard["name"]).read_bytes()
        assert hashlib.sha256(stored).hexdigest() == shard["sha256"]
        assert len(stored) == shard["bytes"]
        part = gzip.decompress(stored).splitlines()
        assert len(part) == shard["documents"]
        lines += part
    table = pq.read_table(output / "selection.parquet").to_pydict()
    content = corpus[0].read_bytes()
    places = zip(table["offset"], table["length"], strict=True)
    assert lines == [content[offset : offset + length] for offset, length in places]
    assert table["offset"] == sorted(table["offset"])
    assert set(table["file"]) == {str(corpus[0])}


def test_rejected_lines_of_the_target_are_kept_too(corpus, tmp_path):
    target = tmp_path / "target.jsonl"
    target.write_bytes(b"no json\n" + corpus[1].read_bytes())
    assert run(corpus[0], f"{target},{corpus[1]}", tmp_path / "out", "--num_to_sample=3", "--alpha=1") == 0
    (rejected,) = (tmp_path / "out" / "rejected").glob("target-*.jsonl")
    assert json.loads(rejected.read_text()) == {
        "file": str(target),
        "offset": 0,
        "reason": "not JSON",
        "excerpt": "no json",
    }
    assert manifest(tmp_path / "out")["counts"]["rejected"] == 0


def test_a_killed_run_goes_on_with_the_embeddings_it_had(beginnings, hybrid, tmp_path):
    command = [sys.executable, "-m", "pipelines.select", f"--raw={beginnings[0]}", f"--target={beginnings[1]}"]
    output, shards = tmp_path / "out", tmp_path / "out.work" / "embeddings" / "raw"
    process = subprocess.Popen([*command, f"--output={output}", *HYBRID], stdout=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not list(shards.glob("*.avro")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    # The workers of a killed runner finish what they are at; its output ends when the last of them has.
    process.communicate(timeout=PATIENCE)
    assert not output.exists()
    finished = {path: path.stat().st_mtime_ns for path in shards.glob("*.avro")}
    assert run(*beginnings, output, *HYBRID) == 0
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert contents(output) == contents(hybrid)
    assert contents(tmp_path / "out.work") == contents(hybrid.parent / "out.work")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--raw=/nowhere/*.jsonl"], "--raw: no file matches /nowhere/*.jsonl"),
        (["--num_to_sample=0"], "--num_to_sample: must be at least 1, not 0"),
        (["--alpha=1.5"], "--alpha: must be between 0 and 1, not 1.5"),
        (["--tokenizer=words"], "--tokenizer: must be one of wordpunct, word_tokenize, not words"),
        (["--alpha=0.5", "--embedding_model=/nowhere/model"], "--embedding_model: no model '/nowhere/model'"),
        (["--num_to_sampel=3"], "unknown flag --num_to_sampel=3; did you mean --num_to_sample?"),
        (["--num_to_sample=201"], "201 documents asked for, but only"),
    ],
    ids=["raw", "number", "alpha", "tokenizer", "model", "flag", "too few"],
)
def test_errors_take_one_line_and_leave_no_output(corpus, tmp_path, capsys, flags, message):
    settings = ["--num_to_sample=30", "--alpha=1", "--target_laplace_smoothing=1"]  # else a line tells of few n-grams
    assert run(*corpus, tmp_path / "out", *settings, *flags) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("hir select: error: ")
    assert message in lines[0]
    assert not list(tmp_path.glob("out/**/*"))


@pytest.mark.parametrize("content", [b"", b"\n \n", b'{"text": ""}\n', b"no json\n"])
def test_an_empty_target_is_an_error_before_any_work(corpus, tmp_path, capsys, content):
    target = tmp_path / "target.jsonl"
    target.write_bytes(content)
    assert run(corpus[0], target, tmp_path / "out", "--num_to_sample=30", "--alpha=1") == 2
    assert f"--target: no text in {target}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [target]


def test_an_existing_output_is_kept_unless_told_otherwise(corpus, tmp_path, capsys):
    output = tmp_path / "out"
    assert run(*corpus, output, "--num_to_sample=30", "--alpha=1") == 0
    before = contents(output)
    assert run(*corpus, output, "--num_to_sample=20", "--alpha=1") == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert run(*corpus, output, "--num_to_sample=500", "--alpha=1", "--overwrite") == 2
    assert contents(output) == before
    assert run(*corpus, output, "--num_to_sample=20", "--alpha=1", "--overwrite") == 0
    assert len(selected_lines(output)) == 20
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.work"}


@pytest.mark.parametrize("inside", ["", "/work"])
def test_a_work_folder_in_the_output_is_refused(corpus, tmp_path, capsys, inside):
    output = tmp_path / "out"
    assert run(*corpus, output, "--num_to_sample=30", "--alpha=1", f"--work_dir={output}{inside}") == 2
    assert "must not be in --output" in capsys.readouterr().err
    assert not output.exists()


def test_overwrite_keeps_off_a_folder_of_something_else(corpus, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert run(*corpus, tmp_path / "out", "--num_to_sample=30", "--alpha=1", "--overwrite") == 2
    assert "holds other files than an output of this tool, such as thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_the_command_reports_an_error_of_a_worker_process_in_one_line(corpus, tmp_path):
    command = [sys.executable, "-m", "pipelines.select", f"--raw={corpus[0]}", f"--target={corpus[1]}"]
    flags = [f"--output={tmp_path / 'out'}", "--num_to_sample=1000", "--alpha=1", "--no_progress"]
    flags.append("--target_laplace_smoothing=1")  # or a second line would tell of the small target
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "1000 documents asked for, but only" in done.stderr


@pytest.fixture
def spoiled(corpus, tmp_path):
    """(raw with 40 lines that cannot be used among 240, its flags: weights by n-grams and by given embeddings)."""
    raw = tmp_path / "spoiled.jsonl"
    raw.write_bytes(b'{"no text": 1}\n' * 30 + corpus[0].read_bytes() + b"no json\n" * 10)
    rng = np.random.default_rng(0)
    flags = ["--num_to_sample=30", "--raw_components=2", "--target_components=2", "--gmm_max_iter=2"]
    for name, rows in (("raw", 200), ("target", 40)):
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(rows, 3)))
        flags.append(f"--{name}_embeddings={tmp_path / name}.npy")
    return raw, flags


def test_too_many_rejected_lines_end_a_run_before_anything_is_embedded(corpus, spoiled, tmp_path, capsys):
    raw, flags = spoiled
    output = tmp_path / "out"
    message = (
        "error: --raw: 40 of 240 lines are rejected (30 no field 'text', 10 not JSON), a larger share than "
        f"--max_rejected_share 0.1; the first: {raw}, byte 0: no field 'text'\n"
    )
    flags += [f"--work_dir={tmp_path / 'work'}"]
    for fits in (["--alpha=0"], [], []):  # the last finds that the pass before has counted them
        assert run(raw, corpus[1], output, *flags, *fits) == 2
        assert capsys.readouterr().err.endswith(message)
        assert not output.exists()
        assert not list((tmp_path / "work").rglob("*.avro"))
    assert run(raw, corpus[1], output, *flags, "--max_rejected_share=0.2") == 0
    assert manifest(output)["counts"]["rejected"] == 40
    assert run(raw, corpus[1], output, *flags, "--overwrite", "--on_bad_record=fail") == 2
    assert f"--raw: {raw}, byte 0: no field 'text' (--on_bad_record fail)" in capsys.readouterr().err
    assert manifest(output)["counts"]["rejected"] == 40


@pytest.mark.parametrize("alpha", ["0", "1"])
def test_rejected_lines_of_the_target_count_by_themselves(corpus, spoiled, tmp_path, capsys, alpha):
    _, flags = spoiled
    target = tmp_path / "target.jsonl"
    target.write_bytes(corpus[1].read_bytes() + b"[]\n" * 5)
    assert run(corpus[0], target, tmp_path / "out", *flags, f"--alpha={alpha}") == 2
    assert "--target: 5 of 45 lines are rejected (5 not a JSON object)" in capsys.readouterr().err


def test_no_text_is_told_with_the_first_reason(corpus, tmp_path, capsys):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'{"body": "a"}\n' * 7)
    first = f"the first of 7 rejected lines: {bad}, byte 0: no field 'text'"
    for raw, target, flag in ((bad, corpus[1], "raw"), (corpus[0], bad, "target")):
        assert run(raw, target, tmp_path / "out", "--num_to_sample=5") == 2
        assert f"--{flag}: no text in {bad}; {first}" in capsys.readouterr().err


def test_an_empty_file_among_separate_targets(corpus, tmp_path, capsys):
    (tmp_path / "b").mkdir()
    (tmp_path / "b/0.jsonl").touch()
    (tmp_path / "b/1.jsonl").write_bytes(corpus[1].read_bytes() * 3)
    settings = ["--num_to_sample=20", "--alpha=1", "--separate_targets"]
    assert run(corpus[0], f"{corpus[1]},{tmp_path}/b/*", tmp_path / "out", *settings) == 0
    printed = capsys.readouterr().out.splitlines()
    shares = json.loads((tmp_path / "out/manifest.json").read_bytes())["shares"]
    assert [share["selected"] for share in shares] == [5, 15]
    for number, share in enumerate(shares):
        tokens, given = share["selected_tokens"], share["selected"] / 20
        line = f"target {number + 1}: {share['selected']} selected of {tokens} tokens, a share of {given:.3f} where "
        assert printed[1 + number] == line + f"{share['proportion']:.3f} was asked for"
    assert run(corpus[0], f"{corpus[1]},{tmp_path}/b/1.jsonl", tmp_path / "same", *settings) == 0
    assert selected_lines(tmp_path / "out") == selected_lines(tmp_path / "same")
    assert run(corpus[0], f"{corpus[1]},{tmp_path}/b/0.jsonl", tmp_path / "none", *settings) == 2
    assert f"--target: no text in {tmp_path}/b/0.jsonl" in capsys.readouterr().err


def test_ids_are_kept_with_scores_and_selection(corpus, tmp_path):
    raw = tmp_path / "raw.jsonl"
    records = [json.loads(line) for line in corpus[0].read_bytes().splitlines()]
    ids = [None if number % 7 == 0 else number if number % 2 else f"ü{number}" for number in range(len(records))]
    lines = [json.dumps({"text": one["text"], "url": id_}) for one, id_ in zip(records, ids, strict=True)]
    raw.write_text("no json\n" + "\n".join(lines))
    settings = ["--num_to_sample=30", "--alpha=1", f"--work_dir={tmp_path / 'work'}"]
    assert run(raw, corpus[1], tmp_path / "plain", *settings) == 0
    assert "id" not in pq.read_table(tmp_path / "plain/selection.parquet").column_names
    counted = (tmp_path / "work/counts/raw/_manifest.json").read_bytes()
    settings.append("--id_field=url")
    assert run(raw, corpus[1], tmp_path / "a", *settings) == 0
    assert run(raw, corpus[1], tmp_path / "b", *settings, "--num_shards=3", workers=2) == 0
    expected = [id_ if id_ is None else str(id_) for id_ in ids]
    shards = sorted((tmp_path / "work/scores").glob("*.parquet"))
    assert [id_ for shard in shards for id_ in pq.read_table(shard)["id"].to_pylist()] == expected
    assert (tmp_path / "work/counts/raw/_manifest.json").read_bytes() == counted
    for output in (tmp_path / "a", tmp_path / "b"):
        selection = pq.read_table(output / "selection.parquet")
        urls = [json.loads(line)["url"] for line in selected_lines(output)]
        assert selection["id"].to_pylist() == [url if url is None else str(url) for url in urls]
        assert selection.drop_columns("id").equals(pq.read_table(tmp_path / "plain/selection.parquet"))
    resampled = [f"--output={tmp_path / 'c'}", f"--work_dir={tmp_path / 'work'}", "--num_to_sample=30"]
    assert resample.run([*resampled, "--direct_num_workers=1"]) == 0
    assert contents(tmp_path / "c")["selection.parquet"] == contents(tmp_path / "a")["selection.parquet"]
