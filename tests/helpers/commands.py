"""`hir` in a process of its own, which need not import anything: most of a small run's time."""

import os

from pipelines.__main__ import main
from tests.helpers.forking import CONTEXT


def run_hir(arguments, folder, printed):
    """Runs a command in a folder, with what it prints added to a file; returns its exit status."""
    process = CONTEXT.Process(target=_run, args=(arguments, folder, printed))
    process.start()
    process.join()
    return process.exitcode


def _run(arguments, folder, printed):
    os.chdir(folder)
    with open(printed, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    raise SystemExit(main(arguments))
