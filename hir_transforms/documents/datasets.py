"""Datasets: the files that a list of patterns names."""

import contextlib
import contextvars
import functools
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import IF_GIVEN, NO_EFFECT
from hir_transforms.common.settings import INT32_MAX, READING_TEXT, Kind, Settings, between, choice, setting
from hir_transforms.common.user_functions import UserFunction
from hir_transforms.documents.listings import Listing
from hir_transforms.documents.records import SourceFile
from hir_transforms.documents.saved_datasets import saved_files
from hir_transforms.documents.text_fields import checked_names
from hir_transforms.files import storage
from hir_transforms.files.patterns import FoundFile, fixed_part, look_up, match_files

# Before the path of a file that lists patterns, one per line.
LIST = "@"
_NOT_UNICODE = "rename the file" if sys.getfilesystemencoding() == "utf-8" else "set PYTHONUTF8=1 in the environment"
_PATTERN = re.compile(r"(?:\[,\]|[^,])+")

_Listings = dict[tuple[tuple[str, ...], str], Listing]
_listings: contextvars.ContextVar[_Listings | None] = contextvars.ContextVar("listings", default=None)

TEXT_FIELD = Kind(checked_names, "NAME[,NAME]", ".+")
_line_setting = functools.partial(setting, task="input", commands=READING_TEXT)


@dataclass(frozen=True, kw_only=True)
class LineSettings(Settings):
    """How the lines of files are read, and which of them may be rejected.

    Raises:
        UserError: naming the flag and the bad value.
    """

    text_field: str = _line_setting(
        "text",
        "field that holds the text; doc.content: field of an object; several: joined by line breaks",
        kind=TEXT_FIELD,
    )
    max_document_bytes: int = _line_setting(
        64 << 20,
        "reject longer lines, and rows with longer texts",
        check=between(1, INT32_MAX),
        shown_default="64 MiB",
    )
    # What only a run that goes on depends on: complete stages are held against them (`check_complete_stage`).
    on_bad_record: str = _line_setting(
        "reject",
        "reject lines that cannot be used, or fail at the first one",
        kind=choice("reject", "fail"),
        metadata=NO_EFFECT,
    )
    max_rejected_share: float = _line_setting(
        0.1,
        "stop where a larger share of the lines of --raw, or of --target, is rejected, however few lines there are",
        check=between(0, 1),
        metavar="P",
        metadata=NO_EFFECT,
    )


@dataclass(frozen=True)
class Dataset(LineSettings):
    """A role ("raw" or "target"), the patterns that name its files, and how to read a line.

    Attributes:
        role: "raw" or "target"; flags and messages name the dataset by it.
        patterns: local paths or URLs of any Beam file system, with wildcards; with `LIST` before it, of a file that
            lists such patterns.
        load_dataset_fn: path -> the records of the file, dicts; None for JSON lines and tables.
        parse_example_fn: record -> its text; None for the text of `text_field`.
    """

    role: str
    patterns: tuple[str, ...] = field(metadata=NO_EFFECT)  # the files that they match have
    load_dataset_fn: UserFunction | None = field(default=None, kw_only=True, metadata=IF_GIVEN)
    parse_example_fn: UserFunction | None = field(default=None, kw_only=True, metadata=IF_GIVEN)

    @property
    def is_loaded(self) -> bool:
        """Whether a function loads the records."""
        return self.load_dataset_fn is not None

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
    """Patterns from a comma-separated list, local ones made absolute so that every worker finds them.

    `[,]` is no separator, but a comma in a name.
    """
    parts = (part.strip() for part in _PATTERN.findall(patterns))
    return tuple(
        f"{LIST}{_absolute(part[1:])}" if part.startswith(LIST) else _absolute(part) for part in parts if part
    )


def listed_patterns(patterns: str) -> list[str]:
    """The patterns in the list files among those of a comma-separated list; raises `UserError` for a missing one."""
    lists = (pattern[1:] for pattern in split_patterns(patterns) if pattern.startswith(LIST))
    return [name for path in lists for name in _read_list(path)]


def _absolute(pattern: str) -> str:
    return pattern if "://" in pattern else os.path.abspath(os.path.expanduser(pattern))


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
    try:
        named = [_read_list(pattern[1:]) if pattern.startswith(LIST) else [pattern] for pattern in patterns]
        root = _common_folder([name for names in named for name in names])
        files: dict[str, SourceFile] = {}
        for number, names in enumerate(named):
            for path, size, modified in _match_in_order(names):
                if path not in files and not path.endswith("/"):
                    name = path[len(root) :].lstrip("/\\")
                    files[path] = SourceFile(len(files), path, name, size, modified, number if by_pattern else 0)
    except UserError as error:
        raise UserError(f"{flag}: {error}") from None
    return list(files.values())


def _read_list(path: str) -> list[str]:
    """The patterns in a list file, one per line; relative ones are relative to the list's folder."""
    lines = storage.read_bytes(path).decode("utf-8-sig", "surrogateescape").split("\n")
    names = [name for line in lines if (name := line.rstrip("\r"))]
    if not names:
        raise UserError(f"no file named in {path}")
    folder = path.rpartition("/")[0]
    return [_from_folder(folder, name) for name in names]


def _from_folder(folder: str, name: str) -> str:
    if "://" in name or name.startswith("/"):
        return name
    return f"{folder}/{name}" if "://" in folder else os.path.normpath(f"{folder}/{name}")


def _match_in_order(patterns: Sequence[str]) -> Iterator[FoundFile]:
    """The files that patterns match, sorted within each pattern; names without wildcards are looked up together."""
    fixed = {pattern: path for pattern in patterns for path, is_whole in [fixed_part(pattern)] if is_whole}
    known = look_up([*fixed.values()]) if len(fixed) > 1 else {}
    for pattern in patterns:
        path = fixed.get(pattern)
        found = [known[path]] if path in known else _match(pattern)
        for file in sorted(found):
            if not is_unicode(file[0]):
                raise UserError(f"the name of {file[0]!r} is not valid UTF-8; {_NOT_UNICODE}")
            yield file


def _match(pattern: str) -> list[FoundFile]:
    """The files that a pattern matches, at least one, or those of the saved dataset whose folder it names."""
    path, is_whole = fixed_part(pattern)
    if is_whole and os.path.isdir(path):
        return _of_folder(path)
    try:
        found = match_files(pattern)
        if not found and is_whole and "://" in path and match_files(f"{path.rstrip('/')}/*"):
            return _of_folder(path)
    except UserError:
        raise
    except (ValueError, re.error) as error:
        raise UserError(f"{pattern}: {error}") from None
    if not found:
        hint = ""
        if "[" in pattern and os.path.lexists(pattern):
            hint = "; there is a file of just this name: in patterns [[] stands for ["
        raise UserError(f"no file matches {pattern}{hint}")
    return found


def _of_folder(folder: str) -> list[FoundFile]:
    """The files of a dataset that `datasets` saved in a folder."""
    files = saved_files(folder)
    if not files:
        raise UserError(f"{folder} is a folder; name the files in it, such as {folder.rstrip('/')}/*.jsonl")
    found = look_up(files)
    if missing := [file for file in files if file not in found]:
        raise UserError(f"{folder} lacks {missing[0]}, which it names")
    return [*found.values()]


def is_unicode(name: str) -> bool:
    """Whether a file name can be written as UTF-8; Python stands in lone surrogates for bytes that are not."""
    return name.isascii() or name.encode(errors="replace").decode() == name


def _common_folder(patterns: Sequence[str]) -> str:
    """The deepest folder that holds everything the patterns can match ("" if they share none)."""
    folders = {fixed_part(pattern)[0].rpartition("/")[0] for pattern in patterns}
    schemes = {folder.partition("://")[0] if "://" in folder else "" for folder in folders}
    if len(schemes) != 1:
        return ""
    levels = itertools.takewhile(
        lambda names: len(set(names)) == 1, zip(*(folder.split("/") for folder in folders), strict=False)
    )
    return "/".join(names[0] for names in levels)
