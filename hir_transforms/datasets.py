"""Datasets: the files that a list of patterns names."""

import contextlib
import contextvars
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from apache_beam.io.filesystem import BeamIOError, FileSystem
from apache_beam.io.filesystems import FileSystems

from hir_transforms.errors import UserError
from hir_transforms.listings import Listing
from hir_transforms.records import SourceFile

_WILDCARD = re.compile(r"[*?\[{]")
_BEAM_WILDCARD = re.compile(r"[*?\[]")
# What makes a pattern reach below the folder of its first wildcard; Beam lets these match a slash.
_REACHES_BELOW = re.compile(r"/|\*\*|[?\[]")

FoundFile = tuple[str, int, float]  # path, size, modification time
_Listings = dict[tuple[tuple[str, ...], str], Listing]
_listings: contextvars.ContextVar[_Listings | None] = contextvars.ContextVar("listings", default=None)


@dataclass(frozen=True)
class Dataset:
    """A role ("raw" or "target"), the patterns that name its files, and how to read a line.

    Attributes:
        role: "raw" or "target"; flags and messages name the dataset by it.
        patterns: local paths or URLs of any Beam file system, with wildcards.
        text_field: name of the JSON field that holds the text.
        max_document_bytes: longer lines are rejected.
    """

    role: str
    patterns: tuple[str, ...]
    text_field: str = "text"
    max_document_bytes: int = 64 << 20

    def list_files(self) -> list[SourceFile]:
        """All files, in corpus order; raises `UserError` for a pattern that matches none."""
        return list(self.listing().files)

    def listing(self) -> Listing:
        """All files, as a stage's manifest describes and keeps them; raises as `list_files` does."""
        return _listing(self.patterns, f"--{self.role}", self.role == "target")

    def target_starts(self) -> list[int]:
        """Index of the first file of each pattern of a target, and the number of files.

        Raises:
            UserError: for a pattern whose files all belong to earlier patterns.
        """
        files = self.list_files()
        starts = [sum(file.target < target for file in files) for target in range(len(self.patterns) + 1)]
        for pattern, (start, end) in zip(self.patterns, itertools.pairwise(starts), strict=True):
            if start == end:
                raise UserError(f"--{self.role}: all files of {pattern} belong to an earlier target")
        return starts


def split_patterns(patterns: str) -> tuple[str, ...]:
    """Patterns from a comma-separated list, local ones made absolute so that every worker finds them."""
    return tuple(
        pattern if "://" in pattern else os.path.abspath(os.path.expanduser(pattern))
        for pattern in (part.strip() for part in patterns.split(","))
        if pattern
    )


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Within this context, or a function that it decorates, the same patterns are listed once.

    For the launch of a pipeline, which plans every stage from the same files. It holds for its own thread, never for
    steps of a pipeline, so a stage's manifest is still written against the files as they are by then.
    """
    token = _listings.set({})
    try:
        yield
    finally:
        _listings.reset(token)


def list_files(patterns: Iterable[str], *, flag: str, by_pattern: bool = False) -> list[SourceFile]:
    """Files of several patterns in corpus order, each once; `flag` names the setting in errors.

    With `by_pattern` a file's `target` is the number of its pattern.
    """
    return list(_listing(tuple(patterns), flag, by_pattern).files)


def _listing(patterns: tuple[str, ...], flag: str, by_pattern: bool) -> Listing:
    known = _listings.get()
    if known is None:
        return Listing(_list_files(patterns, flag, by_pattern))
    if (patterns, flag) not in known:
        known[patterns, flag] = Listing(_list_files(patterns, flag, by_pattern))
    return known[patterns, flag]


def _list_files(patterns: tuple[str, ...], flag: str, by_pattern: bool) -> list[SourceFile]:
    if not patterns:
        raise UserError(f"{flag}: no file named")
    root = _common_folder(patterns)
    files: dict[str, SourceFile] = {}
    for number, pattern in enumerate(patterns):
        if os.path.isdir(pattern):
            raise UserError(f"{flag}: {pattern} is a folder; name the files in it, such as {pattern}/*.jsonl")
        try:
            matched = _match(pattern)
        except BeamIOError as error:
            raise UserError(f"{flag}: cannot list {pattern}: {error}") from None
        except (ValueError, re.error) as error:
            raise UserError(f"{flag}: {pattern}: {error}") from None
        if not matched:
            hint = f"; name the files in it, such as {pattern}/*.jsonl" if _is_folder(pattern) else ""
            raise UserError(f"{flag}: no file matches {pattern}{hint}")
        for path, size, modified in sorted(matched):
            if path not in files and not path.endswith("/"):
                name = path[len(root) :].lstrip("/\\")
                if not _is_unicode(name):
                    raise UserError(f"{flag}: the name of {path!r} is not valid UTF-8; rename the file")
                files[path] = SourceFile(len(files), path, name, size, modified, number if by_pattern else 0)
    return list(files.values())


def _match(pattern: str) -> list[FoundFile]:
    """The files that a pattern matches."""
    wildcard = _BEAM_WILDCARD.search(pattern)
    if wildcard and FileSystems.get_scheme(pattern) is None:
        return list(_match_local(pattern, wildcard.start()))
    return [
        (found.path, found.size_in_bytes, found.last_updated_in_seconds or 0.0)
        for found in FileSystems.match([pattern])[0].metadata_list
    ]


def _match_local(pattern: str, wildcard: int) -> Iterator[FoundFile]:
    """What Beam finds for a pattern, given the place of its first wildcard.

    Beam walks all folders below, and asks the system three times about each file.
    """
    matches = re.compile(FileSystem.translate_pattern(pattern)).match
    reaches_below = _REACHES_BELOW.search(pattern, wildcard)
    folders = [os.path.dirname(pattern[:wildcard])]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    if reaches_below and not entry.is_symlink():
                        folders.append(entry.path)
                elif matches(entry.path):
                    try:
                        status = entry.stat()
                    except OSError:  # gone in the meantime, or a link to nothing
                        continue
                    yield entry.path, status.st_size, status.st_mtime


def _is_folder(pattern: str) -> bool:
    """Whether a pattern of an object store that matches no file is the name of a folder."""
    return "://" in pattern and bool(FileSystems.match([f"{pattern.rstrip('/')}/*"])[0].metadata_list)


def _is_unicode(name: str) -> bool:
    """Whether a file name can be written as UTF-8; Python stands in lone surrogates for bytes that are not."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def _common_folder(patterns: Sequence[str]) -> str:
    """The deepest folder that holds everything the patterns can match ("" if they share none)."""
    folders = [_WILDCARD.split(pattern, maxsplit=1)[0].rpartition("/")[0] for pattern in patterns]
    schemes = {folder.partition("://")[0] if "://" in folder else "" for folder in folders}
    if len(schemes) != 1:
        return ""
    levels = itertools.takewhile(
        lambda names: len(set(names)) == 1, zip(*(folder.split("/") for folder in folders), strict=False)
    )
    return "/".join(names[0] for names in levels)
