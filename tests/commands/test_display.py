import io
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hir_transforms.commands import display
from hir_transforms.commands.display import _LINE_SECONDS, Display, Line, duration
from hir_transforms.common.messages import enter_phase
from tests.helpers.corpora import jsonl
from tests.helpers.processes import wait_until
from tests.helpers.terminal import OnTerminal

ROOT = Path(__file__).parents[2]
# Smoothed, or a line would tell of the small target.
SELECT = [
    *(sys.executable, "-m", "pipelines", "select", "--alpha=1", "--num_to_sample=20", "--min_example_length=1"),
    "--target_laplace_smoothing=1",
]
PRINTED = "2000 read, 0 rejected, 0 short, 2000 eligible, 20 selected\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    words = np.random.default_rng(0).integers(0, 3000, (2000, 500)).astype(str)
    (folder / "raw.jsonl").write_bytes(jsonl(" ".join(row) for row in words))
    (folder / "target.jsonl").write_bytes(jsonl(" ".join(row) for row in words[:50]))
    return [f"--raw={folder}/raw.jsonl", f"--target={folder}/target.jsonl"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_terminal_shows_at_once_that_it_starts_and_then_the_stages(corpus, tmp_path, workers):
    command = [*SELECT, *corpus, f"--output={tmp_path}/out", f"--direct_num_workers={workers}"]
    run = OnTerminal(command, cwd=ROOT)
    assert run.end() == (0, f"{PRINTED}{tmp_path}/out\n")
    assert run.seen_at("hir select: starting") < 2
    for stage in ("documents", "counts/raw", "counts/target", "ngram", "ngram_weights", "scores"):
        assert re.search(rf"✓ {stage} ", run.text), run.text
    assert re.search(r"✓ documents +2,000 documents, 4\.\d MB", run.text)
    assert re.search(r"✓ output +20 documents", run.text)
    # What is left is an empty line, and the cursor.
    assert run.raw.rstrip().endswith("\x1b[2K")
    assert run.raw.count("\x1b[?25l") == run.raw.count("\x1b[?25h") == 1


def test_a_terminal_shows_an_error_below_what_it_takes_away(corpus, tmp_path):
    run = OnTerminal([*SELECT, *corpus, f"--output={tmp_path}/out", "--num_shards=nonsense"], cwd=ROOT)
    assert run.end() == (2, "")
    assert run.text.splitlines()[-1] == "hir select: error: --num_shards: must be a whole number, not nonsense"


@pytest.mark.parametrize("switch", ["--no_progress", "--no_progress=true"])
def test_a_terminal_shows_nothing_if_it_is_not_to(corpus, tmp_path, switch):
    run = OnTerminal([*SELECT, *corpus, f"--output={tmp_path}/out", "--direct_num_workers=1", switch], cwd=ROOT)
    assert run.end() == (0, f"{PRINTED}{tmp_path}/out\n")
    assert run.raw == ""


def test_help_is_shown_as_without_a_terminal():
    run = OnTerminal([sys.executable, "-m", "pipelines", "select", "--help"], cwd=ROOT)
    status, printed = run.end()
    assert (status, run.raw) == (0, "")
    assert "--no_progress" in printed


def test_without_a_terminal_a_line_is_written_every_30_seconds(monkeypatch):
    assert _LINE_SECONDS == 30
    monkeypatch.setattr(display, "_LINE_SECONDS", 0.05)
    stream = io.StringIO()
    shown = Display("hir select", stream)
    lines = [
        Line("ngram", "done"),
        Line("a", "running", "1 documents"),
        Line("b", "running", "2"),
        Line("c", "waiting"),
    ]
    try:
        assert wait_until(lambda: "\n" in stream.getvalue(), 10)
        shown.show("running", lines)
        assert wait_until(lambda: "1 documents" in stream.getvalue(), 10)
    finally:
        shown.close()
    written = stream.getvalue().splitlines()
    assert written[0] == "hir select: starting (0:00)"
    assert written[-1] == "hir select: a: 1 documents; b: 2 (0:00)"
    time.sleep(0.2)
    assert stream.getvalue().splitlines() == written


def test_what_takes_long_below_the_commands_is_shown(monkeypatch):
    monkeypatch.setattr(display, "_LINE_SECONDS", 0.05)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with display.shown("hir select", []):
        enter_phase("distilling a model")
        assert wait_until(lambda: "hir select: distilling a model (0:0" in stream.getvalue(), 10)


def test_without_a_terminal_a_short_run_writes_nothing(corpus, tmp_path):
    command = [*SELECT, *corpus, f"--output={tmp_path}/out", "--direct_num_workers=1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, f"{PRINTED}{tmp_path}/out\n")
    # A busy machine may take longer than half a minute.
    assert all(re.fullmatch(r"hir select: .* \(\d:[03]0\)", line) for line in run.stderr.splitlines())


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (75, "1:15"), (3599, "59:59"), (3723, "1:02:03")]
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown
