"""The report of a selection against the scores and the documents themselves; the same bytes whoever computes it."""

import hashlib
import itertools
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial.distance import cdist

from hir_transforms.documents.identity import identity_hash
from hir_transforms.evaluation.nearness import cluster_rows
from hir_transforms.report.histograms import FloatHistogram
from pipelines import resample, select
from tests.helpers.corpora import write_embedded
from tests.helpers.folders import contents

FILES = {"report.html", "report.json"}
TOPICS = ("law", "poetry", None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with the output of a selection by two parts of the weight, and the flags of its corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    flags = write_embedded(folder, raw=400, target=60, dim=4)
    generator = np.random.default_rng(1)
    words = [f"word{number}" for number in range(60)]
    for role, size, known in (("raw", 400, 60), ("target", 60, 20)):
        texts = (f"document {number} {' '.join(generator.choice(words[:known], 12))}" for number in range(size))
        lines = (
            json.dumps({"text": text, "topic": TOPICS[number % 3 if role == "raw" else 0]}) + "\n"
            for number, text in enumerate(texts)
        )
        (folder / f"{role}.jsonl").write_text("".join(lines))
    flags += ["--min_example_length=0", "--raw_components=3", "--target_components=2", "--num_to_sample=50"]
    flags += ["--label_field=topic", "--wanted=law"]
    assert select.run([*flags, f"--output={folder / 'out'}", "--direct_num_workers=1"]) == 0
    return folder, flags


@pytest.fixture(scope="module")
def report(run):
    return json.loads((run[0] / "out" / "report.json").read_bytes())


@pytest.fixture(scope="module")
def scored(run):
    """All rows of the scores in corpus order, and the keys of those that are selected, by offset."""
    folder, _ = run
    rows = [
        row for path in (folder / "out.work" / "scores").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    keys = {row["offset"]: row["key"] for row in pq.read_table(folder / "out" / "selection.parquet").to_pylist()}
    assert (len(rows), len(keys)) == (400, 50)
    return sorted(rows, key=lambda row: row["offset"]), keys


def offsets(documents):
    return [document["offset"] for document in documents]


def test_documents_are_the_first_of_their_kinds(report, scored):
    rows, keys = scored
    found = report["documents"]
    by_weight = sorted(rows, key=lambda row: (-row["weight"], row["offset"]))
    assert offsets(found["best"]) == offsets(by_weight[:10])
    assert offsets(found["worst"]) == offsets(sorted(rows, key=lambda row: (row["weight"], row["offset"]))[:10])
    assert offsets(found["above"]) == sorted(keys, key=lambda offset: (keys[offset], offset))[:10]
    assert len({*offsets(found["random"])} & {*keys}) == 10
    (threshold,) = report["thresholds"]
    below = found["below"]
    assert [document["key"] for document in below] == sorted((document["key"] for document in below), reverse=True)
    assert {*offsets(below)}.isdisjoint(keys)
    assert max(document["key"] for document in below) == threshold["key"] < min(keys.values())
    of_offset = {row["offset"]: row for row in rows}
    for document in found["best"]:
        row = of_offset[document["offset"]]
        assert (document["weight"], document["ngram"], document["gmm"]) == (row["weight"], row["ngram"], row["gmm"])
        assert (document["tokens"], document["file"]) == (row["num_tokens"], row["file"])


def test_texts_are_those_of_the_lines(report, run):
    content = (run[0] / "raw.jsonl").read_bytes()
    for documents in report["documents"].values():
        for document in documents:
            assert document["text"] == json.loads(content[document["offset"] :].split(b"\n")[0])["text"]


def test_histograms_counts_and_lengths_are_those_of_the_scores(report, scored):
    rows, keys = scored
    for part in ("weight", "ngram", "gmm"):
        (bins,) = report["weights"][part]
        assert [sum(one[place] for one in bins) for place in (2, 3)] == [400, 50]
        middle = bins[len(bins) // 2][0]
        values = np.array([row[part] for row in rows])
        assert sum(one[2] for one in bins[: len(bins) // 2]) == pytest.approx(np.sum(values < middle), abs=20)
    lengths = np.array([row["num_tokens"] for row in rows])
    assert report["lengths"]["eligible"]["quantiles"]["0.5"] == np.quantile(lengths, 0.5, method="inverted_cdf")
    selected = [row["num_tokens"] for row in rows if row["offset"] in keys]
    assert report["counts"] == {
        **{"read": 400, "rejected": 0, "short": 0, "duplicate": 0, "eligible": 400, "selected": 50},
        "selected_tokens": sum(selected),
    }


def test_labels_are_counted_and_the_wanted_ones_are_the_precision(report, run, scored):
    topics, start = {}, 0
    for line in (run[0] / "raw.jsonl").read_bytes().splitlines(keepends=True):
        topics[start] = json.loads(line)["topic"]
        start += len(line)
    labels = report["labels"]
    assert (labels["field"], labels["wanted"]) == ("topic", "law")
    sets = {"selected": [topics[offset] for offset in scored[1]], "random": [*topics.values()]}
    for name, found in sets.items():
        counted = labels["sets"][name]
        assert dict(counted["commonest"]) == {topic: found.count(topic) for topic in ("law", "poetry")}
        assert (counted["documents"], counted["missing"]) == (len(found), found.count(None))
        assert counted["precision"] == found.count("law") / len(found)
    assert labels["sets"]["target"]["precision"] == 1
    assert labels["sets"]["ngrams"]["documents"] >= 50
    page = (run[0] / "out" / "report.html").read_text()
    assert "<h3>topic</h3>" in page
    assert "<th>precision</th>" in page


def test_n_grams_that_decide_are_named(report, run):
    ngrams = report["ngrams"]
    assert 25 <= ngrams["documents"] <= 50
    raising, lowering = (dict(ngrams[name]) for name in ("raising", "lowering"))
    # The target has the first twenty of sixty words.
    words_of = [[int(name[4:]) for name in one if re.fullmatch(r"word\d+", name)] for one in (raising, lowering)]
    assert max(words_of[0]) < 20 <= min(words_of[1])
    assert min(raising.values()) > 0 > max(lowering.values())
    best = report["documents"]["best"][0]
    words = best["text"].lower().split()
    assert best["deciding"]
    assert all(set(name.split()) <= set(words) for name, _ in best["deciding"])


def test_em_is_told_by_iteration(report, run):
    stages = {stage["stage"]: stage for stage in report["stages"]}
    for name in ("gmm/raw", "gmm/target-0"):
        with np.load(run[0] / "out.work" / f"{name}.npz") as mixture:
            assert stages[name]["log_likelihood"] == mixture["log_likelihood"].tolist()
    assert "log likelihood by iteration" in (run[0] / "out" / "report.html").read_text()


def buckets_of(text, num_buckets=10_000):
    """Counts of hashed n-grams, by DSIR's definition."""
    tokens = text.lower().split()
    counts = np.zeros(num_buckets, np.int64)
    for ngram in [*tokens, *map(" ".join, itertools.pairwise(tokens))]:
        counts[int(hashlib.sha256(ngram.encode()).hexdigest(), 16) % num_buckets] += 1
    return counts


def kl(target, other):
    p, q = target / target.sum(), other / other.sum()
    return np.sum(p * (np.log(p + 1e-10) - np.log(q + 1e-10)))


def test_the_selection_is_held_against_the_target_n_grams_alone_and_a_random_one(run, tmp_path):
    folder, flags = run
    given = [*flags, f"--work_dir={folder / 'out.work'}", f"--output={tmp_path / 'top'}", "--top_k"]
    assert resample.run([*given, "--direct_num_workers=1"]) == 0
    found = json.loads((tmp_path / "top" / "report.json").read_bytes())
    rows = [
        row for path in (folder / "out.work" / "scores").glob("*.parquet") for row in pq.read_table(path).to_pylist()
    ]
    text_of, start = {}, 0
    for line in (folder / "raw.jsonl").read_bytes().splitlines(keepends=True):
        text_of[start] = json.loads(line)["text"]
        start += len(line)
    offsets = np.array([row["offset"] for row in rows])
    weights, ngrams = (np.array([row[name] for row in rows]) for name in ("weight", "ngram"))
    every = np.ones(len(rows), bool)
    least, _ = FloatHistogram.of(ngrams, every[:, np.newaxis]).cut(50)
    members = {"selected": weights >= np.sort(weights)[-50], "ngrams": ngrams >= least, "random": every}
    by_hash = np.argsort(identity_hash(0, "raw.jsonl", offsets, purpose="report"))
    chosen = {name: offsets[by_hash[one[by_hash]]][:50].tolist() for name, one in members.items()}
    by_hash_offsets = offsets[by_hash].tolist()
    sums = {name: sum(buckets_of(text_of[offset]) for offset in one) for name, one in chosen.items()}
    target = sum(buckets_of(json.loads(line)["text"]) for line in (folder / "target.jsonl").open())
    quality = found["quality"]
    assert (quality["documents"], quality["target_documents"]) == (50, 60)
    for name, own in sums.items():
        measures = quality["sets"][name]
        assert measures["kl"] == pytest.approx(kl(target, own), abs=1e-12)
        assert measures["kl_reduction"] == pytest.approx(kl(target, sums["random"]) - kl(target, own), abs=1e-12)
    # The rows of embeddings are those of the documents, in the order of the lines.
    row_of = {offset: row for row, offset in enumerate(sorted(text_of))}
    raw_rows, target_rows = (np.load(folder / f"{role}.npy").astype(np.float64) for role in ("raw", "target"))
    for name, own in {"selected": chosen["selected"], "random": by_hash_offsets}.items():
        cosines = 1 - cdist(raw_rows[[row_of[offset] for offset in own]], target_rows, "cosine")
        assert quality["sets"][name]["cosine"] == pytest.approx(cosines.mean(), abs=1e-6)
        assert sum(one for _, one in quality["sets"][name]["clusters"]) == len(own)
    # And so are the clusters, and the shares of their documents that have a word.
    lines = (folder / "target.jsonl").read_bytes().splitlines(keepends=True)
    target_offsets = np.cumsum([0, *map(len, lines[:-1])])
    of_target = np.argsort(identity_hash(0, "target.jsonl", target_offsets, purpose="report")).tolist()
    rows_of = {name: [row_of[offset] for offset in offsets[by_hash[one[by_hash]]]] for name, one in members.items()}
    clustered = cluster_rows(
        {"target": target_rows[of_target], **{name: raw_rows[own] for name, own in rows_of.items()}}
    )
    raw_texts = [text_of[offset] for offset in sorted(text_of)]
    target_texts = [json.loads(line)["text"] for line in lines]
    documents = {target_texts[row]: clustered["target"].clusters[place] for place, row in enumerate(of_target)}
    documents |= {raw_texts[row]: clustered["random"].clusters[place] for place, row in enumerate(rows_of["random"])}
    counts = {name: one.counts.tolist() for name, one in clustered.items()}
    assert len(found["clusters"]) == clustered["target"].num_clusters == 20
    for number in range(20):
        of_cluster = {name: one[number] for name, one in counts.items()}
        alike = [dict(one["words"]) for one in found["clusters"] if one["documents"] == of_cluster]
        texts = [text.split() for text, cluster in documents.items() if cluster == number]
        assert any(words == {word: np.mean([word in text for text in texts]) for word in words} for words in alike)
        assert "document" not in alike[0]  # all have it
    assert quality["copies"] == {"duplicates": 0, "share": 0.0, "counted": 50}
    manifest = json.loads((tmp_path / "top" / "manifest.json").read_bytes())
    assert quality["effective_sample_size"] == [manifest["effective_sample_size"]]
    # What would be selected by lines elsewhere.
    assert [one["documents"] for one in found["what_if"]] == pytest.approx([50, 100, 200], abs=3)
    assert all(np.sum(weights >= one["key"]) == one["documents"] for one in found["what_if"])
    assert {one["measured_documents"] for one in found["what_if"]} == {
        min(one["documents"] for one in found["what_if"])
    }
    page = (tmp_path / "top" / "report.html").read_text()
    assert "n-grams alone" in page
    assert "Clusters of embeddings" in page
    assert "KL reduction" in page


def test_what_was_done_can_be_done_again(report, run):
    command = report["commands"]["select"]
    for flag in ("--raw_components=3", "--num_to_sample=50", f"--raw={run[0] / 'raw.jsonl'}"):
        assert flag in command
    assert "--ngrams" not in command  # it has its default
    assert f"--target={run[0] / 'target.jsonl'}" in report["commands"]["evaluate"]
    stages = {stage["stage"]: stage["counts"] for stage in report["stages"]}
    assert stages["gmm/raw"]["components"] == 3
    assert stages["documents"]["read"] == 400
    assert {"hir-beam", "python", "numpy"} <= report["versions"].keys()


def test_the_manifest_names_the_files_and_two_workers_change_no_byte(run):
    folder, flags = run
    manifest = json.loads((folder / "out" / "manifest.json").read_bytes())
    assert {*manifest["files"]} == {*FILES, "selection.parquet"}
    given = [*flags, f"--work_dir={folder / 'out.work'}", f"--output={folder / 'two'}", "--direct_num_workers=2"]
    assert select.run(given) == 0
    assert contents(folder / "two") == contents(folder / "out")


def test_resample_reports_as_well_and_replaces_its_own(run):
    folder, _ = run
    given = [f"--work_dir={folder / 'out.work'}", "--min_example_length=0", f"--output={folder / 'again'}"]
    assert resample.run([*given, "--num_to_sample=20", "--top_k", "--direct_num_workers=1"]) == 0
    report = json.loads((folder / "again" / "report.json").read_bytes())
    assert report["counts"]["selected"] == 20
    assert "hir evaluate" in report["quality"]["unknown"]
    assert "sets" not in report["quality"]
    assert report["commands"]["select"].startswith("hir resample --work_dir WORK_DIR --output OUTPUT ")
    assert report["documents"]["best"][0]["text"].startswith("document ")
    assert (
        offsets(report["documents"]["above"])
        == offsets(
            sorted(
                pq.read_table(folder / "again" / "selection.parquet").to_pylist(),
                key=lambda row: (row["weight"], row["offset"]),
            )
        )[:10]
    )
    assert resample.run([*given, "--num_to_sample=30", "--overwrite", "--no_report", "--direct_num_workers=1"]) == 0
    assert {*contents(folder / "again")} == {"manifest.json", "part-00000-of-00001.jsonl", "selection.parquet"}


def test_several_targets_have_a_line_each(run, tmp_path):
    folder, flags = run
    more = tmp_path / "more.jsonl"
    more.write_bytes((folder / "target.jsonl").read_bytes())
    target = f"--target={folder / 'target.jsonl'},{more}"
    given = [flags[0], target, "--separate_targets", "--alpha=1", "--min_example_length=0", "--num_to_sample=30"]
    assert select.run([*given, f"--output={tmp_path / 'out'}", "--direct_num_workers=1"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_bytes())
    assert [threshold["asked"] for threshold in report["thresholds"]] == [15, 15]
    assert [*report["weights"]] == ["weight"]
    assert [sum(one[3] for one in bins) for bins in report["weights"]["weight"]] == [report["counts"]["selected"]] * 2
    assert "key of the line" in (tmp_path / "out" / "report.html").read_text()
