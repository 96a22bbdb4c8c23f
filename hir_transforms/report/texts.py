"""The texts of a few documents, read from their files: those that a report shows, and those of samples."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleLoader, ExampleParser, LoadedLines, line_parser, to_line
from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.jsonl import BadLineError
from hir_transforms.documents.records import SourceFile
from hir_transforms.documents.table_documents import TableDocuments
from hir_transforms.files import storage
from hir_transforms.files.tables import is_table, open_table
from hir_transforms.report.embedded import MOST_ROWS
from hir_transforms.report.noted import KINDS
from hir_transforms.report.places import PlaceSample
from hir_transforms.report.quality import MEASURED_SETS, RANDOM, SELECTED

# Of an excerpt's document no more than this is parsed: a longer line is shown by its place alone.
_MAX_LINE_BYTES = 16 << 20
# Of a table, rows are decoded so many at a time.
_BATCH_BYTES = 1 << 20
# Documents of a file that one worker reads.
_TASK_DOCUMENTS = 500
# Of the first documents of these samples, the n-grams are named.
_NAMED, _NAMED_DOCUMENTS = (SELECTED, RANDOM), 25


@dataclass(frozen=True)
class WantedText:
    """A document to be read.

    Attributes:
        offset, length: of its line.
        hash: by which it was drawn; None where its n-grams are not counted.
        is_named: whether its n-grams are named.
        is_clustered: whether its embedding is taken.
        shown_for: the target that it is shown for; None where it is not shown.
    """

    offset: int
    length: int
    hash: int | None = None
    is_named: bool = False
    is_clustered: bool = False
    shown_for: int | None = None


@dataclass(frozen=True)
class TextTask:
    """Documents of one file, in the order of their lines."""

    file: SourceFile
    wanted: tuple[WantedText, ...]


@dataclass(frozen=True)
class FoundText:
    """A document that was read: its text, or the problem that there is none; and its label."""

    wanted: WantedText
    text: str | None
    problem: str
    label: str | None


def text_tasks(measured: Mapping[str, Any], samples: Mapping[str, PlaceSample]) -> Iterator[TextTask]:
    """What is to be read for a report, by files.

    Args:
        measured: of which the noted documents are shown.
        samples: by name; their documents are counted.
    """
    files: dict[int, SourceFile] = {}
    wanted: dict[int, dict[int, WantedText]] = {}
    for name, sample in samples.items():
        files |= sample.files
        columns = (sample.file, sample.offsets, sample.lengths, sample.hashes)
        listed = zip(*(column[: sample.within].tolist() for column in columns), strict=True)
        for number, (index, offset, length, hashed) in enumerate(listed):
            of_file = wanted.setdefault(index, {})
            before = of_file.get(offset, WantedText(offset, length))
            of_file[offset] = WantedText(
                offset,
                length,
                hashed,
                before.is_named or (name in _NAMED and number < _NAMED_DOCUMENTS),
                before.is_clustered or (name in MEASURED_SETS and number < MOST_ROWS),
            )
    for document in (document for kind in KINDS if kind in measured for document in measured[kind].documents):
        index, offset = document.file.index, document.offset
        files[index] = document.file
        of_file = wanted.setdefault(index, {})
        one = of_file.get(offset, WantedText(offset, document.length))
        of_file[offset] = replace(one, shown_for=document.numbers["target"])
    for index, of_file in wanted.items():
        ordered = sorted(of_file.values(), key=lambda one: one.offset)
        for first in range(0, len(ordered), _TASK_DOCUMENTS):
            yield TextTask(files[index], tuple(ordered[first : first + _TASK_DOCUMENTS]))


def read_texts(task: TextTask, dataset: Dataset, label_field: str | None) -> Iterator[FoundText]:
    """The documents of a task."""
    path = task.file.path
    with contextlib.ExitStack() as opened:
        read = _opener(path, dataset)(path, dataset, label_field, opened)
        for one in task.wanted:
            text = label = None
            problem = "no text"
            try:
                text, label = read(one.offset, one.length)
            except BadLineError as error:
                problem = f"{error}"
            yield FoundText(one, text, problem, label)


# (offset, length) -> the text and the label.
_Read = Callable[[int, int], tuple[str | None, str | None]]
_Open = Callable[[str, Dataset, str | None, contextlib.ExitStack], _Read]


def _opener(path: str, dataset: Dataset) -> _Open:
    if dataset.is_loaded:
        return _open_loaded
    return _open_rows if is_table(path) else _open_lines


def _labels_of(label_field: str | None) -> Callable[[bytes], str | None]:
    return IdParser(label_field).parse if label_field else lambda line: None


def _open_loaded(path: str, dataset: Dataset, label_field: str | None, opened: contextlib.ExitStack) -> _Read:
    assert dataset.load_dataset_fn
    lines, parser = LoadedLines(ExampleLoader(dataset.load_dataset_fn, dataset.role), path), ExampleParser(dataset)
    label = _labels_of(label_field)

    def read(offset: int, _: int) -> tuple[str | None, str | None]:
        example = lines.example(offset)
        return parser.parse(example), label(to_line(example)) if label_field else None

    return read


def _open_rows(path: str, dataset: Dataset, label_field: str | None, opened: contextlib.ExitStack) -> _Read:
    tables = TableDocuments(dataset, label_field)
    rows = tables.reader(opened.enter_context(open_table(path)), _BATCH_BYTES)

    def read(offset: int, _: int) -> tuple[str | None, str | None]:
        row = rows.read(offset, 1)
        return tables.text(row, 0), tables.id(row, 0) if label_field else None

    return read


def _open_lines(path: str, dataset: Dataset, label_field: str | None, opened: contextlib.ExitStack) -> _Read:
    parser, source = line_parser(dataset), opened.enter_context(storage.open_blocks(path))
    label = _labels_of(label_field)

    def read(offset: int, length: int) -> tuple[str | None, str | None]:
        source.release(offset)
        if length > _MAX_LINE_BYTES:
            raise BadLineError(f"a line of more than {_MAX_LINE_BYTES} bytes")
        line = source.read_at(offset, length)
        return parser.parse(line), label(line)

    return read
