"""The `hir` command: hands its arguments to the pipeline named first."""

import importlib
import logging
import sys
from collections.abc import Sequence

from hir_transforms import __version__
from hir_transforms.commands import command_line, display
from hir_transforms.common.messages import tell, warn
from hir_transforms.runners.interruption import in_a_word, interruptible

# The modules of this package that have a `run`.
COMMANDS = {
    "select": "select raw documents distributed like the target, end to end",
    "fit": "fit the n-gram estimator and the mixtures",
    "embed": "embed raw or target documents once, for any number of selections",
    "score": "score all raw documents",
    "plan": "tell what select would read, compute and take, and change nothing",
    "tune": "try the n-gram estimators on hidden target documents",
    "resample": "select again from the scores of an earlier selection",
    "evaluate": "measure how good selections are, and what they have in common",
    "inspect": "explain what a run has left, and which stages are stale",
    "distill": "make a static embedding model, tens of times as fast, of a transformer",
    "demo": "build a small labelled corpus from installed packages and select from it",
}

# Those that take long enough to show how far they are.
SHOWN = {"select", "fit", "embed", "score", "plan", "tune", "resample"}


def usage() -> str:
    """The help text: how to call `hir`, and one line for each command."""
    width = max(map(len, COMMANDS))
    commands = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["usage: hir COMMAND [OPTION ...]", "", *commands, "", "'hir help COMMAND' lists the options of a command."]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; only the module of the command asked for is imported.

    Args:
        argv: The arguments after `hir`; by default those of the process.

    Returns:
        The exit status: that of the command, or 2 where no known command is named.
    """
    arguments = list(command_line.arguments() if argv is None else argv)
    try:
        with interruptible():
            return _run(arguments)
    except KeyboardInterrupt as interruption:  # before the command began
        warn(f"hir: {in_a_word(interruption)}")
        return 1


def _run(arguments: list[str]) -> int:
    if not arguments:
        warn(usage())
        return 2
    command, *options = arguments
    if command == "help" and options:
        command, *options = [options[0], "--help"]
    if command in ("-h", "--help", "help"):
        tell(usage())
        return 0
    if command == "--version":
        tell(f"hir {__version__}")
        return 0
    if command not in COMMANDS:
        warn(f"hir: unknown command {command!r} (one of: {', '.join(COMMANDS)})")
        return 2
    # Beam logs this when it is imported without its Google Cloud extra; it concerns nobody who runs elsewhere.
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
    with display.shown(f"hir {command}", options if command in SHOWN else None):
        status: int = importlib.import_module(f".{command}", __package__).run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
