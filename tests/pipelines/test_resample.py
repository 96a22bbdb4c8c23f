"""`resample` from the scores that `select` left, on the local runner."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import digest
from hir_transforms.files import storage
from hir_transforms.graph.saved_scores import find_scores
from pipelines import resample, score, select
from tests.helpers.folders import contents

SIZES = {"numpy": 120, "scikit-learn": 80}


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The folder with the corpus, an output of `select` of 30 documents, and its work folder."""
    folder = tmp_path_factory.mktemp("scored")
    raw, target = write_corpus(folder / "corpus", SIZES, 40)
    raw.write_bytes(b"no json\n" + raw.read_bytes())
    flags = [f"--raw={raw}", f"--target={target}", f"--output={folder / 'out'}", "--alpha=1", "--direct_num_workers=1"]
    assert select.run([*flags, "--num_to_sample=30"]) == 0
    return folder


@pytest.fixture
def work_dir(scored):
    return scored / "out.work"


def run(work_dir, output, *flags):
    return resample.run([f"--work_dir={work_dir}", f"--output={output}", "--direct_num_workers=1", *flags])


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


def scores_of(work_dir):
    tables = [pq.read_table(shard) for shard in sorted((work_dir / "scores").glob("*.parquet"))]
    return {name: np.concatenate([t[name].to_numpy() for t in tables]) for name in ("num_tokens", "weight", "offset")}


def test_the_same_settings_give_what_select_gave(scored, work_dir, tmp_path):
    before = contents(work_dir)
    assert run(work_dir, tmp_path / "out", "--num_to_sample=30") == 0
    ours, theirs = contents(tmp_path / "out"), contents(scored / "out")
    for name in ("manifest.json", "report.html", "report.json"):  # which tell the settings
        ours.pop(name)
        theirs.pop(name)
    assert ours == theirs
    assert "rejected/raw-00000.jsonl" in ours
    for name in ("counts", "shards"):
        assert manifest(tmp_path / "out")[name] == manifest(scored / "out")[name]
    assert contents(work_dir) == before
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_other_settings_choose_anew_from_the_same_scores(work_dir, tmp_path):
    assert run(work_dir, tmp_path / "out", "--num_to_sample=25", "--top_k", "--min_example_length=150") == 0
    scores = scores_of(work_dir)
    order = np.argsort(-np.where(scores["num_tokens"] >= 150, scores["weight"], -np.inf), kind="stable")[:25]
    table = pq.read_table(tmp_path / "out" / "selection.parquet")
    assert table["offset"].to_pylist() == sorted(scores["offset"][order].tolist())


@pytest.mark.parametrize("top_k", [True, False])
def test_a_budget_of_tokens_is_not_exceeded(work_dir, tmp_path, top_k):
    flags = ["--top_k"] if top_k else []
    assert run(work_dir, tmp_path / "out", "--num_tokens_to_sample=5000", *flags) == 0
    counts = manifest(tmp_path / "out")["counts"]
    assert 0 < counts["selected_tokens"] <= 5000
    # One document more, by rank, would be too many.
    assert run(work_dir, tmp_path / "more", f"--num_to_sample={counts['selected'] + 1}", *flags) == 0
    assert manifest(tmp_path / "more")["counts"]["selected_tokens"] > 5000
    tables = [pq.read_table(tmp_path / name / "selection.parquet") for name in ("out", "more")]
    within, beyond = (set(table["offset"].to_pylist()) for table in tables)
    assert within < beyond


def test_source_files_are_looked_at_by_the_folder(scored, tmp_path, memory_store):
    """An object store gets a request for each thousand files, not for each one."""
    for index, line in enumerate((scored / "corpus" / "raw.jsonl").read_bytes().splitlines(keepends=True)):
        memory_store.put(f"mem://bucket/raw/{index % 3}/{index}.jsonl", line)
    flags = [f"--work_dir={tmp_path / 'work'}", "--alpha=1", "--direct_num_workers=1"]
    target = scored / "corpus" / "target.jsonl"
    assert score.run(["--raw=mem://bucket/raw/**", f"--target={target}", *flags]) == 0
    memory_store.questions.clear()
    _, _, sources = find_scores(str(tmp_path / "work"))
    assert len(memory_store.questions) == 3
    assert sources == {path: len(content) for path, content in memory_store.objects.items()}
    memory_store.put("mem://bucket/raw/2/5.jsonl", b"{}")
    with pytest.raises(UserError, match=r"raw/2/5\.jsonl changed since it was scored"):
        find_scores(str(tmp_path / "work"))
    del memory_store.objects["mem://bucket/raw/2/5.jsonl"]
    with pytest.raises(UserError, match=r"raw/2/5\.jsonl is no longer there"):
        find_scores(str(tmp_path / "work"))


def remove_a_shard(folder):
    next((folder / "out.work" / "scores").glob("*.parquet")).unlink()


def remove_the_manifest(folder):
    (folder / "out.work" / "scores" / "_manifest.json").unlink()


def touch_the_source(folder):
    os.utime(folder / "corpus" / "raw.jsonl", (1, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "out.work"), "no scores in"),
        (remove_the_manifest, "the scores are not complete in"),
        (remove_a_shard, "the scores are not complete"),
        (touch_the_source, "raw.jsonl changed since it was scored"),
    ],
    ids=["no scores", "no manifest", "a shard less", "source"],
)
def test_scores_that_do_not_fit_are_an_error(scored, tmp_path, capsys, change, message):
    folder = tmp_path / "copy"
    shutil.copytree(scored, folder)
    work_dir = folder / "out.work"
    for path in work_dir.rglob("_manifest.json"):
        manifest = json.loads(path.read_text().replace(str(scored), str(folder)))
        described = {
            name: value
            for name, value in manifest.items()
            if name not in ("kind", "fingerprint", "counts", "versions")
        }
        path.write_text(json.dumps(manifest | {"fingerprint": digest(described)}))
    change(folder)
    assert run(work_dir, tmp_path / "out", "--num_to_sample=30") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hir resample: error: --work_dir: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def rewrite_scores(work_dir, other, *, listed):
    """Lets the rows of a file of scores name another file, in its list of files too or only there."""
    for shard in (work_dir / "scores").glob("*.parquet"):
        table = pq.read_table(shard)
        files = json.loads(table.schema.metadata[b"hir.files"])
        if listed:
            files = [[index, str(other), other.name, *storage.size_and_time(str(other)), 0] for index, *_ in files]
        names = pa.array([str(other)] * len(table))
        table = table.set_column(table.schema.get_field_index("file"), "file", names)
        pq.write_table(table.replace_schema_metadata({"hir.files": json.dumps(files)}), shard)


@pytest.mark.parametrize("planned", [False, True], ids=["as they are", "planned"])
@pytest.mark.parametrize("listed", [False, True])
def test_no_file_is_copied_that_was_not_scored(scored, tmp_path, capsys, listed, planned):
    work_dir = tmp_path / "work"
    shutil.copytree(scored / "out.work", work_dir)
    corpus = scored / "corpus"
    other = tmp_path / "other.jsonl"
    shutil.copy(corpus / "raw.jsonl", other)
    rewrite_scores(work_dir, other, listed=listed)
    flags = [f"--raw={corpus / 'raw.jsonl'}", f"--target={corpus / 'target.jsonl'}", "--alpha=1"] if planned else []
    assert run(work_dir, tmp_path / "out", "--num_to_sample=30", *flags) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("hir resample: error: ")
    assert str(other) in line
    assert not (tmp_path / "out").exists()


def test_an_edited_manifest_is_an_error(scored, tmp_path, capsys):
    work_dir = tmp_path / "work"
    shutil.copytree(scored / "out.work", work_dir)
    path = work_dir / "scores" / "_manifest.json"
    path.write_text(path.read_text().replace("raw.jsonl", "other.jsonl"))
    assert run(work_dir, tmp_path / "out", "--num_to_sample=30") == 2
    assert "the manifest of the scores in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--num_to_sample is required"),
        (["--num_to_sample=3", "--num_tokens_to_sample=5"], "give one of them, not both"),
        (["--num_tokens_to_sample=0"], "--num_tokens_to_sample: must be at least 1, not 0"),
        (["--num_to_sample=3", "--min_example_length=-1"], "--min_example_length: must be at least 0"),
        (["--num_to_sample=3", "--compression=zip"], "--compression: must be one of"),
        (["--num_to_sample=3", "--alpha=0.2"], "--alpha: without --raw the scores are taken as they are"),
        (["--num_to_sample=3", "--raw=x.jsonl"], "--target is required"),
        (["--num_to_sample=3000"], "--num_to_sample: 3000 documents asked for, but only"),
        (["--num_tokens_to_sample=100000000"], "tokens asked for, but eligible documents have only"),
        (["--num_tokens_to_sample=1"], "--num_tokens_to_sample: already the first document to select has more tokens"),
        (["--num_to_sample=3", "--output="], "--output is required"),
    ],
)
def test_errors_take_one_line_and_leave_no_output(work_dir, tmp_path, capsys, flags, message):
    assert run(work_dir, tmp_path / "out", *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hir resample: error: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_an_existing_output_is_kept_unless_told_otherwise(work_dir, tmp_path, capsys):
    assert run(work_dir, tmp_path / "out", "--num_to_sample=3") == 0
    assert run(work_dir, tmp_path / "out", "--num_to_sample=4") == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert manifest(tmp_path / "out")["counts"]["selected"] == 3
    assert run(work_dir, tmp_path / "out", "--num_to_sample=4", "--overwrite") == 0
    assert manifest(tmp_path / "out")["counts"]["selected"] == 4


def test_workers_change_no_byte(work_dir, tmp_path):
    assert run(work_dir, tmp_path / "one", "--num_tokens_to_sample=9000") == 0
    command = [sys.executable, "-m", "pipelines", "resample", f"--work_dir={work_dir}", f"--output={tmp_path / 'two'}"]
    flags = ["--num_tokens_to_sample=9000", "--direct_num_workers=2", "--direct_runner_bundle_repeat=2"]
    flags.append("--no_progress")  # a busy machine may take long enough for a line of it
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
