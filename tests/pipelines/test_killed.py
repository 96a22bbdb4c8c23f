"""The real command, killed with SIGKILL in every stage, and a worker process of it."""

import os
import re
import shutil
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from hir_transforms.artifacts.runs import RUNS
from tests.helpers.commands import Command
from tests.helpers.corpora import jsonl
from tests.helpers.processes import children, is_alive

ROOT = Path(__file__).parents[2]
# In the order in which the command names them.
STAGES = (
    "documents",
    "counts/raw",
    "counts/target",
    "ngram",
    "ngram_weights",
    "embeddings/raw",
    "gmm/raw",
    "embeddings/target",
    "gmm/target-0",
    "gmm_weights",
    "scores",
)
# Those that are written by the same steps as another.
TWINS = ("documents", "counts/target")
TEMPORARY = re.compile(r"\.tmp-\w+$")
# No run of this corpus takes that long, however busy the machine is.
PATIENCE = 120


class Run:
    """`hir select` on a small corpus, in processes of its own, with what it left so far in `folder`."""

    def __init__(self, corpus, folder):
        self.output, self.work = folder / "out", folder / "out.work"
        self._at_start = self._list()
        # Whether that is all that is left to it: another was killed when its output was complete.
        self.only_moves = (folder / "out.incomplete" / "output" / "manifest.json").exists()
        arguments = {
            **{role: corpus / f"{role}.jsonl" for role in ("raw", "target")},
            **{f"{role}_embeddings": corpus / f"{role}.npy" for role in ("raw", "target")},
            **{"raw_components": 3, "target_components": 2, "min_example_length": 1},
            "target_laplace_smoothing": 1,  # else a line tells that the target has few n-grams
            **{"num_to_sample": 100, "num_shards": 4, "direct_num_workers": 2, "output": self.output},
        }
        flags = [f"--{name}={value}" for name, value in arguments.items()]
        self.process = Command(["select", *flags], ROOT, workers=2)

    def end(self):
        """Exit status and what was printed."""
        return self.process.end(PATIENCE)

    def workers(self):
        """Process ids of the workers."""
        return children(self.process.pid)

    def files(self):
        """Paths relative to the folder of the test, of the work folder and of the output, finished or not."""
        return set(self._list())

    def has_written(self, *prefixes):
        """Whether this run has made a file whose path starts so, finished or not, but for the mark of a start."""
        return any(
            path.startswith(prefixes) and not path.endswith("/_started.json") and self._at_start.get(path) != made
            for path, made in self._list().items()
        )

    def _list(self):
        folder, found = self.output.parent, {}
        for parent, _, names in os.walk(folder):
            for path in (os.path.join(parent, name) for name in names):
                with suppress(FileNotFoundError):
                    stat = os.stat(path)
                    found[os.path.relpath(path, folder)] = (stat.st_ino, stat.st_mtime_ns)
        return {path: made for path, made in found.items() if ".lock/" not in path and not path.endswith(RUNS)}


def wait_for(condition, run):
    """Polls until the condition holds; False if the run ended before."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        if run.process.poll() is not None:
            return False
        time.sleep(0.002)
    raise TimeoutError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with raw and target, and their embeddings."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    for role, size in (("raw", 400), ("target", 30)):
        texts = [" ".join(f"w{word}" for word in generator.integers(0, 300, 200)) for _ in range(size)]
        (folder / f"{role}.jsonl").write_bytes(jsonl(texts))
        np.save(folder / f"{role}.npy", generator.normal(size=(size, 8)).astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def reference(corpus, tmp_path_factory):
    """(content by path, stages in the order in which they ended) of an undisturbed run."""
    folder = tmp_path_factory.mktemp("reference")
    run = Run(corpus, folder)
    status, printed = run.end()
    assert (status, run.files() - finished(run)) == (0, set()), printed
    ended = {stage: (run.work / stage / "_manifest.json").stat().st_mtime_ns for stage in STAGES}
    return {path: (folder / path).read_bytes() for path in run.files()}, sorted(STAGES, key=ended.__getitem__)


def finished(run):
    """The files under their final names."""
    return {path for path in run.files() if path.startswith(("out/", "out.work/")) and not TEMPORARY.search(path)}


def check_complete(run, content):
    """Nothing half-written or wrong is under its final name, and the output is whole or not there."""
    for path in finished(run):
        assert (run.output.parent / path).read_bytes() == content[path], path
    if run.output.exists():
        assert {path for path in finished(run) if path.startswith("out/")} == {
            path for path in content if path.startswith("out/")
        }


def complete_stages(run):
    return [stage for stage in STAGES if (run.work / stage / "_manifest.json").exists()]


def points(order):
    """(beginnings of the paths to wait for, whom to kill): in each stage, and while the output is put together."""
    for place, stage in enumerate(stage for stage in order if stage not in TWINS):
        yield (f"out.work/{stage}/", f"out.work/{stage}.npz"), "worker" if place % 3 == 1 else "run"
    yield ("out.incomplete/",), "run"
    yield ("out.incomplete/output/selection", "out/"), "worker"
    yield ("out.incomplete/output/manifest", "out/"), "run"


def kill(run, victim):
    """Kills the run's first process alone, or one of its workers; returns its exit status and what it printed."""
    workers = run.workers()
    for process in [run.process.pid] if victim == "run" else workers[:1]:
        with suppress(ProcessLookupError):  # it was quicker
            os.kill(process, signal.SIGKILL)
    status, printed = run.end()
    end = time.monotonic() + 5
    while any(map(is_alive, workers)):
        assert time.monotonic() < end, "workers outlived their run"
        time.sleep(0.01)
    return status, printed


def test_a_run_killed_in_every_stage_ends_with_the_same_bytes(corpus, reference, tmp_path):
    content, order = reference
    for prefixes, victim in points(order):
        run = Run(corpus, tmp_path)
        before = complete_stages(run)
        # A run may be over before this process is given a look at what it writes last.
        reached = wait_for(lambda: run.has_written(*prefixes), run)  # noqa: B023
        assert reached or run.output.exists(), (prefixes, run.end())
        status, printed = kill(run, victim)
        check_complete(run, content)
        # The last ones may come a moment too late.
        assert status == (-signal.SIGKILL if victim == "run" else 1) or run.output.exists(), printed
        if victim == "worker" and status:
            assert printed.splitlines()[-1].startswith("hir select: failed: a worker process died (killed by signal 9")
            assert "Traceback" not in printed
        assert not before or run.only_moves or f"not computed again: {', '.join(before)}\n" in printed
        shutil.rmtree(run.output, ignore_errors=True)
    run = Run(corpus, tmp_path)
    if run.only_moves:
        assert run.end()[0] == 0
        shutil.rmtree(run.output)
        run = Run(corpus, tmp_path)
    status, printed = run.end()
    assert status == 0, printed
    assert f"not computed again: {', '.join(STAGES)}\n" in printed
    assert {path: (tmp_path / path).read_bytes() for path in run.files()} == content
    assert sorted(os.listdir(tmp_path)) == ["out", "out.work"]


def test_a_worker_that_dies_before_it_says_hello_ends_the_run(corpus, tmp_path):
    run = Run(corpus, tmp_path)
    assert wait_for(run.workers, run)
    status, printed = kill(run, "worker")
    assert status == 1
    assert printed.startswith("hir select: failed: a worker process died (killed by signal 9")
    assert len(printed.splitlines()) == 1


def test_a_second_run_is_refused_while_the_first_goes_on(corpus, reference, tmp_path):
    run = Run(corpus, tmp_path)
    assert wait_for((tmp_path / "out.work" / "ngram").exists, run)
    status, printed = Run(corpus, tmp_path).end()
    assert status == 2
    where = f"process {run.process.pid} on {socket.gethostname()}"
    assert printed.startswith(f"hir select: error: {run.work} is in use by another run ({where})")
    assert run.end()[0] == 0
    check_complete(run, reference[0])
