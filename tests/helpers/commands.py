"""`hir` in a process of its own, which need not import anything: most of a small run's time."""

import os
import signal
import sys
import tempfile

from hir_transforms.runners import local, worker
from pipelines.__main__ import main
from tests.helpers.forking import CONTEXT
from tests.helpers.processes import is_alive


class Command:
    """A command that runs; what it prints goes to a file, and its workers are forked from it as it starts."""

    def __init__(self, arguments, folder, workers):
        self._printed = tempfile.NamedTemporaryFile("rb")  # noqa: SIM115  # as long as this object
        self._process = CONTEXT.Process(target=_run, args=(arguments, folder, self._printed.name, workers))
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self):
        """The exit status, None while it runs."""
        return self._process.exitcode

    def end(self, seconds):
        """(exit status, what was printed); it has this many seconds."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise TimeoutError
        return self._process.exitcode, self._printed.read().decode()


def run_hir(arguments, folder, printed):
    """Runs a command in a folder, with what it prints added to a file; returns its exit status."""
    process = CONTEXT.Process(target=_run, args=(arguments, folder, printed, 2))
    process.start()
    process.join()
    return process.exitcode


def _run(arguments, folder, printed, workers):
    os.setsid()
    os.chdir(folder)
    with open(printed, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    spare, start = [], local.start_process
    for _ in range(workers):
        spare.append(SpareWorker(spare))
    local.start_process = lambda messages: spare.pop(0).begin(messages) if spare else start(messages)
    raise SystemExit(main(arguments))


class SpareWorker:
    """A worker process that is there before its command has threads, as `subprocess.Popen` of it once it has begun."""

    def __init__(self, earlier):
        read, write = os.pipe()
        self.stdin = os.fdopen(write, "wb")
        self.pid = os.fork()
        if not self.pid:
            for one in (*earlier, self):
                one.stdin.close()
            os.dup2(read, 0)
            sys.stdin = os.fdopen(0)
            _wait_and_work()
        os.close(read)

    def begin(self, messages):
        self.stdin.write(f"/proc/{os.getpid()}/fd/{messages.fileno()}\n".encode())
        return self

    def wait(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self):
        if is_alive(self.pid):
            os.kill(self.pid, signal.SIGKILL)


def _wait_and_work():
    """The life of a worker."""
    try:
        messages = sys.stdin.buffer.readline().strip()
        if messages:
            with open(messages, "ab") as file:
                os.dup2(file.fileno(), 2)
            worker.main()
    finally:
        os._exit(0)
