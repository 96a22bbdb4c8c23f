"""Functions compiled for given signatures, once for a machine and kept on disk.

numba keeps machine code, for each processor model, beside the source, or in the user's cache directory where that is
not writable. It writes each file under a temporary name and moves it into place: of processes that start at once
several may compile, each on its own core, and none reads half a file.
"""

from collections.abc import Callable
from typing import Any

import numba


def compile_cached(signatures: Any, function: Callable[..., Any], **options: Any) -> Any:
    """Compiles a function, or loads it; for this process alone where nothing can be written.

    Args:
        signatures: numba's type of the function, or a list of them.
        function: what to compile.
        options: those of `numba.njit`.
    """
    try:
        return numba.njit(signatures, cache=True, **options)(function)
    except (OSError, RuntimeError):
        return numba.njit(signatures, **options)(function)
