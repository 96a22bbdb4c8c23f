"""The page of documentation that lists all flags, made of the declared settings.

It is run with `python -m hir_transforms.settings.flags_page FILE`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hir_transforms.common.settings import ALL_COMMANDS, FROM_RAW, KEEPING, Setting
from hir_transforms.settings.commands import by_task
from hir_transforms.settings.config import SETTINGS

_HEADER = """# Flags

`hir help COMMAND` lists those that a command reads; one that it does not read is an error. Every option of Beam is a
flag too, such as `--runner` and `--direct_num_workers` (by default all cores). `resample`* reads a flag only together
with `--raw`: without it, the scores are taken as they are. `plan` reads those of `select`.
"""


def flags_page() -> str:
    """The page, as Markdown."""
    sections = [_HEADER]
    for task, settings in by_task(SETTINGS.values()).items():
        rows = ["| flag | default | commands | what it does |", "| --- | --- | --- | --- |", *map(_row, settings)]
        sections.append("\n".join([f"## {task[:1].upper()}{task[1:]}", "", *rows, ""]))
    return "\n".join(sections)


def _row(one: Setting) -> str:
    flag = f"`--{one.name} {one.declaration.metavar}`" if one.declaration.metavar else f"`--{one.name}`"
    commands = ("resample*" if name == FROM_RAW else name for name in _commands(one))
    without = [f"{name}: none" for name in one.declaration.no_default_in]
    cells = (flag, "; ".join([one.shown_default, *without]), ", ".join(commands), one.declaration.help)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _commands(one: Setting) -> Sequence[str]:
    named = {KEEPING: "all but evaluate", ALL_COMMANDS: "all"}
    return [named[one.declaration.commands]] if one.declaration.commands in named else one.declaration.commands


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the page into the file that is named; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m hir_transforms.settings.flags_page", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.parse_args(argv).file.write_text(flags_page(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
