import os
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines import inspect, select
from tests.helpers.corpora import jsonl


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for role, size in (("raw", 60), ("target", 20)):
        texts = [" ".join(f"word{number}" for number in row) for row in generator.integers(0, 300, (size, 30))]
        (folder / f"{role}.jsonl").write_bytes(b"no json\n" + jsonl(texts))
    return folder


def flags_of(corpus, model):
    paths = [f"--raw={corpus}/raw.jsonl", f"--target={corpus}/target.jsonl", f"--embedding_model={model}"]
    return [*paths, "--embedding_dim=4", "--raw_components=3", "--target_components=2", "--max_rejected_share=0.5"]


@pytest.fixture(scope="module")
def made(corpus, small_transformer, tmp_path_factory):
    """A folder with two outputs and their one work folder, which has all kinds of stages."""
    folder = tmp_path_factory.mktemp("made")
    settings = ["--num_to_sample=9", "--min_example_length=0", "--direct_num_workers=1", f"--work_dir={folder}/work"]
    flags = [*flags_of(corpus, small_transformer), *settings, "--skip_duplicates"]
    assert select.run([*flags, f"--output={folder}/mixture", "--seed=7"]) == 0
    assert select.run([*flags, f"--output={folder}/classifier", "--embedding_estimator=classifier"]) == 0
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def explained(capsys):
    """Inspects; returns the lines."""

    def lines_of(path, *flags):
        assert inspect.run([str(path), *flags]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.splitlines()

    return lines_of


def row_of(lines, stage):
    (row,) = (line for line in lines if line.startswith(f"{stage} "))
    return row


def test_a_work_folder_is_a_table_of_its_stages(made, explained):
    first, header, *rows = explained(made / "work")
    assert re.fullmatch(rf"{made}/work: work folder, 14 stages, \d+\.\d [kM]B", first)
    assert header.split() == ["stage", "state", "size", "time"]
    names = [row.split()[0] for row in rows[:-1]]
    assert {"counts/raw", "ngram", "embeddings/target", "gmm/raw", "embedding_classifier", "duplicates"} < {*names}
    assert names.index("documents") < names.index("ngram_weights") < names.index("scores") < names.index("duplicates")
    assert re.fullmatch(r"documents +complete +\d+\.\d kB +\d:\d\d .*61 read, .*", row_of(rows, "documents"))


def test_a_stage(made, corpus, explained):
    lines = explained(f"{made}/work/counts/raw/")
    assert lines[0] == f"{made}/work/counts/raw: counts of n-grams, complete"
    assert lines[1] == f"from files of raw: {corpus}/raw.jsonl ({(corpus / 'raw.jsonl').stat().st_size / 1000:.1f} kB)"
    assert re.match(r"settings: .*ngrams 2", lines[2])
    assert re.match(r"counts: .* 61 read, .*1 rejected", lines[3])
    assert re.fullmatch(r"made with apache-beam [\d.]+, hir [\d.]+, numpy [\d.]+, python [\d.]+", lines[4])
    assert re.fullmatch(r"took 0:\d\d in the run that ended at 20\d\d-\S+", lines[5])
    assert re.fullmatch(r"size: \d+\.\d kB in \d files", lines[6])
    assert explained(made / "work/ngram")[1] == "from stages: counts/raw, counts/target"


def test_every_stage_says_what_it_is(made, explained):
    manifests = [*(made / "work").rglob("_manifest.json")]
    assert len(manifests) == 14
    for manifest in manifests:
        first, *_ = explained(manifest.parent)
        assert re.fullmatch(rf"{manifest.parent}: (?!stage,)[\w\W]+, complete", first)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "work/ngram/estimator.npz",
            r"n-gram estimator of 1 targets\nsettings: .*num_buckets 10000.*\ncounts: [\d,]+ n",
        ),
        (
            "work/gmm/raw.npz",
            r"Gaussian mixture of 3 components, of \d+ dimensions\n\d+ iterations, (not )?converged",
        ),
        ("work/embedding_classifier/classifier.npz", r"classifiers of 1 targets and \d+ folds, of \d+ dimensions\n"),
        ("work/projection/projection.npz", r"arrays: projection_mean \[\d+\], projection \[\d+, 4\]\n"),
        (
            "work/embeddings/target/*.avro",
            r"embeddings by .*small\ncounts: 20 rows of \d+ numbers, 0 not finite\n",
        ),
        ("work/scores/part-00000.parquet", r"scores, 60 rows of file, .*\nlog weights from -?\d.* to .*, mean "),
        ("work/documents/part-00000.parquet", r"documents, 60 rows of file, "),
        ("work/gmm_weights/part-00000.parquet", r"log weights, 60 rows of weight\nlog weights from "),
        ("mixture/selection.parquet", r"selected documents, 9 rows of file, "),
        (
            "mixture",
            r"output, selected lines in 1 files\nsettings: .*seed 7.*\ncounts: .*61 read, .*9 selected",
        ),
    ],
)
def test_an_artefact(made, explained, name, expected):
    (path,) = made.glob(name)
    lines = explained(path)
    assert re.match(rf"{path}: {expected}", "\n".join(lines))
    assert re.fullmatch(r"size: [\d.]+ (k|M)?B", lines[-1])


def test_a_path_from_here(made, explained, monkeypatch):
    monkeypatch.chdir(made / "work")
    assert explained("ngram")[0] == f"{made}/work/ngram: n-gram estimator, complete"


def test_a_static_model(static_folder, explained):
    lines = explained(static_folder)
    assert lines[0].startswith(f"{static_folder}: static embedding model, of ")
    assert lines[1] == "2,003 tokens of 256 numbers (F16)"


def test_what_has_changed_since(copied, corpus, explained):
    """In the work folder alone: an input, and what was made of it."""
    assert not [line for line in explained(copied / "work") if " stale " in line]
    raw = corpus / "raw.jsonl"
    content, made_at = raw.read_bytes(), raw.stat().st_mtime_ns
    try:
        raw.write_bytes(content + jsonl(["more"]))
        lines = explained(copied / "work")
        stage = explained(copied / "work/documents")
    finally:
        raw.write_bytes(content)
        os.utime(raw, ns=(made_at, made_at))
    assert row_of(lines, "documents").endswith(f"{raw} of raw has changed")
    assert "documents is stale; " in row_of(lines, "ngram_weights")
    assert " complete " in row_of(lines, "counts/target")
    assert lines[-1].startswith("no use as things are now, and may be deleted: counts/raw, documents, ")
    assert stage[:2] == [
        f"{copied}/work/documents: list of raw's documents, stale",
        f"since it was made: {raw} of raw has changed",
    ]


def test_what_differs_from_the_flags(made, corpus, small_transformer, explained):
    flags = [*flags_of(corpus, small_transformer), "--ngrams=3", "--num_to_sample=1", "--output=out"]
    lines = explained(made / "work", *flags)
    assert row_of(lines, "counts/raw").endswith("ngrams 2, now 3")
    assert row_of(lines, "ngram").endswith("counts/raw is another; counts/target is another")
    assert " complete " in row_of(lines, "gmm/raw")
    assert row_of(lines, "embedding_classifier").endswith("these flags do not need it")


def test_what_an_interrupted_run_has_left(copied, explained):
    (copied / "work/scores/_manifest.json").unlink()
    assert row_of(explained(copied / "work"), "scores").split()[1] == "incomplete"
    assert explained(copied / "work/scores")[0].endswith(", incomplete")


def test_errors_are_one_line(copied, capsys):
    (copied / "empty").mkdir()
    (copied / "other").mkdir()
    (copied / "other/thesis.txt").write_text("precious")
    (copied / "model").mkdir()
    (copied / "model/model.safetensors").write_bytes(b"\0" * 20)
    shutil.copytree(copied / "work/ngram", copied / "moved")
    (avro,) = (copied / "work/embeddings/target").glob("*.avro")
    for damaged in (avro, copied / "work/gmm/raw.npz", copied / "mixture/selection.parquet"):
        damaged.write_bytes(damaged.read_bytes()[:-100])
    np.save(copied / "objects.npy", np.array([{}]), allow_pickle=True)
    expected = {
        "nothing": "is not there, or is an empty folder",
        "empty": "is not there, or is an empty folder",
        "other": "holds nothing of this tool; name a work folder",
        ".": "holds nothing of this tool; name a work folder",
        "other/thesis.txt": "is no file that this tool explains: .npz, .npy, .avro, .parquet",
        "model": "holds a model, but no static one",
        "moved": "holds no manifest of a stage that lies there",
        "mixture/part-00000-of-00001.jsonl": "is no file that this tool explains",
        str(avro.relative_to(copied)): "damaged",
        "work/gmm/raw.npz": "is damaged, or not a file of this tool (",
        "mixture/selection.parquet": "is damaged, or not a file of this tool (",
        "objects.npy": "is damaged, or not a file of this tool (",
    }
    for name, message in expected.items():
        assert inspect.run([str(copied / name)]) == 2, name
        printed = capsys.readouterr()
        assert (printed.out, len(printed.err.splitlines())) == ("", 1)
        assert printed.err.startswith(f"hir inspect: error: {copied / name} ")
        assert message in printed.err
    assert inspect.run([str(copied / "work"), "--ngrams=3"]) == 2
    assert capsys.readouterr().err.startswith("hir inspect: error: --raw is required beside other flags")


def test_a_table_without_rows(copied, explained):
    path = copied / "work/scores/part-00000.parquet"
    pq.write_table(pq.read_table(path)[:0], path)
    assert explained(path)[0].startswith(f"{path}: scores, 0 rows of ")
