"""Ctrl-C and SIGTERM: soon over, nothing left behind, one line that says how to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import Command
from tests.helpers.corpora import jsonl
from tests.helpers.processes import children, files_below, is_alive, wait_until
from tests.helpers.terminal import OnTerminal

ROOT = Path(__file__).parents[2]
PRISM = ROOT / ".tools" / "bin" / "prism"
# For a busy machine. An idle one takes tenths of a second.
SECONDS = 3
EMBEDDED = ["--raw_components=2", "--target_components=2"]
# Smoothed, or a line would tell of the small target.
WORDS = ("--alpha=1", "--target_laplace_smoothing=1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for role, size in (("raw", 3000), ("target", 300)):
        # To a model, so long a word is one piece: the first block of text is soon embedded.
        texts = [" ".join(f"{word:0>101}" for word in generator.integers(0, 300, 20)) for _ in range(size)]
        (folder / f"{role}.jsonl").write_bytes(jsonl(texts))
    return folder


def command(corpus, folder, *flags):
    paths = [f"--raw={corpus / 'raw.jsonl'}", f"--target={corpus / 'target.jsonl'}", f"--output={folder / 'out'}"]
    return ["select", *paths, "--num_to_sample=100", "--min_example_length=1", *flags]


def start(corpus, folder, *flags, workers=0):
    return Command(command(corpus, folder, *flags, "--no_progress", f"--direct_num_workers={workers}"), ROOT, workers)


def interrupt(process, number):
    """Sends the signal as a terminal (Ctrl-C, to all) or `kill` (SIGTERM) does.

    Returns:
        The exit status and what was printed.
    """
    started = [child for one in children(process.pid) for child in (one, *children(one))]
    at = time.monotonic()
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    status, printed = process.end(60)
    assert wait_until(lambda: not any(map(is_alive, started)), SECONDS)
    assert time.monotonic() - at < SECONDS
    return status, printed


def check_interrupted(process, number, folder):
    word = "interrupted" if number == signal.SIGINT else "terminated"
    message = f"hir select: {word}; the same command goes on with what is finished\n"
    assert interrupt(process, number) == (1, message)
    assert [name for name in os.listdir(folder) if name != "out.work"] == []
    assert [path for path in files_below(folder) if "tmp-" in path] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_terminal_shows_is_taken_away(corpus, tmp_path, workers):
    flags = [*WORDS, f"--direct_num_workers={workers}"]
    run = OnTerminal([sys.executable, "-m", "pipelines", *command(corpus, tmp_path, *flags)], cwd=ROOT)
    assert wait_until((tmp_path / "out.work" / "ngram").exists, 120)
    at = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.end() == (1, "")
    assert time.monotonic() - at < SECONDS
    assert run.text.splitlines()[-1] == "hir select: interrupted; the same command goes on with what is finished"
    assert run.raw.count("\x1b[?25l") == run.raw.count("\x1b[?25h") == 1  # the cursor


BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])


@BOTH
@pytest.mark.parametrize("workers", [1, 2])
def test_while_text_is_read(corpus, tmp_path, workers, number):
    process = start(corpus, tmp_path, *WORDS, workers=workers)
    assert wait_until((tmp_path / "out.work" / "ngram").exists, 120)
    check_interrupted(process, number, tmp_path)


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_while_documents_are_embedded(corpus, tmp_path, workers, number):
    process = start(corpus, tmp_path, *EMBEDDED, "--alpha=0", workers=workers)
    embeddings = tmp_path / "out.work" / "embeddings"
    assert wait_until(lambda: any(embeddings.rglob("*.avro*")), 120)
    check_interrupted(process, number, tmp_path)


@BOTH
def test_on_prism(corpus, tmp_path, number):
    if not PRISM.is_file():
        pytest.skip(f"Prism is not installed ({PRISM}): 'make tools' builds it, which needs Go")
    process = start(corpus, tmp_path, *WORDS, "--runner=PrismRunner")
    assert wait_until((tmp_path / "out.work" / "ngram").exists, 120)
    check_interrupted(process, number, tmp_path)


def test_before_the_command_has_begun():
    code = (
        "import os, signal, sys; from pipelines import __main__ as hir\n"
        "hir._run = lambda arguments: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(hir.main(['select']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "hir: terminated\n")


def test_a_command_told_to_ignore_the_signal_goes_on():
    code = (
        "import os, signal; from hir_transforms.runners.interruption import interruptible\n"
        "with interruptible(): os.kill(os.getpid(), signal.SIGINT)\n"
        "print('went on')"
    )
    ignoring = f"trap '' INT; exec {sys.executable} -c \"$0\""
    ended = subprocess.run(["sh", "-c", ignoring, code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "went on\n")


def test_a_second_request_ends_a_command_that_does_not_end_by_itself():
    code = (
        "import os, signal, time; from hir_transforms.runners.interruption import interruptible\n"
        "with interruptible():\n"
        "  try: os.kill(os.getpid(), signal.SIGINT)\n"
        "  finally:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"  # the same request, passed on twice
        "    print('cleans up', flush=True)\n"
        "    time.sleep(1.1)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(600)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "cleans up\n", "")
