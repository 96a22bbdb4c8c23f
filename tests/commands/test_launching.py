"""Folders that are in the way, disks that are full, and runs that were interrupted, with the real commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from hir_transforms.artifacts.output_folder import OutputFolder
from hir_transforms.artifacts.runs import read_runs, versions
from pipelines import resample, select
from tests.helpers.corpora import jsonl

FLAGS = ["--alpha=1", "--min_example_length=1", "--direct_num_workers=1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Flags of a corpus of some 3 MB in two files, one line of it no JSON, and of a target."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(1000)])
    for name in ("a", "b"):
        texts = [" ".join(words[row]) for row in generator.integers(0, 1000, (200, 1000))]
        (folder / f"{name}.jsonl").write_bytes(b"no json\n" + jsonl(texts))
    (folder / "target.jsonl").write_bytes(jsonl(texts[:5]))
    return [f"--raw={folder}/?.jsonl", f"--target={folder}/target.jsonl"]


@pytest.fixture(scope="module")
def selected(corpus, tmp_path_factory):
    """A folder with an output and its work folder."""
    folder = tmp_path_factory.mktemp("selected")
    command = [*corpus, *FLAGS, f"--output={folder}/out", "--num_to_sample=3", "--num_shards=9", "--skip_duplicates"]
    assert select.run(command) == 0
    return folder


@pytest.fixture
def copied(selected, tmp_path):
    """A copy of it that a test may change."""
    shutil.copytree(selected, tmp_path, dirs_exist_ok=True)
    return tmp_path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_the_work_folder_tells_how_long_each_stage_took(selected):
    (run,) = read_runs(str(selected / "out.work"))
    stages = {path.parent.relative_to(selected / "out.work") for path in selected.rglob("_manifest.json")}
    assert {*run.seconds} == {*map(str, stages)}
    assert all(0 <= seconds < 600 for seconds in run.seconds.values())
    assert run.runner == "InProcessRunner"
    assert run.versions == versions()


def error_of(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_there_is_no_shard_without_a_document(selected):
    manifest = json.loads((selected / "out" / "manifest.json").read_text())
    assert [shard["documents"] for shard in manifest["shards"]] == [1, 1, 1]
    *rejected, page, measures, other = manifest["files"]
    assert (page, measures, other) == ("report.html", "report.json", "selection.parquet")
    assert [re.sub(r"\d", "0", name) for name in rejected] == ["rejected/raw-00000.jsonl"] * 2


def test_the_folder_of_scores_can_be_read_as_one_table(selected):
    table = pq.read_table(selected / "out.work" / "scores")
    assert len(table) == 400
    assert {"file", "offset", "weight"} <= set(table.column_names)


def test_a_work_folder_of_other_settings_is_computed_again(corpus, copied):
    """Whatever the stages wrote, they clear."""
    command = [*corpus, *FLAGS, f"--output={copied}/out", "--num_to_sample=3", "--overwrite", "--skip_duplicates"]
    assert select.run([*command, "--ngrams=1", "--tokenizer=wordpunct"]) == 0
    assert json.loads((copied / "out" / "manifest.json").read_text())["settings"]["ngrams"] == 1


@pytest.mark.parametrize("name", ["documents/mine.jsonl", "duplicates/mine.txt", "scores/deep/part-00000.parquet"])
def test_a_file_in_any_stage_is_found_before_anything_is_touched(corpus, copied, capsys, name):
    path = copied / "out.work" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    before = contents(copied)
    command = [*corpus, *FLAGS, f"--output={copied}/new", f"--work_dir={copied}/out.work", "--num_to_sample=3"]
    assert select.run([*command, "--skip_duplicates", "--ngrams=1"]) == 2
    assert f"error: --work_dir: {path} lies where the stage" in error_of(capsys)
    assert contents(copied) == before


def test_a_corpus_in_the_folder_of_a_stage_that_is_not_named_is_left_alone(corpus, tmp_path, capsys):
    (tmp_path / "work" / "counts" / "raw").mkdir(parents=True)
    (tmp_path / "work" / "counts" / "raw" / "a.jsonl").write_text("precious")
    command = [*corpus, *FLAGS, f"--output={tmp_path}/out", f"--work_dir={tmp_path}/work", "--num_to_sample=3"]
    assert select.run(command) == 2
    assert "lies where the stage counts/raw is kept" in error_of(capsys)
    assert contents(tmp_path) == {"work/counts/raw/a.jsonl": b"precious"}


@pytest.mark.parametrize("content", ["", "[]", "{}", "no json"])
def test_manifests_that_were_damaged_are_one_line_or_computed_again(corpus, copied, capsys, content):
    (copied / "out.work" / "scores" / "_manifest.json").write_text(content)
    command = [f"--work_dir={copied}/out.work", f"--output={copied}/new", "--num_to_sample=3"]
    assert resample.run(command) == 2
    assert "the scores are not complete" in error_of(capsys)
    (copied / "out" / "manifest.json").write_text(content)
    command = [*corpus, *FLAGS, f"--output={copied}/out", "--num_to_sample=3", "--overwrite"]
    before = contents(copied)
    assert select.run(command) == 2
    assert "holds other files than an output of this tool, such as manifest.json" in error_of(capsys)
    assert contents(copied) == before


@pytest.mark.parametrize("flag", ["work_dir", "output"])
def test_a_folder_that_is_a_file_is_named(corpus, tmp_path, capsys, flag):
    (tmp_path / "file").write_text("precious")
    folders = {"output": f"{tmp_path}/out"} | {flag: f"{tmp_path}/file"}
    command = [*corpus, *FLAGS, *(f"--{name}={folder}" for name, folder in folders.items()), "--num_to_sample=3"]
    assert select.run(command) == 2
    assert error_of(capsys) == f"hir select: error: --{flag}: {tmp_path}/file is a file, not a folder"
    assert contents(tmp_path) == {"file": b"precious"}


def test_an_output_that_is_a_link_is_named(corpus, copied, capsys):
    (copied / "link").symlink_to("out")
    command = [*corpus, *FLAGS, f"--output={copied}/link", f"--work_dir={copied}/out.work", "--num_to_sample=3"]
    assert select.run([*command, "--overwrite"]) == 2
    assert "link is a symbolic link; name the folder itself" in error_of(capsys)


@pytest.mark.parametrize("foreign", ["thesis.txt", "rejected/notes.txt", "part-00009-of-00010.jsonl"])
def test_overwrite_names_what_it_did_not_write_before_anything_runs(corpus, copied, capsys, foreign):
    (copied / "out" / foreign).write_text("precious")
    before = contents(copied)
    command = [*corpus, *FLAGS, f"--output={copied}/out", "--num_to_sample=3", "--overwrite", "--ngrams=1"]
    assert select.run(command) == 2
    assert f"holds other files than an output of this tool, such as {foreign};" in error_of(capsys)
    assert contents(copied) == before


def test_an_interrupted_run_is_ended_by_the_same_command_and_kept_from_another(copied, capsys):
    """As if killed when the output was complete, and before it was in place."""
    output = OutputFolder(str(copied / "out"))
    command = [f"--work_dir={copied}/out.work", f"--output={copied}/out"]
    assert resample.run([*command, "--num_to_sample=2", "--overwrite"]) == 0
    expected = contents(copied / "out")
    shutil.move(copied / "out", copied / "kept")
    for flags, status in (["--num_to_sample=2"], 0), (["--num_to_sample=1"], 2):
        output.start()
        shutil.copytree(copied / "kept", output.new)
        assert resample.run([*command, *flags]) == status
        assert contents(copied / "out") == expected
        assert not os.path.exists(output.incomplete)
        shutil.rmtree(copied / "out")
    assert "exists and is not empty; add --overwrite" in capsys.readouterr().err


def run_full(corpus, *flags):
    """One line of a run in processes of its own."""
    command = [sys.executable, "-m", "pipelines.select", *corpus, "--alpha=1", "--min_example_length=1", *flags]
    # Or more lines would tell of the small target, and on a busy machine how far it is.
    command += ["--target_laplace_smoothing=1", "--no_progress"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert re.match(r"hir select: error: no space left on the disk of .* make room there, or choose a folder", line)
    return line


def test_an_output_that_finds_no_space_leaves_none_of_it(corpus, tmp_path, small_disk):
    flags = ["--num_to_sample=350", "--num_shards=2", "--direct_num_workers=2"]
    assert f"{small_disk}/out" in run_full(corpus, f"--output={small_disk}/out", f"--work_dir={tmp_path}/work", *flags)
    assert os.listdir(small_disk) == []
    assert (tmp_path / "work" / "scores" / "_manifest.json").exists()
    assert sorted(os.listdir(tmp_path)) == ["disk", "work"]


def test_a_work_folder_that_finds_no_space_keeps_nothing_half_written(corpus, tmp_path, small_disk):
    flags = [f"--output={tmp_path}/out", f"--work_dir={small_disk}/work", "--num_buckets=1000000", "--num_to_sample=3"]
    assert f"{small_disk}/work/counts" in run_full(corpus, *flags, "--direct_num_workers=1")
    assert not [name for name in contents(small_disk) if "tmp" in name]
    assert not [name for name in contents(small_disk) if name.endswith(("counts.npy", "_manifest.json"))]
    assert os.listdir(tmp_path) == ["disk"]
