"""A million files and 100 TB, made up: what a launch takes, what it hands over, and what the corpus is cut into."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Processor seconds on two cores that others use too; it takes a third of that. Half of it is the made-up listing.
MAX_SECONDS = 90
MAX_MEGABYTES = 1200
MAX_JOB_BYTES = 5 << 20


def measure(scenario, folder):
    """What `launch_at_scale` prints; in a process of its own, whose memory can be told."""
    command = [sys.executable, "-m", "tests.helpers.launch_at_scale", scenario, str(folder)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.parametrize("scenario", ["select", "resample"])
def test_a_launch_on_a_million_files_is_bounded(scenario, tmp_path):
    found = measure(scenario, tmp_path)
    assert found["seconds"] < MAX_SECONDS
    assert found["megabytes"] < MAX_MEGABYTES
    assert found["job_bytes"] < MAX_JOB_BYTES


def test_tasks_of_a_hundred_terabytes_are_planned_in_bounded_memory(tmp_path):
    found = measure("plan", tmp_path)
    assert found["seconds"] < MAX_SECONDS
    assert found["megabytes"] < MAX_MEGABYTES
    assert 100_000 < found["tasks"] < 300_000
    assert found["task_bytes"] < 10_000
