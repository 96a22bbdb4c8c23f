"""Settings and fixtures for all tests."""

import subprocess

import pytest
from hypothesis import settings

from tests.helpers.memory_filesystem import MemoryFileSystem

# A loaded machine is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


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
