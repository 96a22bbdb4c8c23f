"""Python with pandas and what notebooks and Beam YAML take, apart from the environment of the tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where `make suite` puts it.
NOTEBOOK = ROOT / ".tools" / f"notebook-{sys.version_info.major}.{sys.version_info.minor}"
needs_notebook = pytest.mark.skipif(
    not NOTEBOOK.is_dir(), reason=f"pandas and nbclient are not installed ({NOTEBOOK}): 'make suite' installs them"
)


def run_python(*arguments, cwd=None):
    """Runs it; returns what it prints."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{NOTEBOOK}"}
    command = [sys.executable, *arguments]
    process = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return process.stdout
