"""Counts, settings, files and sizes in words, for what a command tells of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MOST_FILES = 3
_MOST_CHANGES = 3


def size(num_bytes: float) -> str:
    """A number of bytes, as 31.0 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"


def counts(counted: Mapping[str, Any]) -> str:
    """Numbers by name; of a list how long it is, of a group what is in it, and nothing of what is empty."""
    return ", ".join(_count(name, value) for name, value in counted.items() if value not in (None, [], {})) or "none"


def _count(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{name} ({settings(value)})"
    if isinstance(value, list):
        return f"{len(value):,} {name}"
    if isinstance(value, float):
        return f"{name} {value:.6g}"
    return f"{name} {value}" if isinstance(value, str | bool) else f"{int(value):,} {name}"


def settings(given: Mapping[str, Any] | None) -> str:
    """Settings by name, also those of groups; nothing of what is not set."""
    parts = []
    for name, value in (given or {}).items():
        if isinstance(value, Mapping):
            parts.append(settings(value))
        elif value not in (None, []):
            parts.append(f"{name} {','.join(map(str, value)) if isinstance(value, list) else value}")
    return ", ".join(filter(None, parts))


def paths(names: Sequence[str]) -> str:
    """The first few of many paths, and how many more there are."""
    more = len(names) - _MOST_FILES
    return ", ".join([*names[:_MOST_FILES], *([f"{more:,} more"] if more > 0 else [])])


def changes(found: Sequence[str]) -> str:
    """What has changed, the first few of many."""
    more = len(found) - _MOST_CHANGES
    return "; ".join([*found[:_MOST_CHANGES], *([f"{more} more"] if more > 0 else [])])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows of a table as lines, with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
