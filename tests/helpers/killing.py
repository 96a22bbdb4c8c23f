"""A process that is killed at a chosen step of what it does to files."""

import gc
import os
import signal
import sys

_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def kill_at(step, act, folder):
    """Calls `act` in a process of its own, killed before its change of number `step` to files below a folder.

    Returns:
        Whether it came that far; else it has ended by itself, without an error.
    """
    process = os.fork()
    if process == 0:
        status = 1
        gc.disable()  # what earlier tests have left may remove files of its own
        try:
            sys.addaudithook(_killer(step, folder))
            act()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


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
