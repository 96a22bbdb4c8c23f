"""Locks of folders, so that two runs do not use one at the same time."""

import contextlib
import os
import socket
from collections.abc import Iterator

from filelock import FileLock, Timeout

from hir_transforms.common.errors import UserError
from hir_transforms.files import object_stores, storage

# Between the making of a lock's folder, of the file in it, and the lock, a run that ends may remove either.
_ATTEMPTS = 10
# How what is written into a lock's file begins, and the most that is read of it.
_HOLDER = "process"
_MAX_HOLDER = 1000


@contextlib.contextmanager
def locked(*folders: str) -> Iterator[None]:
    """Keeps other runs off these folders; those in object stores, which have no locks, are left out.

    The lock is one of the operating system, so it goes with the process, however that ends. Its file lies in a folder
    of its own beside the locked one: there it makes no output look used and matches no pattern of the user's.

    Raises:
        UserError: if another run, of this or another process, uses one of the folders.
    """
    with contextlib.ExitStack() as stack:
        for folder in dict.fromkeys(folders):
            if storage.is_local(folder):
                stack.enter_context(_locked(folder))
        yield


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    path = os.path.join(f"{folder}.lock", "lock")
    lock = _acquire(folder, path)
    try:
        with object_stores.user_errors("lock", folder), open(path, "w") as file:
            file.write(f"{_HOLDER} {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        # Still held: a run that has opened the file meanwhile sees that it is gone and tries again. From 3.30 on,
        # filelock leaves alone a file that may be another run's by now, when it cannot lock it and when it lets go.
        with contextlib.suppress(OSError):
            os.remove(path)
            os.rmdir(os.path.dirname(path))
        lock.release()


def _acquire(folder: str, path: str) -> FileLock:
    if (content := _read(path)) and not content.startswith(_HOLDER):
        raise UserError(f"cannot lock {folder}: {path} is not a lock's file; move it away")
    lock = FileLock(path)
    for _ in range(_ATTEMPTS):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            lock.acquire(blocking=False)
        except FileNotFoundError:
            continue
        except Timeout:
            if not os.path.exists(path):  # of a run that has just ended
                continue
            raise UserError(
                f"{folder} is in use by another run ({_holder(path)}); wait for its end, or choose another folder"
            ) from None
        except OSError as error:
            raise UserError(f"cannot lock {folder}: {error}") from None
        return lock
    raise UserError(f"cannot lock {folder}: {path} is removed again and again")


def _holder(path: str) -> str:
    return _read(path) or f"{_HOLDER} not known"


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, errors="replace") as file:
        return file.read(_MAX_HOLDER)
    return ""
