"""A command on a terminal of its own."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
ROWS, COLUMNS = 40, 150


class OnTerminal:
    """A process whose standard error is a terminal, and whose standard output is not.

    Attributes:
        process: the process.
        written: (seconds since the start, text) of what it has written to the terminal.
    """

    def __init__(self, command, **options):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm"}
        self._start = time.monotonic()
        self.written = []
        self.process = subprocess.Popen(
            command, stderr=theirs, stdout=subprocess.PIPE, text=True, env=environment, **options
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=[ours], daemon=True)
        self._reader.start()

    def _read(self, terminal):
        with open(terminal, "rb", buffering=0) as file:
            while True:
                try:
                    data = file.read(1 << 16)
                except OSError:  # the end of the last process that has the terminal
                    return
                self.written.append((time.monotonic() - self._start, data.decode(errors="replace")))

    @property
    def text(self):
        """All that was written, without what moves the cursor and colours."""
        return _CONTROL.sub("", self.raw)

    @property
    def raw(self):
        """All that was written."""
        return "".join(text for _, text in self.written)

    def seen_at(self, text):
        """After how many seconds a text was written."""
        raw = ""
        for seconds, more in self.written:
            raw += more
            if text in raw:
                return seconds
        raise AssertionError(f"{text!r} was not written, but {raw!r}")

    def end(self):
        """Exit status and what came to the standard output."""
        printed, _ = self.process.communicate(timeout=120)
        self._reader.join(10)
        return self.process.returncode, printed
