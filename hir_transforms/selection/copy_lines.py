"""Copying lines out of source files byte for byte, and rows out of tables, with few and nearly sequential reads."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from hir_transforms.common.errors import UserError
from hir_transforms.common.user_functions import UserFunction
from hir_transforms.documents.examples import ExampleLoader, LoadedLines
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.files.blocks import RandomAccess
from hir_transforms.files.last_opened import LastOpened
from hir_transforms.files.row_groups import RowReader
from hir_transforms.files.tables import is_table, open_table
from hir_transforms.selection.json_rows import to_json_lines

# Neighbouring lines come in one read: skipping so little takes longer than reading it.
_MAX_GAP = 1 << 15
_MAX_READ = 1 << 22
_NEWLINE = ord("\n")
# Of rows of a table, which are decoded so many at a time.
_BATCH_BYTES = 1 << 22

Rows = Iterable[tuple[pa.Table, dict[str, SourceFile]]]


def copy_lines(rows: Rows, load: UserFunction | None = None) -> Iterator[bytes]:
    """The lines of selected rows, each with a newline, many at a time; those of tables are made of their columns.

    Args:
        rows: tables in corpus order with the columns `file`, `offset` and `length`, and the files by path.
        load: gives the records of files, where these are selected; see `ExampleLoader`.

    Raises:
        UserError: if a file cannot be read or changed since it was scored.
    """
    if load:
        yield from _load_lines(rows, ExampleLoader(load, "raw"))
        return
    with LastOpened(storage.open_blocks) as sources, LastOpened(_open_rows) as tables:
        for file, offsets, lengths in _file_runs(rows):
            if is_table(file.path):
                for selected in tables.get(file.path).take(offsets):
                    yield to_json_lines(selected, file.path)
            else:
                yield from _copy(file.path, sources.get(file.path), offsets, lengths)


def _load_lines(rows: Rows, loader: ExampleLoader) -> Iterator[bytes]:
    with LastOpened(lambda path: contextlib.nullcontext(LoadedLines(loader, path))) as loaded:
        for file, offsets, lengths in _file_runs(rows):
            lines = loaded.get(file.path)
            for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
                yield lines.line(offset, length) + b"\n"


def copy_rows(rows: Rows) -> Iterator[pa.Table]:
    """The rows of tables that are selected, as `copy_lines`."""
    with LastOpened(_open_rows) as tables:
        for file, offsets, _ in _file_runs(rows):
            yield from tables.get(file.path).take(offsets)


@contextlib.contextmanager
def _open_rows(path: str) -> Iterator[RowReader]:
    with open_table(path) as table:
        yield RowReader(table, None, _BATCH_BYTES)


def _file_runs(rows: Rows) -> Iterator[tuple[SourceFile, np.ndarray, np.ndarray]]:
    """The rows of one file after the other, as offsets and lengths; raises `UserError` for a file that changed."""
    path: str | None = None
    for table, files in rows:
        file = table["file"].combine_chunks()
        codes = file.indices.to_numpy()
        edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        offsets, lengths = table["offset"].to_numpy(), table["length"].to_numpy()
        for begin, end in itertools.pairwise(edges):
            this: str = file.dictionary[int(codes[begin])].as_py()
            if this != path:
                _check_unchanged(files[this])
                path = this
            yield files[this], offsets[begin:end], lengths[begin:end]


def _check_unchanged(file: SourceFile) -> None:
    if (file.size, file.modified) != storage.size_and_time(file.path):
        raise UserError(f"{file.path} changed after it was scored (its size or time is another); score it again")


def _copy(path: str, source: RandomAccess, offsets: np.ndarray, lengths: np.ndarray) -> Iterator[bytes]:
    for begin, end in _windows(offsets, lengths):
        # The byte before tells that a line still starts here, the byte after it that it still ends there.
        start = max(0, int(offsets[begin]) - 1)
        source.release(start)
        stop = int(offsets[end - 1] + lengths[end - 1]) + 1
        data = source.read_at(start, stop - start)
        begins = offsets[begin:end] - start
        ends = begins + lengths[begin:end]
        view = np.frombuffer(data, np.uint8)
        good = ends <= len(view)
        if good.all():
            good = (view[begins - 1] == _NEWLINE) | (begins == 0)
            good &= (ends == len(view)) | (view[np.minimum(ends, len(view) - 1)] == _NEWLINE)
        lines = [data[first:last] for first, last in zip(begins.tolist(), ends.tolist(), strict=True)]
        copied = b"\n".join([*lines, b""])
        if not good.all() or copied.count(b"\n") != len(lines):
            first = next(row for row, line in enumerate(lines) if not good[row] or b"\n" in line)
            raise UserError(f"{path} changed after it was scored (at byte {offsets[begin + first]}); score it again")
        yield copied


def _windows(offsets: np.ndarray, lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Runs of lines to be read at once: near to each other, and together (but for a single line) not too long."""
    ends = offsets + lengths
    gaps = np.flatnonzero(offsets[1:] - ends[:-1] > _MAX_GAP) + 1
    edges = [0, *gaps.tolist(), len(offsets)]
    for begin, end in itertools.pairwise(edges):
        while begin < end:
            fitting = int(np.searchsorted(ends[begin:end], offsets[begin] + _MAX_READ, side="right"))
            stop = begin + max(1, fitting)
            yield begin, stop
            begin = stop
