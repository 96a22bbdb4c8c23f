"""Settings and fixtures for all tests."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
from apache_beam.runners.worker import statecache
from hypothesis import settings

from hir_transforms.commands import display
from hir_transforms.embeddings.distill import write_distilled
from hir_transforms.embeddings.model import find_model
from hir_transforms.runners import local
from hir_transforms.runners.beam_internals import methods_inspected_once
from tests.helpers.forking import ForkedWorker
from tests.helpers.memory_filesystem import MemoryFileSystem
from tests.helpers.models import write_small_transformer

# A loaded machine is no failure. Elsewhere the examples are new ones in each run, in CI the same ones for each commit.
settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("project")

# The files that take a minute or more, the longest first: one that starts last leaves all other cores idle.
LONG = (
    *("test_docs.py", "runners/test_limits.py", "pipelines/test_select.py", "pipelines/test_s3.py"),
    *("pipelines/test_killed.py", "runners/test_interruption.py", "runners/test_prism.py", "pipelines/test_score.py"),
    *("pipelines/test_google_cloud.py", "test_packaging.py", "runners/test_portable.py", "pipelines/test_embed.py"),
    *("common/test_messages.py", "selection/test_select.py", "pipelines/test_scale.py", "runners/test_flink.py"),
)


def pytest_collection_modifyitems(items):
    """Puts the tests of long files first."""
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


@pytest.fixture(autouse=True)
def like_a_short_command(monkeypatch):
    """Beam inspects each method of a DoFn once, as in a command and its workers; no run takes 30 seconds.

    Nor does Beam look for the size of side inputs that it keeps: that takes longer than to read small ones again.
    """
    monkeypatch.setattr(display, "_LINE_SECONDS", threading.TIMEOUT_MAX)
    monkeypatch.setattr(statecache, "get_deep_size", lambda *_: 64)
    with methods_inspected_once():
        yield


@pytest.fixture(autouse=True)
def forked_workers(request, monkeypatch):
    """Worker processes of commands in this process are forked, but for what is about how they start."""
    if request.module.__name__ != "tests.runners.test_local":
        monkeypatch.setattr(local, "start_process", ForkedWorker)


@pytest.fixture(scope="session")
def small_transformer(tmp_path_factory):
    """Folder of a small sentence-transformers model."""
    return write_small_transformer(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture(scope="session")
def static_folder(small_transformer, tmp_path_factory):
    """Folder of the static model distilled from it."""
    folder = tmp_path_factory.mktemp("static") / "distilled"
    write_distilled(find_model(small_transformer), str(folder))
    return str(folder)


@pytest.fixture
def memory_store():
    """The file system of `mem://` URLs, empty."""
    MemoryFileSystem.clear()
    yield MemoryFileSystem
    MemoryFileSystem.clear()


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no command mount")
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.strip()}")
    yield str(folder)
    subprocess.run(["umount", str(folder)], check=True)
