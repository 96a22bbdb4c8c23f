"""The settings of what is read: which files, and which of their documents belong to which target."""

import functools
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hir_transforms.common.errors import UserError
from hir_transforms.common.settings import COUNTING, READING_TEXT, SCORING, Kind, Settings, setting
from hir_transforms.common.user_functions import UserFunction, user_function
from hir_transforms.documents.datasets import is_unicode, split_patterns
from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.text_fields import checked_names
from hir_transforms.files import hub

_WILDCARD = re.compile(r"[*?\[]")
_FILE = r"[a-z][a-z0-9+.-]*://[^/,\s]+/[^,]+"
_PATTERN = r"@?[a-z][a-z0-9+.-]*://[^/,\s]+/(\[,\]|[^,])+"


def split(value: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Patterns with commas between them, or of a list of such; none of an empty text."""
    parts = [value] if isinstance(value, str | os.PathLike) else value
    return tuple(pattern for part in parts for pattern in split_patterns(os.fspath(part)))


def absolute_path(value: str | os.PathLike[str]) -> str | None:
    """A folder or file as every worker finds it, without a slash at the end; None for an empty name."""
    if not (path := os.fspath(value)):
        return None
    path = path.rstrip("/") or path
    if not is_unicode(path):
        raise UserError(f"{path!r} is not valid UTF-8; choose another name")
    if "://" in path and _WILDCARD.search(path):  # by a pattern alone can a folder of an object store be listed
        raise UserError(f"{path}: the name of a folder in an object store must not hold any of * ? [")
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))


def _folder(value: str | os.PathLike[str]) -> str | None:
    path = absolute_path(value)
    if path and path.startswith(f"{hub.SCHEME}://"):
        raise ValueError("a folder that can be written, which the hub is not")
    return path


PATTERNS = Kind(split, "PATTERN[,PATTERN]", f"{_PATTERN}(,{_PATTERN})*", is_patterns=True)
FILES = Kind(split, "FILE[,FILE]", f"{_FILE}(,{_FILE})*")
FILE = Kind(absolute_path, "FILE", _FILE)
FOLDER = Kind(_folder, "DIR", r"[a-z][a-z0-9+.-]*://[^/,\s]+/[^*?\[]+")

_input = functools.partial(setting, task="input", commands=READING_TEXT)


def _id_field(name: str) -> str | None:
    if name:
        IdParser(name)
    return name or None


def _function(value: str | Callable[[Any], Any] | UserFunction) -> UserFunction | None:
    return user_function(value) if value else None


FUNCTION = Kind(_function, "MODULE:FUNCTION", r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*")


def _target_text_field(names: str) -> str | None:
    return checked_names(names) or None


@dataclass(frozen=True, kw_only=True)
class InputOptions(Settings):
    """The raw and the target documents."""

    raw: tuple[str, ...] = _input(
        (),
        "JSON lines (.gz .bz2 .xz .zst), Parquet or Arrow to select from; @FILE: those that a file lists, one a line",
        kind=PATTERNS,
    )
    target: tuple[str, ...] = _input((), "documents of the wanted kind, named as for --raw", kind=PATTERNS)
    id_field: str | None = _input(
        None,
        "field of an id of the raw documents, to keep with the scores",
        commands=SCORING,
        kind=Kind(_id_field, "NAME", ".+"),
    )
    target_text_field: str | None = _input(
        None,
        "field that holds the text in --target, where it is another than --text_field",
        kind=Kind(_target_text_field, "NAME[,NAME]", ".+"),
    )
    raw_load_dataset_fn: UserFunction | None = _input(
        None, "function of yours that takes a path of --raw and gives its records, dicts", kind=FUNCTION
    )
    raw_parse_example_fn: UserFunction | None = _input(
        None, "function of yours that takes a record and gives its text, instead of --text_field", kind=FUNCTION
    )
    target_load_dataset_fn: UserFunction | None = _input(None, "the same for --target", kind=FUNCTION)
    target_parse_example_fn: UserFunction | None = _input(None, "the same for --target", kind=FUNCTION)
    separate_targets: bool = _input(
        False,
        "each pattern (or @FILE) of --target is a target with its own weights and share",
        task="several targets",
        commands=COUNTING,
    )

    @property
    def num_targets(self) -> int:
        """How many targets have weights of their own."""
        return len(self.target) if self.separate_targets and self.target else 1
