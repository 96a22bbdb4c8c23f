"""What a command tells the user, on a standard output that may be closed at any time (`hir ... | head -1`)."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TextIO

from hir_transforms.common.errors import UserError

_is_quiet = ContextVar("is_quiet", default=False)
_followers: list[Callable[[str], None]] = []


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the block `tell` prints nothing: a caller of Python gets what a command tells as a value."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def tell(text: str) -> None:
    """Prints to the standard output; does nothing where its reader is gone, for the work is done all the same.

    Raises:
        UserError: if it cannot be written to for another reason, such as a full disk.
    """
    if not _is_quiet.get() and (error := _print(text, sys.stdout)):
        raise UserError(f"cannot write to the standard output: {error.strerror}")


def flush() -> None:
    """Writes what others have printed, as `tell` does."""
    _print("", sys.stdout, end="")


def warn(text: str, stream: TextIO | None = None) -> None:
    """Prints to the standard error, or to what it was before; does nothing where that cannot be written to."""
    _print(text, stream or sys.stderr)


def follow_phases(follower: Callable[[str], None]) -> None:
    """Has a function called with each phase that a command enters."""
    _followers.append(follower)


def enter_phase(phase: str) -> None:
    """Tells what is about to take long to whoever shows it while it does."""
    for follower in _followers:
        follower(phase)


def _print(text: str, stream: TextIO, end: str = "\n") -> OSError | None:
    try:
        print(text, file=stream, end=end, flush=True)
    except OSError as error:
        # What is in the stream's buffer would be tried again, and fail again, at the end of the process.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        return None if isinstance(error, BrokenPipeError) else error
    return None
