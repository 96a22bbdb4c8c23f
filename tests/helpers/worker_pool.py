"""Beam's worker pool on this machine."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.ports import free_port, wait_until_it_listens

ROOT = Path(__file__).parents[2]


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
