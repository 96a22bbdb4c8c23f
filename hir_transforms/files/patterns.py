"""Patterns of file names, and the files that they match, on any of Beam's file systems."""

import functools
import itertools
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from hir_transforms.common.errors import UserError
from hir_transforms.files import object_stores

FoundFile = tuple[str, int, float]  # path, size, modification time

_WILDCARD = re.compile(r"\*\*|\*|\?|\[!?+\]?+[^\]]*+\]")
_ESCAPED = re.compile(r"\[([^!])\]")
# These may match a slash, as in Beam.
_REACHES_BELOW = re.compile(r"\*\*|[?\[]")
# What Beam takes for wildcards, also in the name of an object.
_BEAM_WILDCARD = re.compile(r"[*?\[]")
_THREADS = 16
_PATHS_A_THREAD = 256
# Up to here an object store is asked for each file; beyond, for lists of folders, a thousand files a request.
_FEW = 64


def fixed_part(pattern: str) -> tuple[str, bool]:
    """What stands before a pattern's first wildcard, and whether that is all of it.

    A class of one character, such as `[[]` or `[,]`, is no wildcard but stands for that character.
    """
    fixed, end = "", 0
    for token in _WILDCARD.finditer(pattern):
        fixed += pattern[end : token.start()]
        end = token.end()
        if not (escaped := _ESCAPED.fullmatch(token[0])):
            return fixed, False
        fixed += escaped[1]
    return fixed + pattern[end:], True


def escape(path: str) -> str:
    """The pattern that matches a path alone."""
    return _BEAM_WILDCARD.sub(r"[\g<0>]", path)


@functools.lru_cache
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of the paths that a pattern matches.

    `*` matches anything but a slash, `**` anything, `?` any character, and `[a-z]` or `[!a-z]` those of a class. These
    are Beam's patterns, in which `*` does not match a backslash either.

    Raises:
        re.error: for a range such as `[z-a]`.
    """
    expression, end = "", 0
    for token in _WILDCARD.finditer(pattern):
        expression += re.escape(pattern[end : token.start()])
        expression += {"**": ".*", "*": "[^/]*", "?": "."}.get(token[0]) or _character_class(token[0])
        end = token.end()
    return re.compile(expression + re.escape(pattern[end:]), re.DOTALL)


def _character_class(token: str) -> str:
    negation, members = ("^", token[2:-1]) if token[1] == "!" else ("", token[1:-1])
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", members)
    return f"[{negation}{escaped}]"


def match_files(pattern: str) -> list[FoundFile]:
    """The files that a pattern matches, in no order.

    Links to folders are not followed where wildcards stand for them.

    Raises:
        UserError: naming a file or folder that cannot be looked at, such as a link to nothing.
        ValueError, re.error: for a URL of no file system, or a class that is none.
    """
    fixed, is_whole = fixed_part(pattern)
    if is_whole:
        found = _describe_local(fixed) if _is_local(fixed) else _describe_stored(fixed)
        return [found] if found else []
    if _is_local(fixed):
        return list(_walk(pattern, os.path.dirname(fixed)))
    matches = compile_pattern(pattern).fullmatch
    return [found for found in _list_stored(fixed) if matches(found[0])]


def look_up(paths: Sequence[str]) -> dict[str, FoundFile]:
    """The files of these paths (no patterns); those that are not there are left out.

    Raises:
        UserError: naming a file or folder that cannot be looked at.
    """
    local = [path for path in paths if _is_local(path)]
    stored = [path for path in paths if not _is_local(path)]
    parts = [local[start : start + _PATHS_A_THREAD] for start in range(0, len(local), _PATHS_A_THREAD)]
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(itertools.chain.from_iterable(pool.map(lambda part: [*map(_describe_local, part)], parts)))
        if len(stored) <= _FEW:
            found += pool.map(_describe_stored, stored)
        else:
            wanted = frozenset(stored)
            for listed in pool.map(_list_stored, _top_folders(stored)):
                found += [file for file in listed if file[0] in wanted]
    return {file[0]: file for file in found if file}


def _is_local(path: str) -> bool:
    return FileSystems.get_scheme(path) is None


def _top_folders(paths: Iterable[str]) -> Iterator[str]:
    """The folders of these paths, without those that lie in another one of them."""
    last = None
    for folder in sorted({f"{path.rpartition('/')[0]}/" for path in paths}):
        if last is None or not folder.startswith(last):
            last = folder
            yield folder


def _describe_local(path: str) -> FoundFile | None:
    """The file of this name, if there is one."""
    status = _status(path)
    return status and _describe(path, status)


def _status(path: str) -> os.stat_result | None:
    """None where there is nothing of this name."""
    try:
        return os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError) and not os.path.islink(path):
            return None
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> UserError:
    link = f" (it is a link to {os.readlink(path)})" if os.path.islink(path) else ""
    return UserError(f"cannot read {path}: {error.strerror}{link}")


def _describe(path: str, status: os.stat_result) -> FoundFile | None:
    """A file; None for a folder."""
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is a pipe or a device, not a file")
    return path, status.st_size, status.st_mtime


def _walk(pattern: str, top: str) -> Iterator[FoundFile]:
    """The files in and below a local folder that a pattern matches.

    Beam looks into all folders below, and asks the system three times about each file.
    """
    matches = compile_pattern(pattern).fullmatch
    folders = [top] if _status(top) else []
    while folders:
        folder = folders.pop()
        with object_stores.user_errors("list", folder), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if _may_hold(entry.path, pattern):
                        folders.append(entry.path)
                elif matches(entry.path) and (found := _describe_entry(entry)):
                    yield found


def _may_hold(folder: str, pattern: str) -> bool:
    """Whether a pattern may match what lies in a folder."""
    names = pattern.split("/")
    depth = folder.count("/") + 1
    upper = "/".join(names[:depth])
    if _REACHES_BELOW.search(upper):
        return True
    return depth < len(names) and compile_pattern(upper).fullmatch(folder) is not None


def _describe_entry(entry: os.DirEntry[str]) -> FoundFile | None:
    try:
        return _describe(entry.path, entry.stat())
    except OSError as error:
        raise _unreadable(entry.path, error) from None


def _describe_stored(path: str) -> FoundFile | None:
    """The object of this name, if there is one."""
    filesystem = object_stores.filesystem(path)
    with object_stores.user_errors("look for", path):
        return _found(filesystem.metadata(path)) if filesystem.exists(path) else None


def _list_stored(prefix: str) -> list[FoundFile]:
    """The objects whose names begin with a prefix."""
    plain = _BEAM_WILDCARD.split(prefix, maxsplit=1)[0]
    with object_stores.user_errors("list", prefix):
        listed = object_stores.filesystem(plain).match([f"{plain}**"])[0].metadata_list
    return [_found(metadata) for metadata in listed if metadata.path.startswith(prefix)]


def _found(metadata: FileMetadata) -> FoundFile:
    return metadata.path, metadata.size_in_bytes, metadata.last_updated_in_seconds or 0.0
