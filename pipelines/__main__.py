"""The `hir` command: hands its arguments to the pipeline named first."""

import importlib
import sys
from collections.abc import Sequence

from pipelines import command_line

COMMANDS = {
    "select": "select raw documents distributed like the target, end to end",
    "resample": "select again from the scores of an earlier selection",
    "embed": "embed raw or target documents once, for any number of selections",
    "demo": "build a small labelled corpus from installed packages and select from it",
}


def usage() -> str:
    """The help text: how to call `hir`, and one line for each command."""
    width = max(map(len, COMMANDS))
    commands = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        ["usage: hir COMMAND [OPTION ...]", "", *commands, "", "'hir COMMAND --help' lists the options of a command."]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; only the module of the command asked for is imported.

    Args:
        argv: The arguments after `hir`; by default those of the process.

    Returns:
        The exit status: that of the command, or 2 where no known command is named.
    """
    arguments = list(command_line.arguments() if argv is None else argv)
    if not arguments:
        print(usage(), file=sys.stderr)
        return 2
    command, *options = arguments
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in COMMANDS:
        print(f"hir: unknown command {command!r} (one of: {', '.join(COMMANDS)})", file=sys.stderr)
        return 2
    status: int = importlib.import_module(f"pipelines.{command}").run(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
