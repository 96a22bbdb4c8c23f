"""A standard output that is closed, or cannot be written to, while a command runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.corpora import jsonl

ROOT = Path(__file__).parents[2]


def run_with_closed_output(*arguments, **environment):
    """(exit status, what was printed to the standard error) of `hir` whose standard output nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "pipelines", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(writing)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["select", "--help"], ["demo", "--help"]])
def test_help_that_nobody_reads(arguments):
    assert run_with_closed_output(*arguments) == (0, "")


@pytest.mark.parametrize("buffered", ["", "1"])
def test_results_that_nobody_reads(tmp_path, buffered):
    (tmp_path / "raw.jsonl").write_bytes(jsonl([f"some words of document {number}" for number in range(20)]))
    paths = [f"--raw={tmp_path / 'raw.jsonl'}", f"--target={tmp_path / 'raw.jsonl'}", f"--output={tmp_path / 'out'}"]
    settings = ["--num_to_sample=5", "--alpha=1", "--min_example_length=0", "--direct_num_workers=1"]
    settings += ["--target_laplace_smoothing=1"]  # else a line tells that the target has few n-grams
    assert run_with_closed_output("select", *paths, *settings, PYTHONUNBUFFERED=buffered) == (0, "")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_full_disk_is_told_in_one_line():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "pipelines", "select", "--help"]
        ended = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    message = "hir select: error: cannot write to the standard output: No space left on device\n"
    assert (ended.returncode, ended.stderr) == (2, message)


def test_errors_that_nobody_reads():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "pipelines", "select", "--raw=none"]
    assert subprocess.run(command, cwd=ROOT, stderr=writing).returncode == 2
    os.close(writing)
