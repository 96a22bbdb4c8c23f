"""Datasets: the files that a list of patterns names."""

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from hir_transforms.errors import UserError
from hir_transforms.records import SourceFile

_WILDCARD = re.compile(r"[*?\[{]")


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
        return list_files(self.patterns, flag=f"--{self.role}")


def split_patterns(patterns: str) -> tuple[str, ...]:
    """Patterns from a comma-separated list, local ones made absolute so that every worker finds them."""
    return tuple(
        pattern if "://" in pattern else os.path.abspath(os.path.expanduser(pattern))
        for pattern in (part.strip() for part in patterns.split(","))
        if pattern
    )


def list_files(patterns: Iterable[str], *, flag: str) -> list[SourceFile]:
    """Files of several patterns in corpus order, each once; `flag` names the setting in errors."""
    patterns = list(patterns)
    if not patterns:
        raise UserError(f"{flag}: no file named")
    root = _common_folder(patterns)
    files: dict[str, SourceFile] = {}
    for pattern in patterns:
        if os.path.isdir(pattern):
            raise UserError(f"{flag}: {pattern} is a folder; name the files in it, such as {pattern}/*.jsonl")
        try:
            matched = FileSystems.match([pattern])[0].metadata_list
        except BeamIOError as error:
            raise UserError(f"{flag}: cannot list {pattern}: {error}") from None
        except ValueError as error:
            raise UserError(f"{flag}: {pattern}: {error}") from None
        if not matched:
            hint = f"; name the files in it, such as {pattern}/*.jsonl" if _is_folder(pattern) else ""
            raise UserError(f"{flag}: no file matches {pattern}{hint}")
        for found in sorted(matched, key=lambda metadata: metadata.path):
            if found.path not in files and not found.path.endswith("/") and not os.path.isdir(found.path):
                name = found.path[len(root) :].lstrip("/\\")
                if not _is_unicode(name):
                    raise UserError(f"{flag}: the name of {found.path!r} is not valid UTF-8; rename the file")
                files[found.path] = SourceFile(
                    len(files), found.path, name, found.size_in_bytes, found.last_updated_in_seconds or 0.0
                )
    return list(files.values())


def _is_folder(pattern: str) -> bool:
    """Whether a pattern of an object store that matches no file is the name of a folder."""
    return "://" in pattern and bool(FileSystems.match([f"{pattern.rstrip('/')}/*"])[0].metadata_list)


def _is_unicode(name: str) -> bool:
    """Whether a file name can be written as UTF-8; Python stands in lone surrogates for bytes that are not."""
    return name.encode(errors="replace").decode() == name


def _common_folder(patterns: list[str]) -> str:
    """The deepest folder that holds everything the patterns can match ("" if they share none)."""
    folders = [_WILDCARD.split(pattern, maxsplit=1)[0].rpartition("/")[0] for pattern in patterns]
    schemes = {folder.partition("://")[0] if "://" in folder else "" for folder in folders}
    if len(schemes) != 1:
        return ""
    levels = itertools.takewhile(
        lambda names: len(set(names)) == 1, zip(*(folder.split("/") for folder in folders), strict=False)
    )
    return "/".join(names[0] for names in levels)
