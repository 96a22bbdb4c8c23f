"""The arguments of a command, in a Python that takes the names of files for UTF-8."""

import os
import sys

_UTF8_MODE = "PYTHONUTF8"


def arguments() -> list[str]:
    """The arguments of this process.

    Where Python takes names of files for something else than UTF-8, as it may in the C locale, the process starts anew
    in the mode in which it does not: names go into files and to workers, and must be the same everywhere.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get(_UTF8_MODE) != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, _UTF8_MODE: "1"})
    return sys.argv[1:]
