"""What a run reads and writes is kept apart, and nothing of the user's is touched."""

import os
import re

import numpy as np
import pytest

from hir_transforms.artifacts.stages import Stage
from hir_transforms.commands.apart import check_apart
from hir_transforms.common.errors import UserError
from hir_transforms.documents.datasets import Dataset
from pipelines import embed, fit, resample, score, select
from tests.helpers.corpora import jsonl


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder of a user with a corpus in `proj/documents`, one in `data`, and links; the current folder."""
    for name in ("proj/documents/a.jsonl", "proj/documents/b.jsonl", "data/a.jsonl", "data/deep/b.jsonl", "t.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(jsonl(["some words of a text"] * 3))
    (tmp_path / "link").symlink_to("proj")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a.jsonl").symlink_to(tmp_path / "proj" / "documents" / "a.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    """All files in a folder; links by where they lead to."""
    paths = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return {path: os.readlink(path) if path.is_symlink() else path.read_bytes() for path in paths}


REFUSED = {
    "a stage's folder": ("proj/documents/*.jsonl", "proj", "out"),
    "a file in it": ("proj/documents/a.jsonl", "proj", "out"),
    "by a roundabout path": ("./data/../proj//documents/*.jsonl", "./proj/", "out"),
    "below": ("proj/**", "proj", "out"),
    "by a wildcard": ("*/*/*.jsonl", "proj", "out"),
    "by a link": ("link/documents/*.jsonl", "proj", "out"),
    "a work folder by a link": ("proj/documents/*.jsonl", "link", "out"),
    "files that are links": ("linked/*.jsonl", "proj", "out"),
    "in the output": ("data/*.jsonl", "work", "data"),
    "below the output": ("data/deep/*.jsonl", "work", "data"),
    "the output to come": ("data/**/*.jsonl", "work", "data/out"),
    "the output to come, one below": ("data/*/*.jsonl", "work", "data/out"),
    "the default work folder to come": ("data/**.jsonl", "", "data/out"),
    "the output is a stage's folder": ("data/*.jsonl", "proj", "proj/documents"),
    "the output holds a stage's folder": ("data/*.jsonl", "proj", "proj/counts"),
    "the output is in a stage's folder": ("data/*.jsonl", "proj", "proj/scores/out"),
    "the output is a stage's folder by a link": ("data/*.jsonl", "proj", "link/scores"),
}


@pytest.mark.parametrize(("raw", "work_dir", "output"), REFUSED.values(), ids=REFUSED)
def test_inputs_where_a_run_writes_are_refused_before_anything_is_touched(tree, capsys, raw, work_dir, output):
    before = contents(tree)
    flags = [f"--raw={raw}", "--target=t.jsonl", f"--output={output}", "--num_to_sample=1", "--overwrite", "--alpha=1"]
    assert select.run([*flags, *([f"--work_dir={work_dir}"] if work_dir else [])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"hir select: error: --(raw: .* reaches into|output: .* shares files with) ", line)
    assert contents(tree) == before


@pytest.mark.parametrize(("command", "stage"), [(fit, "counts/raw"), (score, "documents"), (embed, "embeddings/raw")])
def test_every_command_refuses_them(tree, capsys, command, stage):
    os.makedirs(tree / "work" / os.path.dirname(stage), exist_ok=True)
    os.rename("proj/documents", f"work/{stage}")
    np.save("rows.npy", np.ones((6, 2), np.float32))
    before = contents(tree)
    flags = ["--alpha=1", "--target=t.jsonl"] if command is not embed else ["--raw_embeddings=rows.npy"]
    assert command.run(["--work_dir=work", f"--raw=work/{stage}/*.jsonl", *flags]) == 2
    assert f"reaches into {tree}/work/{stage}/, where this run writes" in capsys.readouterr().err
    assert contents(tree) == before


def stage(name, work_dir):
    return Stage(name, str(work_dir), {}, (), (), "")


ALLOWED = [
    ("raw_embeddings", "other.work/embeddings/raw"),
    ("raw_embeddings", "other.work/embeddings/raw/*.avro"),
    ("raw_gmm", "other.work/gmm/raw.npz"),
    ("target_gmm", "out.work/gmm/target-0.npz"),
    ("target_gmm", "out.work/gmm/*.npz"),
    ("ngram_weights", "*.npy"),
]


@pytest.mark.parametrize(("flag", "pattern"), ALLOWED)
def test_results_of_other_stages_and_work_folders_may_be_given(tmp_path, flag, pattern):
    stages = [stage(name, tmp_path / "out.work") for name in ("documents", "embeddings/raw", "gmm_weights", "scores")]
    check_apart([Dataset(flag, (f"{tmp_path}/{pattern}",))], stages, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("flag", "pattern"), [("raw_gmm", "gmm/raw.npz"), ("raw_gmm", "gmm/*"), ("gmm_weights", "gmm_weights")]
)
def test_results_that_this_run_replaces_may_not_be_given(tmp_path, flag, pattern):
    with pytest.raises(UserError, match=f"--{flag}: .* reaches into "):
        check_apart(
            [Dataset(flag, (f"{tmp_path}/{pattern}",))], [stage(name, tmp_path) for name in ("gmm/raw", "gmm_weights")]
        )


@pytest.mark.parametrize("folder", ["out", "out/checkpoints", "out.work/scores"])
def test_checkpoints_are_kept_out_of_what_is_cleared(tmp_path, folder):
    stages = [stage("scores", tmp_path / "out.work")]
    check_apart([], stages, str(tmp_path / "out"), str(tmp_path))
    with pytest.raises(UserError, match=r"--gmm_checkpoint_dir: .* must not be in "):
        check_apart([], stages, str(tmp_path / "out"), str(tmp_path / folder))


def test_a_selection_from_an_output_does_not_replace_it(tree, capsys):
    """The output's own files are all ours, but the scores are of them."""
    flags = ["--alpha=1", "--num_to_sample=2", "--min_example_length=1", "--direct_num_workers=1"]
    raw = "--raw=data/*.jsonl"
    assert select.run([*flags, raw, "--target=t.jsonl", "--output=data/out"]) == 0
    again = ["--raw=data/out/part-*.jsonl", "--target=t.jsonl", "--work_dir=work"]
    assert select.run([*flags, *again, "--output=second"]) == 0
    before = contents(tree / "data")
    capsys.readouterr()
    assert resample.run(["--work_dir=work", "--output=data/out", "--num_to_sample=1", "--overwrite"]) == 2
    assert f"--work_dir: {tree}/data/out/part-00000-of-00001.jsonl reaches into" in capsys.readouterr().err
    assert contents(tree / "data") == before
