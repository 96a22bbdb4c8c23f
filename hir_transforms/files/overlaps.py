"""Whether a pattern of files to read reaches into a place that a run writes to.

A place is a folder, with a slash at its end, or a single file; a pattern is a local path or a URL with wildcards, or
without, and then it may name a folder whose files are read.
"""

import os
import re

from apache_beam.io.filesystem import FileSystem

from hir_transforms.files import storage

# The parts of a pattern that each match by themselves, as Beam reads it.
_TOKEN = re.compile(r"\*\*|\*|\[!?\]?[^\]]*\]|.", re.DOTALL)
_WILDCARD = re.compile(r"[*?\[]")


def without_links(pattern: str) -> str:
    """The same place or pattern by a path in which no folder before the first wildcard is a link."""
    if not storage.is_local(pattern):
        return pattern
    wildcard = _WILDCARD.search(pattern)
    fixed = os.path.dirname(pattern[: wildcard.start()]) if wildcard else pattern.rstrip("/")
    return os.path.realpath(fixed) + pattern[len(fixed) :]


def reaches(pattern: str, place: str) -> bool:
    """Whether a pattern can match a file in a place, now or later."""
    wildcard = _WILDCARD.search(pattern)
    if not wildcard:
        return pattern == place or (place.endswith("/") and f"{pattern}/".startswith(place))
    literal = pattern[: wildcard.start()]
    if not (literal.startswith(place) or place.startswith(literal)):
        return False
    if not place.endswith("/"):
        return bool(re.match(FileSystem.translate_pattern(pattern), place))
    # All points in the pattern that a match of the folder's name can have come to.
    tokens = _TOKEN.findall(pattern)
    matches = [re.compile(FileSystem.translate_pattern(token)).match for token in tokens]
    reached = _with_skips({0}, tokens)
    for character in place:
        passed = {at for at in reached if at < len(tokens) and matches[at](character)}
        reached = _with_skips({at if tokens[at] in ("*", "**") else at + 1 for at in passed}, tokens)
    return bool(reached)


def _with_skips(reached: set[int], tokens: list[str]) -> set[int]:
    """These points, and those that are reached from them by runs of characters that may be empty."""
    for at in sorted(reached):
        while at < len(tokens) and tokens[at] in ("*", "**"):
            at += 1
            reached.add(at)
    return reached
