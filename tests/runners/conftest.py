"""A corpus with embeddings brought along, and what the local runner selects from it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines import embedding_graph, select
from pipelines.docstring_corpus import write_corpus

ROOT = Path(__file__).parents[2]
PRISM = ROOT / ".tools" / "bin" / "prism"
DIMENSIONS = 16
SETTINGS = ["--num_to_sample=30", "--num_shards=3", "--raw_components=4", "--target_components=2", "--gmm_max_iter=5"]


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Selection:
    """Runs `select` with alpha 0.5 on the same documents and embeddings again and again."""

    def __init__(self, folder):
        self.raw, self.target = write_corpus(folder / "corpus", {"scipy": 60, "scikit-learn": 80, "numpy": 40}, 40)
        self.folder = folder
        generator = np.random.default_rng(0)
        for path, center in ((self.raw, 0), (self.target, 1)):
            rows = generator.normal(center, size=(len(path.read_text().splitlines()), DIMENSIONS))
            np.save(folder / f"{path.stem}.npy", rows.astype(np.float32))

    def run(self, name, *flags):
        """Exit status; the result is in the folder `name`."""
        given = [f"--{path.stem}_embeddings={self.folder / path.stem}.npy" for path in (self.raw, self.target)]
        paths = [f"--raw={self.raw}", f"--target={self.target}", f"--output={self.folder / name}"]
        return select.run([*paths, *given, *SETTINGS, *flags])

    def result(self, name):
        """Every file of the output and of the work folder."""
        return contents(self.folder / name), contents(self.folder / f"{name}.work")


@pytest.fixture(scope="session")
def selection(tmp_path_factory):
    selection = Selection(tmp_path_factory.mktemp("selection"))
    assert selection.run("local", "--direct_num_workers=1") == 0
    return selection


@pytest.fixture
def unrolled(monkeypatch):
    """Every iteration of EM a step of the graph, as for a large corpus."""
    monkeypatch.setattr(embedding_graph, "_UNROLL_BYTES", 0)


@pytest.fixture(scope="session")
def prism():
    """Beam's portable runner, where it is installed."""
    if not PRISM.is_file():
        reason = f"Prism is not installed ({PRISM}): 'make tools' builds it, which needs Go"
        if os.environ.get("HIR_REQUIRE_PRISM"):
            pytest.fail(reason)
        pytest.skip(reason)
    return PRISM


def free_port():
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


def wait_until_it_listens(port):
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("localhost", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class WorkerPool:
    """Beam's worker pool as a process of its own, which starts a worker process for each job."""

    def __init__(self, log, environment=None):
        port = free_port()
        # It starts its workers by the name "python".
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"],
                env=os.environ | {"PATH": path} | (environment or {}),
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        wait_until_it_listens(port)
        self.log = log
        self.flags = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{port}"]

    @property
    def workers_started(self):
        return self.log.read_text().count("Starting worker with command")

    def stop(self):
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="session")
def worker_pool(tmp_path_factory):
    pool = WorkerPool(tmp_path_factory.mktemp("pool") / "log")
    yield pool
    pool.stop()
