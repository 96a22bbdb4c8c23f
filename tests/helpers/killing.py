"""A process that is killed at a chosen step of what it does to files."""

import os
import signal
import sys

from tests.helpers.forking import CONTEXT

_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def kill_at(step, folder, act, *arguments):
    """Calls `act` in a process of its own, killed before its change of number `step` to files below a folder.

    Returns:
        Whether it came that far; else it has ended by itself, without an error.
    """
    process = CONTEXT.Process(target=_act, args=(step, folder, act, arguments))
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _act(step, folder, act, arguments):
    sys.addaudithook(_killer(step, folder))
    act(*arguments)


def _killer(step, folder):
    changes = 0

    def hook(event, arguments):
        nonlocal changes
        is_change = event in _CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        # Some calls name a file by its folder's descriptor.
        if is_change and (str(arguments[0]).startswith(folder) or not os.path.isabs(str(arguments[0]))):
            if changes == step:
                os.kill(os.getpid(), signal.SIGKILL)
            changes += 1

    return hook
