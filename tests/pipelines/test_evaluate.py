"""`evaluate`: every number against another computation of it; bytes, and what is wrong."""

import json
import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from data_selection.hashed_ngram_dsir import get_ngram_counts
from model2vec import StaticModel
from nltk.tokenize import WordPunctTokenizer
from scipy.spatial.distance import cdist, jensenshannon
from sklearn.cluster import KMeans
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize

from hir_transforms.commands import progress
from hir_transforms.documents.identity import identity_hash
from hir_transforms.evaluation import drawing
from pipelines import evaluate, select
from tests.helpers.corpora import jsonl
from tests.helpers.folders import contents
from tests.helpers.models import write_static_model

BUCKETS = 400


WORDS = {"song": "music album singer hit", "war": "battle soldier army king", "sort": "array list median index"}


def write_labelled(path, topics, size, seed):
    """Documents of words of their topics, the topic as their label, and some texts twice."""
    generator = np.random.default_rng(seed)
    lines = []
    for number in range(size):
        topic = topics[number % len(topics)]
        chosen = generator.choice(f"the of a and {WORDS[topic]}".split(), generator.integers(5, 60))
        lines.append({"text": " ".join(chosen), "topic": topic})
        if number % 10 == 3:
            lines.append(lines[-1])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """The folder, and the lines of each file by its name."""
    folder = tmp_path_factory.mktemp("corpora")
    write_static_model(folder / "model", " ".join(WORDS.values()).split(), dim=16)
    return folder, {
        "raw": write_labelled(folder / "raw.jsonl", ["war", "song", "war", "sort"], 2000, 0),
        "target": write_labelled(folder / "target.jsonl", ["song"], 300, 1),
        "heldout": write_labelled(folder / "heldout.jsonl", ["song", "sort"], 200, 2),
        "good": write_labelled(folder / "good.jsonl", ["song", "song", "war"], 150, 3),
        "bad": write_labelled(folder / "bad.jsonl", ["war", "song"], 100, 3),
    }


def embedding(folder):
    return f"--embedding_model={folder / 'model'}"


def flags(folder, *selected):
    given = [f"--{name}={folder / name}.jsonl" for name in ("raw", "target", "heldout")]
    given += [f"--selected={folder / name}.jsonl" for name in selected]
    return [*given, f"--num_buckets={BUCKETS}", "--label_field=topic", "--wanted=song"]


@pytest.fixture(scope="module")
def shown():
    """What is shown while the measures are found, as lists of lines."""
    return []


@pytest.fixture(scope="module")
def found(corpora, shown, tmp_path_factory):
    """The measures of two selections, of small samples."""
    path = tmp_path_factory.mktemp("measures") / "measures.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "SAMPLE_SIZE", 120)
        patch.setattr(progress, "show", lambda _, lines: shown.append([*lines]))
        given = [*flags(corpora[0], "good", "bad"), embedding(corpora[0]), f"--json={path}", "--direct_num_workers=1"]
        assert evaluate.run(given) == 0
    return json.loads(path.read_bytes())


@pytest.mark.usefixtures("found")
def test_it_is_shown_how_far_each_step_is(shown, corpora):
    steps = [f"{step}/{name}" for step in ("summary", "draw", "embed") for name in ("target", "heldout", "raw")]
    first, last = ({line.name: line for line in lines} for lines in (shown[0], shown[-1]))
    assert {*steps} < {*first}
    assert {line.state for line in first.values()} == {"waiting"}
    assert {line.state for line in last.values()} == {"done"}
    size = len(corpora[1]["raw"])
    assert re.fullmatch(rf"{size:,} documents, 0\.\d MB", last["summary/raw"].text)
    assert re.fullmatch(rf"{size:,} documents, 0\.\d MB", last["draw/raw"].text)
    assert last["embed/selected-1"].text == "110 documents"


class Documents:
    """A file's documents, as `evaluate` counts and draws them, by other code."""

    def __init__(self, folder, name, lines):
        encoded = [len(json.dumps(line)) + 1 for line in lines]
        offsets = np.cumsum([0, *encoded[:-1]])
        self.hashes = identity_hash(0, f"{name}.jsonl", offsets, purpose="evaluation")
        tokenize = WordPunctTokenizer().tokenize
        counts = [get_ngram_counts(line["text"], num_buckets=BUCKETS, tokenizer=tokenize) for line in lines]
        self.dense = np.array(counts)
        self.lengths = np.array([len(tokenize(line["text"])) for line in lines])
        self.texts = [line["text"] for line in lines]
        self.half = (self.hashes % np.uint64(2)).astype(int)

    def drawn(self, size):
        """The documents of the smallest hashes."""
        return np.argsort(self.hashes)[:size]

    def halves(self, rows=slice(None)):
        return np.array([self.dense[rows][self.half[rows] == half].sum(axis=0) for half in (0, 1)])


@pytest.fixture(scope="module")
def documents(corpora):
    folder, lines = corpora
    return {name: Documents(folder, name, of_file) for name, of_file in lines.items()}


def kl(p, q):
    p, q = p / p.sum(), q / q.sum()
    return np.inner(p, np.log(p + 1e-10) - np.log(q + 1e-10))


def auc(one, one_rows, other, other_rows, other_counts):
    areas = []
    for half in (0, 1):
        p, q = (counts[1 - half] + 1 for counts in (one.halves(), other_counts))
        ratio = np.log(p / p.sum()) - np.log(q / q.sum())
        scores = []
        for documents, rows in ((one, one_rows), (other, other_rows)):
            dense = documents.dense[rows[documents.half[rows] == half]]
            scores.append(dense @ ratio / dense.sum(axis=1))
        areas.append(roc_auc_score(np.repeat([1, 0], [*map(len, scores)]), np.concatenate(scores).round(12)))
    return np.mean(areas)


@pytest.mark.parametrize(("number", "name"), [(0, "good"), (1, "bad")])
@pytest.mark.parametrize("reference", ["target", "heldout"])
def test_distances_are_those_of_dsirs_formula_on_data_selections_counts(found, documents, number, name, reference):
    measured = found["selections"][number][reference]
    of_reference, selected, raw = documents[reference], documents[name], documents["raw"]
    size = len(selected.hashes)
    random = raw.dense[raw.drawn(size)].sum(axis=0)
    of_random = kl(of_reference.dense.sum(axis=0), random)
    of_selected = kl(of_reference.dense.sum(axis=0), selected.dense.sum(axis=0))
    assert measured["kl"] == pytest.approx(of_selected, abs=1e-12, rel=0)
    assert measured["kl_random"] == pytest.approx(of_random, abs=1e-12, rel=0)
    assert measured["kl_reduction"] == pytest.approx(of_random - of_selected, abs=1e-12, rel=0)
    sample = of_reference.drawn(120)
    expected = auc(of_reference, sample, selected, selected.drawn(120), selected.halves())
    assert measured["auc"] == pytest.approx(expected, abs=1e-3)
    rows = raw.drawn(size)
    expected = auc(of_reference, sample, raw, rows[:120], raw.halves(rows))
    assert measured["auc_random"] == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def clustered(corpora, documents):
    """The embeddings of what is drawn of each file, by scikit-learn, and their clusters."""
    model = StaticModel.from_pretrained(corpora[0] / "model")
    names = ("target", "heldout", "raw", "good", "bad")
    drawn = [[documents[name].texts[row] for row in documents[name].drawn(120)] for name in names]
    rows = [normalize(model.encode(texts).astype(np.float64)) for texts in drawn]
    labels = KMeans(20, n_init=1, random_state=0).fit_predict(np.concatenate(rows))
    parts = np.split(labels, np.cumsum([*map(len, rows)])[:-1])
    return dict(zip(names, zip(rows, parts, strict=True), strict=True))


@pytest.mark.parametrize(("number", "name"), [(0, "good"), (1, "bad")])
@pytest.mark.parametrize("reference", ["target", "heldout"])
def test_cosines_and_clusters_are_those_of_scikit_learn(found, clustered, number, name, reference):
    measured = found["selections"][number][reference]
    for own, suffix in ((name, ""), ("raw", "_random")):
        # Of the random selection there are as many as of the selection.
        rows, clusters = (of_own[: len(clustered[name][0])] for of_own in clustered[own])
        cosines = 1 - cdist(rows, clustered[reference][0], "cosine")
        # A row of zeros, of a text of no known word, has no angle.
        assert measured[f"cosine{suffix}"] == pytest.approx(np.nan_to_num(cosines).mean(), abs=1e-6)
        counts = [np.bincount(labels, minlength=20) for labels in (clusters, clustered[reference][1])]
        distance = jensenshannon(*counts, base=2)
        assert measured[f"cluster_distance{suffix}"] == pytest.approx(distance, abs=1e-6)


def test_the_better_selection_measures_better(found):
    good, bad = found["selections"]
    for reference in ("target", "heldout"):
        assert good[reference]["kl_reduction"] > bad[reference]["kl_reduction"]
        assert good[reference]["jensen_shannon"] < bad[reference]["jensen_shannon"]
        assert good[reference]["cosine"] > bad[reference]["cosine"]
        assert good[reference]["cluster_distance"] < bad[reference]["cluster_distance"]
    assert good["target"]["auc"] < bad["target"]["auc"]
    assert good["precision"] > 0.6 > bad["precision"]


def test_counts_lengths_labels_and_duplicates_are_those_of_the_lines(found, corpora, documents):
    named = {name: found[name] for name in ("raw", "target", "heldout")}
    named |= dict(zip(("good", "bad"), found["selections"], strict=True))
    for name, one in named.items():
        lines = corpora[1][name]
        lengths = documents[name].lengths
        assert one["documents"] == len(lines)
        assert one["embedded"] == min(len(lines), 120)
        assert one["tokens"] == lengths.sum()
        assert one["lengths"]["quantiles"]["0.5"] == np.quantile(lengths, 0.5, method="inverted_cdf")
        assert sum(number for *_, number in one["lengths"]["histogram"]) == len(lines)
        labels = Counter(line["topic"] for line in lines)
        assert one["labels"]["commonest"] == [[*pair] for pair in sorted(labels.items(), key=lambda pair: -pair[1])]
        assert one["precision"] == labels["song"] / len(lines)
    for name in ("good", "bad"):
        lines = corpora[1][name]
        assert named[name]["duplicates"] == len(lines) - len({line["text"] for line in lines}) > 5


def test_what_selections_have_in_common(found, corpora):
    texts = [{line["text"] for line in corpora[1][name]} for name in ("good", "bad")]
    (pair,) = found["pairs"]
    assert pair["common"] == len(texts[0] & texts[1])
    assert pair["jaccard"] == pytest.approx(len(texts[0] & texts[1]) / len(texts[0] | texts[1]))


def test_a_selection_measured_twice_is_the_same_as_itself(corpora, tmp_path, capsys):
    path = tmp_path / "measures.json"
    (tmp_path / "good").write_bytes((corpora[0] / "good.jsonl").read_bytes())
    twice = [f"--selected={corpora[0] / 'good.jsonl'},{corpora[0] / 'good.jsonl'}"]
    assert evaluate.run([*flags(corpora[0]), *twice, f"--json={path}", "--direct_num_workers=1"]) == 0
    one, other = json.loads(path.read_bytes())["selections"]
    assert one == other
    assert json.loads(path.read_bytes())["pairs"][0]["jaccard"] == 1


def test_two_workers_change_no_byte(corpora, tmp_path, capsys):
    paths = [tmp_path / f"{workers}.json" for workers in (1, 2)]
    for path, workers in zip(paths, (1, 2), strict=True):
        given = [*flags(corpora[0], "good", "bad"), embedding(corpora[0]), f"--json={path}"]
        assert evaluate.run([*given, f"--direct_num_workers={workers}"]) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    first, second = (said.partition("KL reduction")[2] for said in capsys.readouterr().out.split("selected 1: ")[1:3])
    assert first.replace("1.json", "2.json") == second


def test_an_output_of_this_tool_is_measured_by_its_folder(corpora, tmp_path, capsys):
    folder, _ = corpora
    output = tmp_path / "out [1]"
    given = [f"--raw={folder / 'raw.jsonl'}", f"--target={folder / 'target.jsonl'}", f"--output={output}"]
    settings = ["--num_to_sample=200", "--alpha=1", "--min_example_length=0", "--num_shards=3", "--compression=gzip"]
    assert select.run([*given, *settings, "--direct_num_workers=1"]) == 0
    before = contents(output)
    capsys.readouterr()
    path = tmp_path / "measures.json"
    by_folder = [*flags(folder), f"--selected={output}/", f"--json={path}", "--direct_num_workers=1"]
    assert evaluate.run(by_folder) == 0
    (measured,) = json.loads(path.read_bytes())["selections"]
    assert (measured["files"], measured["documents"]) == ([str(output)], 200)
    assert measured["precision"] > 0.6
    assert measured["target"]["kl_reduction"] > 0.1
    assert contents(output) == before
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"selected 1: {output}"
    assert printed[-1] == str(path)
    assert evaluate.run(by_folder) == 0  # its own result is replaced


def test_several_targets_count_alike(corpora, tmp_path, capsys):
    folder, _ = corpora
    path = tmp_path / "measures.json"
    given = [f"--selected={folder / 'good.jsonl'}", f"--raw={folder / 'raw.jsonl'}", f"--num_buckets={BUCKETS}"]
    both = f"--target={folder / 'target.jsonl'},{folder / 'heldout.jsonl'}"
    assert evaluate.run([*given, both, "--separate_targets", f"--json={path}", "--direct_num_workers=1"]) == 0
    measured = json.loads(path.read_bytes())["selections"][0]["target"]
    alone = []
    for name in ("target", "heldout"):
        assert (
            evaluate.run([*given, f"--target={folder / name}.jsonl", f"--json={path}", "--direct_num_workers=1"]) == 0
        )
        alone.append(json.loads(path.read_bytes())["selections"][0]["target"]["kl_reduction"])
    assert measured["kl_reduction_of_targets"] == alone
    assert measured["kl_reduction"] == pytest.approx(np.mean(alone), abs=1e-12, rel=0)


def test_without_raw_and_labels_the_rest_is_measured(corpora, capsys):
    folder, _ = corpora
    given = [f"--selected={folder / 'good.jsonl'}", f"--target={folder / 'target.jsonl'}", "--direct_num_workers=1"]
    assert evaluate.run(given) == 0
    printed = capsys.readouterr().out
    assert "KL reduction  " not in printed
    assert "cosine" not in printed
    assert all(heading in printed for heading in ("median", "KL", "JS", "AUC"))


def error_of(capsys, *given):
    assert evaluate.run([*given, "--direct_num_workers=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("hir evaluate: error: ")


def test_what_is_wrong_is_said_in_one_line(corpora, tmp_path, capsys):
    folder, _ = corpora
    target, good = f"--target={folder / 'target.jsonl'}", f"--selected={folder / 'good.jsonl'}"
    assert error_of(capsys, target) == "--selected is required"
    assert error_of(capsys, good) == "--target is required"
    assert (
        error_of(capsys, good, target, "--wanted=x") == "--wanted: needs --label_field, the field that has the label"
    )
    assert error_of(capsys, good, target, '--label_field=a"b').startswith("--label_field: 'a\"b' holds a quote")
    assert error_of(capsys, f"--selected={folder}", target) == (
        f"--selected: {folder} is a folder; name the files in it, such as {folder}/*.jsonl"
    )
    assert error_of(capsys, "--selected=/nowhere/*.jsonl", target).startswith("--selected: no file matches /nowhere")
    (tmp_path / "empty.jsonl").write_bytes(jsonl(["", " "]))
    for flag in ("selected", "heldout", "raw"):
        given = [one for one in (good, target) if not one.startswith(f"--{flag}=")]
        said = error_of(capsys, *given, f"--{flag}={tmp_path / 'empty.jsonl'}")
        assert said.startswith(f"--{flag}: no text in {tmp_path / 'empty.jsonl'}")
    (tmp_path / "torn.jsonl").write_bytes(jsonl(["some text"]) + b"no JSON\n")
    said = error_of(capsys, good, target, f"--raw={tmp_path / 'torn.jsonl'}")
    assert said.startswith("--raw: 1 of 2 lines are rejected (1 not JSON), a larger share than")
    (tmp_path / "small.jsonl").write_bytes(jsonl(["some text"]))
    assert error_of(capsys, good, target, f"--raw={tmp_path / 'small.jsonl'}") == (
        f"--raw: 1 documents, fewer than the 165 of --selected {folder / 'good.jsonl'}; give the corpus that was "
        "selected from, or leave --raw out"
    )
    mine = tmp_path / "mine.json"
    mine.write_text('{"kind": "mine"}')
    assert error_of(capsys, good, target, f"--json={mine}") == (
        f"--json: {mine} exists, and is not the result of hir evaluate; choose another file"
    )
    assert mine.read_text() == '{"kind": "mine"}'
    assert error_of(capsys, good, target, "--runner=FlinkRunner").startswith("--json is required with --runner FlinkR")


def test_labels_that_are_printed_cannot_steer_a_terminal(tmp_path, capsys):
    lines = [{"text": "some words of a text", "topic": f"\x1b[2J{number}\u202e"} for number in range(3)]
    path = tmp_path / "all.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = [f"--selected={path}", f"--target={path}", "--label_field=topic", "--direct_num_workers=1"]
    assert evaluate.run(given) == 0
    printed = capsys.readouterr().out
    assert "?[2J0?" in printed
    assert all(letter.isprintable() or letter == "\n" for letter in printed)


def test_the_table_is_aligned(corpora, capsys):
    assert evaluate.run([*flags(corpora[0], "good", "bad"), "--direct_num_workers=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    blanks = [number for number, line in enumerate(lines) if not line]
    table = lines[blanks[0] + 1 : blanks[1]]
    assert [line.split("  ")[0] for line in table[1:]] == [
        *("selected 1", "selected 2", "random for 1", "random for 2", "raw", "target", "heldout"),
    ]
    ends = {len(line) for line in table[:3]}
    assert len(ends) == 1
    assert all(one < other for one, other in pairwise(blanks))
