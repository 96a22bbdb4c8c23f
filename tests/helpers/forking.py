"""Processes forked from a clean one that has imported everything: nothing of what tests have started comes along.

A fork of the tests' own process has the state of gRPC's threads but not the threads, and may crash at any time.
"""

import multiprocessing
import os
import sys
from multiprocessing import forkserver

from hir_transforms.runners import worker

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.helpers.preloaded", "pytest"])


class ForkedWorker:
    """A worker process of the local runner that need not import Beam first, as `subprocess.Popen` of it."""

    def __init__(self, messages):
        _start_server()
        read, write = CONTEXT.Pipe(duplex=False)
        path = f"/proc/{os.getpid()}/fd/{messages.fileno()}"
        self._process = CONTEXT.Process(target=_work, args=(read, path, os.getcwd(), dict(os.environ)), daemon=True)
        self._process.start()
        read.close()
        self.pid, self.kill = self._process.pid, self._process.kill
        self.stdin = os.fdopen(os.dup(write.fileno()), "wb")
        write.close()

    def wait(self):
        self._process.join()
        return self._process.exitcode


def _start_server():
    """With the environment of a worker, which what is numerical reads when it is imported."""
    before = dict(os.environ)
    for name, value in worker.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        forkserver.ensure_running()
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]


def _work(read, messages, folder, environment):
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(read.fileno(), 0)
    with open(messages, "ab") as file:
        os.dup2(file.fileno(), 2)
    sys.stdin = os.fdopen(0)
    worker.main()
