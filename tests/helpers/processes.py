"""Processes that a test has started, seen by the kernel."""

import os
import time
from pathlib import Path


def children(process):
    """Ids of the living processes that a process has started itself."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parts = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if parts[1] == str(process) and parts[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def is_alive(process):
    """Whether there is a process of this id that has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds):
    """Polls until the condition holds; False if it does not in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def files_below(folder):
    """Relative paths of all files and folders."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, folders, names in os.walk(folder)
        for name in (*folders, *names)
    )
