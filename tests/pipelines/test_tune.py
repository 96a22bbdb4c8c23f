"""`hir tune` and settings left to `auto` end to end."""

import json

import numpy as np
import pytest
from scipy import sparse

from hir_transforms.documents.identity import identity_hash
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.tuning.candidates import Choices
from hir_transforms.tuning.fits import Documents, FitSettings, judge_fold
from pipelines import fit, inspect, resample, score, select, tune
from pipelines.selector import Selector
from tests.helpers.corpora import docstrings_with_bad_lines, jsonl
from tests.helpers.folders import contents

SETTINGS = ["--hash=fast", "--min_example_length=30"]
NGRAMS_ALONE = ["--alpha=1", "--ngram_estimator=auto"]
AUTO = [*SETTINGS, *NGRAMS_ALONE]
MIN_TOKENS = 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Flags of 200 and 40 real documents, and a line of each that is no JSON."""
    return docstrings_with_bad_lines(tmp_path_factory.mktemp("corpus") / "docstrings")


@pytest.fixture(scope="module")
def selected(corpus, tmp_path_factory):
    """A folder with an output and its work folder, by one worker."""
    folder = tmp_path_factory.mktemp("selected")
    command = [*corpus, *AUTO, f"--output={folder}/out", "--num_to_sample=30", "--direct_num_workers=1"]
    assert select.run(command) == 0
    return folder


def manifest_of(output):
    return json.loads((output / "manifest.json").read_bytes())


def counts_of(work):
    return json.loads((work / "trials" / "_manifest.json").read_bytes())["counts"]


def chosen_by(counts):
    """The n-gram estimator that was chosen, of trials of n-grams alone."""
    chosen = dict(counts["chosen"])
    name = chosen.pop("ngram_estimator")
    assert chosen == {"alpha": 1, "embedding_estimator": None, "embedding_dim": None}
    return name


def documents_of(flag):
    """A file's documents, and their tokens, as one process without Beam reads them."""
    path = flag.partition("=")[2]
    texts, offsets, offset = [], [], 0
    with open(path, "rb") as file:
        for line in file:
            if line.startswith(b"{"):
                texts.append(json.loads(line)["text"])
                offsets.append(offset)
            offset += len(line)
    featurizer = NgramFeaturizer(NgramSettings(hash="fast"))
    counts = np.zeros((len(texts), 10_000), np.int64)
    for text, row in zip(texts, counts, strict=True):
        featurizer.count([text.encode()], row)
    folds = identity_hash(0, path.rpartition("/")[2], np.array(offsets), purpose="folds") % np.uint64(5)
    return counts, folds.astype(int), (counts.sum(axis=1) + 1) // 2


def test_trials_are_those_of_one_process_in_numpy(corpus, selected):
    sides = []
    for flag in reversed(corpus):
        counts, folds, tokens = documents_of(flag)
        sides.append(
            Documents(sparse.csr_matrix(counts), folds, np.empty(len(folds), np.uint64), tokens >= MIN_TOKENS)
        )
    target, raw = sides
    settings = FitSettings(NgramSettings(hash="fast"), 0.0, False, MixtureSettings(1), MixtureSettings(1))
    choices = Choices((1.0,), ("ratio", "classifier"), (), ())
    found = {"ratio": 0, "classifier": 0}
    tried = 0
    for fold in range(5):
        fold_found = judge_fold(target, raw, fold, choices, settings)
        assert fold_found
        judged = fold_found.ngrams
        num_raw = len(judged["ratio"].raw)
        for size in (30, 60):
            last = max(8, round(size / raw.eligible.sum() * num_raw))
            tried += len(judged["ratio"].hidden)
            for name, one in judged.items():
                found[name] += int((one.hidden > np.sort(one.raw)[-last]).sum())
    counts = counts_of(selected / "out.work")
    recalls = {trial["ngram_estimator"]: trial["recall"] for trial in counts["trials"]}
    assert recalls == pytest.approx({name: number / tried for name, number in found.items()})
    assert chosen_by(counts) == max(recalls, key=lambda name: recalls[name])
    assert recalls["ratio"] != recalls["classifier"]


def test_another_number_of_workers_changes_no_byte(corpus, selected, tmp_path):
    command = [*corpus, *AUTO, f"--output={tmp_path}/out", "--num_to_sample=30", "--direct_num_workers=2"]
    assert select.run(command) == 0
    assert contents(tmp_path / "out") == contents(selected / "out")
    assert contents(tmp_path / "out.work") == contents(selected / "out.work")


def test_the_output_is_that_of_the_chosen_estimator_with_the_trials(corpus, selected, tmp_path):
    chosen = chosen_by(counts_of(selected / "out.work"))
    flags = [*SETTINGS, "--alpha=1", f"--ngram_estimator={chosen}", "--num_to_sample=30", "--direct_num_workers=1"]
    assert select.run([*corpus, *flags, f"--output={tmp_path}/out"]) == 0
    given, auto = manifest_of(tmp_path / "out"), manifest_of(selected / "out")
    assert auto.pop("trials") == counts_of(selected / "out.work")["trials"]
    assert auto == given
    # What was counted for the trials is not kept.
    assert not (selected / "out.work" / "trials" / "documents").exists()


def test_tune_prints_the_table_that_select_takes_its_choice_from(corpus, selected, tmp_path, capsys):
    work = [f"--work_dir={tmp_path}/work", "--direct_num_workers=1"]
    assert tune.run([*corpus, *SETTINGS, "--alpha=1", "--num_to_sample=30", *work]) == 0
    table = capsys.readouterr().out
    counts = counts_of(tmp_path / "work")
    assert counts == counts_of(selected / "out.work")
    header, *rows = table.splitlines()
    assert header.split() == ["n-grams", "embeddings", "dimensions", "alpha", "found", "standard", "error"]
    assert [row.split()[:6] for row in rows] == [
        [one["ngram_estimator"], "-", "-", "1", f"{one['recall']:.3f}", f"{one['standard_error']:.3f}"]
        for one in sorted(counts["trials"], key=lambda one: -one["recall"])
    ]
    assert [row.split()[0] for row in rows if row.endswith("chosen")] == [chosen_by(counts)]
    # The trials are not run again, and are told of beside the result.
    (tmp_path / "work" / "trials" / "_started.json").unlink()
    assert select.run([*corpus, *AUTO, "--num_to_sample=30", *work, f"--output={tmp_path}/out"]) == 0
    captured = capsys.readouterr()
    assert table in captured.err
    assert table not in captured.out
    assert not (tmp_path / "work" / "trials" / "_started.json").exists()


def test_later_steps_take_what_was_chosen(corpus, selected, tmp_path, capsys):
    work = [f"--work_dir={tmp_path}/work", "--direct_num_workers=1"]
    assert fit.run([*corpus, *[flag for flag in AUTO if "min_example" not in flag], *work]) == 0
    assert score.run([*corpus, *AUTO, *work]) == 0
    again = [*corpus, *AUTO, *work, "--num_to_sample=7"]
    assert resample.run([*again, f"--output={tmp_path}/out"]) == 0
    assert manifest_of(tmp_path / "out")["settings"]["ngram_estimator"] == chosen_by(counts_of(tmp_path / "work"))
    capsys.readouterr()
    flags = [*corpus, *AUTO, "--num_to_sample=30"]
    assert inspect.run([f"{selected}/out.work", *flags]) == 0
    told = capsys.readouterr().out
    assert "stale" not in told
    chosen = chosen_by(counts_of(selected / "out.work"))
    assert f"chosen (alpha 1.0, ngram_estimator {chosen})" in told
    assert "reasons (not JSON 1)" in told
    assert resample.run([*again, "--ngrams=3", f"--output={tmp_path}/other"]) == 2
    assert "has no scores of these settings and files" in capsys.readouterr().err


def test_a_selector_takes_auto(corpus, selected, tmp_path):
    paths = dict(flag.removeprefix("--").split("=") for flag in corpus)
    selector = Selector(
        **paths,
        alpha=1,
        ngram_estimator="auto",
        hash="fast",
        min_example_length=30,
        options=["--direct_num_workers=1"],
    )
    selection = selector.select(output=tmp_path / "out", num_to_sample=30)
    assert contents(tmp_path / "out") == contents(selected / "out")
    assert selection.manifest["trials"]
    assert selector.resample(output=tmp_path / "again", num_to_sample=5).counts["selected"] == 5


def test_several_targets_are_tried_as_one(corpus, tmp_path):
    raw, target = (flag.partition("=")[2] for flag in corpus)
    (tmp_path / "other.jsonl").write_bytes(jsonl(["a page of quite another kind"] * 3))
    flags = [f"--raw={raw}", f"--target={target},{tmp_path}/other.jsonl", *AUTO, "--direct_num_workers=1"]
    assert score.run([*flags, "--separate_targets", f"--work_dir={tmp_path}/work"]) == 0
    assert counts_of(tmp_path / "work")["target_documents"] == 43


def test_too_many_rejected_lines_of_the_target_end_the_run(corpus, tmp_path, capsys):
    flags = [*corpus, *SETTINGS, "--alpha=1", f"--work_dir={tmp_path}/work", "--direct_num_workers=1"]
    for more in (["--max_rejected_share=0.01"], [], ["--max_rejected_share=0.01"]):
        assert tune.run([*flags, *more]) == (2 if more else 0)
        assert ("--target: 1 of 41 lines are rejected" in capsys.readouterr().err) == bool(more)


def test_too_few_documents_are_told(corpus, tmp_path, capsys):
    (tmp_path / "one.jsonl").write_bytes(jsonl(["one page " * 40]))
    flags = [corpus[0], f"--target={tmp_path}/one.jsonl", *SETTINGS, "--alpha=1", f"--work_dir={tmp_path}/work"]
    assert tune.run([*flags, "--direct_num_workers=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "hir tune: error: --target: too few documents of 30 tokens and more to try on them what is left to auto; "
        "give values instead"
    )
    assert tune.run([*flags, *corpus, "--min_example_length=1000000", "--direct_num_workers=1"]) == 2
    assert "too few documents of 1000000 tokens and more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--weight_per_token"],
            "--ngram_estimator: auto does not go with --weight_per_token; leave one of the two out",
        ),
        (["--ngram_weights=/n.npy"], "--ngram_estimator: auto does not go with --ngram_weights; leave one of the two"),
        (["--alpha=auto", "--raw_gmm=/g.npz"], "--alpha: auto does not go with --raw_gmm; leave one of the two out"),
        (["--template_location=/t"], "--ngram_estimator: auto takes a job of its own, which a template cannot; give "),
    ],
)
def test_what_does_not_go_with_auto_is_one_line(corpus, tmp_path, capsys, flags, message):
    assert score.run([*corpus, f"--work_dir={tmp_path}/work", *AUTO, *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"hir score: error: {message}")
    assert not [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def test_what_the_selection_would_end_with_is_told_before_anything_is_tried(corpus, selected, tmp_path, capsys):
    work = tmp_path / "work"
    command = [*corpus, *AUTO, "--num_to_sample=30", f"--work_dir={work}", "--no_progress"]
    assert select.run([*command, f"--output={selected}/out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"--output: {selected}/out exists and is not empty; add --overwrite to replace it")
    (work / "ngram_classifier").mkdir(parents=True)
    (work / "ngram_classifier" / "mine.txt").write_text("keep")
    assert select.run([*command, f"--output={tmp_path}/out"]) == 2
    assert "mine.txt lies where the stage ngram_classifier is kept" in capsys.readouterr().err
    assert [path.name for path in work.rglob("*") if path.is_file()] == ["mine.txt"]


@pytest.fixture(scope="module")
def embedded(corpus, tmp_path_factory):
    """Flags of embeddings that tell the target's kind from the others', and of everything left to auto."""
    folder = tmp_path_factory.mktemp("embedded")
    rng = np.random.default_rng(0)
    flags = []
    for flag in corpus:
        role, _, path = flag.removeprefix("--").partition("=")
        with open(path, encoding="utf-8") as file:
            wanted = [json.loads(line)["source"] == "scikit-learn" for line in file if line.startswith("{")]
        rows = rng.normal(0, 1, (len(wanted), 24)) + 3.0 * np.array(wanted)[:, np.newaxis]
        np.save(folder / f"{role}.npy", rows.astype(np.float32))
        flags.append(f"--{role}_embeddings={folder}/{role}.npy")
    names = ("alpha", "ngram_estimator", "embedding_estimator", "embedding_dim")
    return flags, [f"--{name}=auto" for name in names]


def test_embeddings_are_taken_where_they_find_more(corpus, embedded, tmp_path, capsys):
    flags, auto = embedded
    command = [*corpus, *SETTINGS, *flags, *auto, "--num_to_sample=40", "--top_k", "--direct_num_workers=1"]
    assert select.run([*command, f"--output={tmp_path}/out"]) == 0
    manifest, counts = manifest_of(tmp_path / "out"), counts_of(tmp_path / "out.work")
    chosen = counts["chosen"]
    assert chosen["alpha"] < 1
    assert chosen["embedding_estimator"]
    assert {name: manifest["settings"][name] for name, value in chosen.items() if value is not None}.items() <= (
        chosen.items()
    )
    assert manifest["trials"] == counts["trials"]
    assert {json.dumps([one["ngram_estimator"], one["embedding_estimator"]]) for one in counts["trials"]} == {
        json.dumps([ngram, embedding])
        for ngram in ("ratio", "classifier", None)
        for embedding in ("classifier", "mixture", None)
        if ngram or embedding
    }
    lines = [json.loads(line) for part in (tmp_path / "out").glob("part-*") for line in part.open()]
    assert sum(line["source"] == "scikit-learn" for line in lines) >= 38
    # The sample holds all of raw: its embeddings are those that are scored.
    assert not (tmp_path / "out.work" / "trial_embeddings").exists()
    capsys.readouterr()
    assert inspect.run([f"{tmp_path}/out.work", *command]) == 0
    assert "stale" not in capsys.readouterr().out


def test_trials_with_embeddings_are_the_same_bytes_by_two_workers(corpus, embedded, tmp_path):
    flags, _ = embedded
    given = ["--ngram_estimator=ratio", "--embedding_dim=4", "--num_documents_to_try=60", "--num_to_sample=40"]
    tried = {}
    for workers in (1, 2):
        work = tmp_path / f"work{workers}"
        command = [*corpus, *SETTINGS, *flags, *given, f"--work_dir={work}", f"--direct_num_workers={workers}"]
        assert tune.run(command) == 0
        tried[workers] = contents(work)
    assert "trials/_manifest.json" in {str(path) for path in tried[1]}
    assert tried[1] == tried[2]


def test_of_a_large_corpus_a_sample_is_embedded_and_nothing_else_where_n_grams_alone_find_most(
    corpus, embedded, tmp_path
):
    rng = np.random.default_rng(0)
    flags = []
    for flag in embedded[0]:
        name, _, path = flag.partition("=")
        noise = rng.normal(0, 1, np.load(path).shape).astype(np.float32)
        np.save(tmp_path / path.rpartition("/")[2], noise)
        flags.append(f"{name}={tmp_path}/{path.rpartition('/')[2]}")
    command = [*corpus, *SETTINGS, *flags, "--alpha=auto", "--num_documents_to_try=20", f"--work_dir={tmp_path}/work"]
    assert score.run(command) == 0
    counts = counts_of(tmp_path / "work")
    assert counts["raw_documents"] == 20
    assert counts["chosen"]["alpha"] == 1
    work = tmp_path / "work"
    assert {path.name for path in work.iterdir()} >= {"trials", "trial_embeddings", "ngram_weights"}
    assert not (work / "embeddings" / "raw").exists()
    embedded_raw = json.loads((work / "trial_embeddings" / "raw" / "_manifest.json").read_bytes())["counts"]
    assert 20 <= embedded_raw["documents"] <= 200


def test_embeddings_of_other_documents_are_told_before_a_sample_is_tried(corpus, embedded, tmp_path, capsys):
    np.save(tmp_path / "raw.npy", np.ones((7, 24), np.float32))
    flags = [*corpus, embedded[0][1], f"--raw_embeddings={tmp_path}/raw.npy", f"--work_dir={tmp_path}/work"]
    assert tune.run([*flags, "--num_documents_to_try=20", "--num_to_sample=40", "--direct_num_workers=1"]) == 2
    assert f"--raw_embeddings: 7 rows in {tmp_path}/raw.npy" in capsys.readouterr().err
    assert not (tmp_path / "work" / "trials" / "_started.json").exists()
