"""Ctrl-C and SIGTERM end a command in order: what it started is ended and what it left half-written is removed."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

GOES_ON = "the same command goes on with what is finished"
# A signal that comes again so soon is the same request, passed on by a shell or a supervisor too.
_SAME_REQUEST_SECONDS = 1


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to end."""


def in_a_word(interruption: KeyboardInterrupt) -> str:
    """What a signal did to the command, without the step's name that Beam adds."""
    return str(interruption).partition(" ")[0] or "interrupted"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Interrupted` in the block; one more ends the process at once.

    Signals that the process was started to ignore (`nohup`, a shell's `&`) stay ignored. Only the main thread gets
    signals; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handle = _Handler()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heeded = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)


class _Handler:
    def __init__(self) -> None:
        self._asked_at: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            raise Interrupted("interrupted" if number == signal.SIGINT else "terminated")
        if now - self._asked_at > _SAME_REQUEST_SECONDS:
            os._exit(1)
