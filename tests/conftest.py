"""Settings and fixtures for all tests."""

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
