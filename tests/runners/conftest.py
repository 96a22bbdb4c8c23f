"""A corpus with precomputed embeddings, and what the local runner selects from it."""

import os
from pathlib import Path

import numpy as np
import pytest

from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.graph import fitting_jobs
from pipelines import select
from tests.helpers.folders import contents
from tests.helpers.worker_pool import WorkerPool

ROOT = Path(__file__).parents[2]
PRISM = ROOT / ".tools" / "bin" / "prism"
DIMENSIONS = 16
SETTINGS = ["--num_to_sample=30", "--num_shards=3", "--raw_components=4", "--target_components=2", "--gmm_max_iter=5"]
SETTINGS += ["--raw_max_samples=all", "--target_max_samples=20", "--target_laplace_smoothing=1"]


class Selection:
    """Runs `select` with alpha 0.5 on the same documents and embeddings again and again."""

    def __init__(self, folder):
        self.raw, self.target = write_corpus(folder / "corpus", {"numpy": 100, "scikit-learn": 80}, 40)
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
def by_jobs(monkeypatch):
    """The mixture of all rows fitted by jobs of a few iterations each, as of a large corpus."""
    monkeypatch.setattr(fitting_jobs, "_ONE_WORKER_BYTES", 0)


@pytest.fixture(scope="session")
def prism():
    """Beam's portable runner, where it is installed."""
    if not PRISM.is_file():
        reason = f"Prism is not installed ({PRISM}): 'make tools' builds it, which needs Go"
        if os.environ.get("HIR_REQUIRE_PRISM"):
            pytest.fail(reason)
        pytest.skip(reason)
    return PRISM


@pytest.fixture(scope="session")
def worker_pool(tmp_path_factory):
    pool = WorkerPool(tmp_path_factory.mktemp("pool") / "log")
    yield pool
    pool.stop()
