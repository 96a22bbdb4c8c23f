"""What a command shows of itself while it runs, on the standard error: live on a terminal, else a line now and then.

It begins before Beam is imported, which takes longer than a user waits without a sign of life. There is one at a time.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

from hir_transforms.common.messages import follow_phases, warn

if TYPE_CHECKING:
    from rich.console import RenderableType

_FORBIDDING = {"--no_progress", "--no_progress=true", "--help", "-h"}
_TERMINAL_SECONDS = 1.0
_LINE_SECONDS = 30.0
# Drawing takes milliseconds: it is not to be felt.
_SHARE_OF_TIME = 0.002
_BAR_WIDTH = 24
_MARKS = {"waiting": " ", "running": "›", "done": "✓"}


@dataclass(frozen=True)
class Line:
    """What is shown of a stage.

    Attributes:
        name: of the stage.
        state: what it is at.
        text: how far it is.
        share: of its work that is done, from 0 to 1; None where it is not known.
    """

    name: str
    state: Literal["waiting", "running", "done"]
    text: str = ""
    share: float | None = None


class Display:
    """Shows what it is told last until it is closed.

    Args:
        command: what runs, "hir select".
        stream: to write to; others may put another in the place of the standard error meanwhile.
    """

    def __init__(self, command: str, stream: TextIO) -> None:
        self._command = command
        self._stream = stream
        self._phase = "starting"
        self._lines: Sequence[Line] = ()
        self._began = time.monotonic()
        self._closed = threading.Event()
        self._live = None
        if stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=stream)
            if not console.is_dumb_terminal:
                self._live = Live(
                    console=console,
                    get_renderable=self._draw,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                )
                self._live.start(refresh=True)
        self._thread = threading.Thread(name="display", target=self._repeat, daemon=True)
        self._thread.start()

    def show(self, phase: str, lines: Sequence[Line] = ()) -> None:
        """What the command is at, and how far its stages are."""
        self._phase, self._lines = phase, lines

    def close(self) -> None:
        """Takes away what is shown."""
        self._closed.set()
        self._thread.join()
        if self._live:
            self._live.stop()

    def _repeat(self) -> None:
        pause = _TERMINAL_SECONDS if self._live else _LINE_SECONDS
        while not self._closed.wait(pause):
            if self._live:
                began = time.thread_time()
                self._live.refresh()
                pause = max(_TERMINAL_SECONDS, (time.thread_time() - began) / _SHARE_OF_TIME)
            else:
                warn(self._in_a_line(), self._stream)

    def _in_a_line(self) -> str:
        """What is shown, as one line."""
        running = "; ".join(f"{line.name}: {line.text}" for line in self._lines if line.state == "running")
        return f"{self._command}: {running or self._phase} ({duration(time.monotonic() - self._began)})"

    def _draw(self) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        title = Text(f"{self._command}: {self._phase} ({duration(time.monotonic() - self._began)})")
        table = Table.grid(padding=(0, 1))
        for line in self._lines:
            style = "" if line.state == "running" else "dim"
            # Without a total it moves to and fro.
            total = None if line.share is None else 1.0
            bar = ProgressBar(total, line.share or 0.0, width=_BAR_WIDTH) if line.state == "running" else Text("")
            table.add_row(Text(_MARKS[line.state], style), Text(line.name, style), bar, Text(line.text, style))
        return Group(title, table)


def duration(seconds: float) -> str:
    """A time as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


_shown: list[Display] = []


@contextlib.contextmanager
def shown(command: str, arguments: Sequence[str] | None) -> Iterator[None]:
    """Within the block it is shown what a command does, unless its arguments are None, forbid it or ask for help."""
    forbidden = arguments is None or not _FORBIDDING.isdisjoint(arguments)
    if not (forbidden or _shown or sys.stderr is None):
        _shown.append(Display(command, sys.stderr))
    try:
        yield
    finally:
        end()


def show(phase: str, lines: Sequence[Line] = ()) -> None:
    """Shows what the command is at, and how far its stages are; nothing where nothing is shown."""
    for display in _shown:
        display.show(phase, lines)


follow_phases(show)


def end() -> None:
    """Takes away what is shown, if there is anything; before anything else is printed that stays."""
    while _shown:
        _shown.pop().close()
