"""`LastOpened`: keeps open the file that was asked for last."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

OpenedT = TypeVar("OpenedT")


class LastOpened(contextlib.ExitStack, Generic[OpenedT]):
    """Opens files one after the other; one that is asked for again while no other was is not opened again."""

    def __init__(self, open_file: Callable[[str], AbstractContextManager[OpenedT]]) -> None:
        super().__init__()
        self._open_file = open_file
        self._path: str | None = None
        self._opened: OpenedT

    def get(self, path: str) -> OpenedT:
        """What is open of the file at a path."""
        if path != self._path:
            self.close()
            self._path = None  # until it is open
            self._opened = self.enter_context(self._open_file(path))
            self._path = path
        return self._opened
