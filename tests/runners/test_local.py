"""Worker processes of the local runner: how they are started, and what is said of one that is not."""

import os
import subprocess
import sys
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.runners import worker
from hir_transforms.runners.local import MultiProcessRunner, WorkerDiedError
from pipelines import select
from tests.helpers.corpora import jsonl

ROOT = Path(__file__).parents[2]
TWO_WORKERS = ["--direct_num_workers=2", "--direct_running_mode=in_memory"]


def run_on_two_workers(function):
    pipeline = beam.Pipeline(runner=MultiProcessRunner(), options=PipelineOptions(TWO_WORKERS))
    pipeline | beam.Create([1]) | beam.Map(function)
    pipeline.run()


def test_an_interpreter_that_cannot_be_started_ends_the_run(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerDiedError, match=r"cannot be started \(.*'/nowhere/python'\)"):
        run_on_two_workers(str)


def test_what_a_worker_said_last_is_told(monkeypatch, tmp_path):
    broken = tmp_path / "worker.py"
    broken.write_text("import sys\nprint('chatter', file=sys.stderr)\nraise ImportError('no such thing')\n")
    monkeypatch.setattr(worker, "__file__", str(broken))
    with pytest.raises(WorkerDiedError) as caught:
        run_on_two_workers(str)
    assert str(caught.value) == (
        "a worker process died (exit status 1: ImportError: no such thing); "
        "the same command goes on with what is finished"
    )


def test_a_worker_that_aborts_is_told_with_what_it_said():
    with pytest.raises(WorkerDiedError, match=r"killed by signal 6: .*the end") as caught:
        run_on_two_workers(lambda _: (os.write(2, b"the end\n"), os.abort()))
    assert "\n" not in str(caught.value)


def write_corpus(folder, files=1):
    folder.mkdir()
    for number in range(files):
        texts = [f"some words of document {number} {index}" for index in range(20)]
        (folder / f"{number:0>100}.jsonl").write_bytes(jsonl(texts))
    return ",".join(f"{folder}/{number:0>100}.jsonl" for number in range(files))


def test_lists_of_files_longer_than_an_environment_variable(tmp_path):
    raw = write_corpus(tmp_path / "raw", files=1200)
    assert len(raw) > 128 << 10
    options = [f"--raw={raw}", f"--target={write_corpus(tmp_path / 'target')}", f"--output={tmp_path / 'out'}"]
    assert select.run([*options, "--num_to_sample=5", "--alpha=1", "--min_example_length=0", *TWO_WORKERS[:1]]) == 0


def test_a_folder_with_a_package_of_the_same_name(tmp_path):
    write_corpus(tmp_path / "raw")
    for name in ("pipelines", "hir_transforms", "apache_beam"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "json.py").write_text("raise SystemExit('nor this one')\n")
    # What the script `hir` of an installation does.
    launch = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pipelines.__main__ import main; sys.exit(main())"
    options = ["--raw=raw/*.jsonl", "--target=raw/*.jsonl", "--output=out", "--num_to_sample=5", "--alpha=1"]
    subprocess.run(
        [sys.executable, "-P", "-c", launch, "select", *options, "--min_example_length=0", "--direct_num_workers=2"],
        cwd=tmp_path,
        check=True,
    )
    assert len((tmp_path / "out" / "part-00000-of-00001.jsonl").read_bytes().splitlines()) == 5
