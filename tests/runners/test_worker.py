"""A worker ends with the process that started it, on every system."""

import subprocess
import sys

import pytest

from hir_transforms.runners import worker
from tests.helpers.processes import is_alive, wait_until

# Starts a worker that never ends by itself, says its process id, and waits.
LAUNCHER = """
import subprocess, sys
child = "import sys, time; sys.path.insert(0, {folder!r}); import worker; {setup}; print(flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
process.stdout.readline()
print(process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("setup", ["worker.die_with_launcher()", "sys.platform = 'other'; worker.die_with_launcher()"])
def test_a_worker_ends_when_its_launcher_is_killed(setup):
    code = LAUNCHER.replace("{folder!r}", repr(worker.__file__.rpartition("/")[0])).replace("{setup}", setup)
    launcher = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    started = int(launcher.stdout.readline())
    assert is_alive(started)
    launcher.kill()
    launcher.communicate()
    assert wait_until(lambda: not is_alive(started), seconds=10)
