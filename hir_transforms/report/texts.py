"""The texts of a few documents, read from their files: what a report shows of some, and counts of others."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleLoader, ExampleParser, LoadedLines, line_parser
from hir_transforms.documents.jsonl import BadLineError
from hir_transforms.documents.records import SourceFile
from hir_transforms.documents.table_documents import TableDocuments
from hir_transforms.evaluation.two_samples import DrawnDocument
from hir_transforms.files import storage
from hir_transforms.files.tables import is_table, open_table
from hir_transforms.ngrams.features import NgramFeaturizer
from hir_transforms.report.noted import KINDS
from hir_transforms.report.places import MAX_LINE_BYTES, PlaceSample

EXCERPT_CHARACTERS = 300
# Of a table, rows are decoded so many at a time.
_BATCH_BYTES = 1 << 20
# Documents of a file that one worker reads.
_TASK_DOCUMENTS = 500


@dataclass(frozen=True)
class WantedText:
    """A document to be read: where its line is, its hash where its n-grams are counted, and whether it is shown."""

    offset: int
    length: int
    hash: int | None = None
    is_shown: bool = False


@dataclass(frozen=True)
class TextTask:
    """Documents of one file, in the order of their lines."""

    file: SourceFile
    wanted: tuple[WantedText, ...]


@dataclass(frozen=True)
class ReadText:
    """A document that was read.

    Attributes:
        place: (index of the file in the corpus, offset).
        excerpt: of the text, where it is shown.
        counted: its n-grams, where they are counted.
    """

    place: tuple[int, int]
    excerpt: str | None
    counted: DrawnDocument | None


def text_tasks(measured: Mapping[str, Any], samples: Iterable[PlaceSample]) -> Iterator[TextTask]:
    """What is to be read for a report, by files.

    Args:
        measured: of which the noted documents are shown.
        samples: whose documents are counted.
    """
    files: dict[int, SourceFile] = {}
    wanted: dict[int, dict[int, WantedText]] = {}
    for sample in samples:
        files |= sample.files
        columns = (sample.file, sample.offsets, sample.lengths, sample.hashes)
        for index, *of_document in zip(*(column[: sample.within].tolist() for column in columns), strict=True):
            wanted.setdefault(index, {})[of_document[0]] = WantedText(*of_document)
    for document in (document for kind in KINDS if kind in measured for document in measured[kind].documents):
        index, offset = document.file.index, document.offset
        files[index] = document.file
        of_file = wanted.setdefault(index, {})
        of_file[offset] = replace(of_file.get(offset, WantedText(offset, document.length)), is_shown=True)
    for index, of_file in wanted.items():
        ordered = sorted(of_file.values(), key=lambda one: one.offset)
        for first in range(0, len(ordered), _TASK_DOCUMENTS):
            yield TextTask(files[index], tuple(ordered[first : first + _TASK_DOCUMENTS]))


def read_texts(task: TextTask, dataset: Dataset, featurizer: Callable[[], NgramFeaturizer]) -> Iterator[ReadText]:
    """The documents of a task; the featurizer is made only where some are counted."""
    path = task.file.path
    with contextlib.ExitStack() as opened:
        read = _opener(path, dataset)(path, dataset, opened)
        for one in task.wanted:
            text, problem = _try(read, one)
            counted = excerpt = None
            if one.is_shown:
                excerpt = f"({problem})" if text is None else _beginning(text)
            if one.hash is not None and text is not None:
                counted = count_text(text, one.hash, featurizer())
            yield ReadText((task.file.index, one.offset), excerpt, counted)


def _try(read: "_Read", wanted: WantedText) -> tuple[str | None, str]:
    """A text, or None and why there is none."""
    try:
        return read(wanted.offset, wanted.length), "no text"
    except BadLineError as error:
        return None, f"{error}"


def count_text(text: str, hashed: int, featurizer: NgramFeaturizer) -> DrawnDocument:
    """The n-grams of a text that has been drawn by its hash."""
    _, buckets, counts = featurizer.list_counts([text.encode()])
    order = np.argsort(buckets)
    return DrawnDocument(hashed, buckets[order].astype(np.int32), counts[order].astype(np.int32))


def _beginning(text: str) -> str:
    return text[:EXCERPT_CHARACTERS] + ("\N{HORIZONTAL ELLIPSIS}" if len(text) > EXCERPT_CHARACTERS else "")


# (offset, length) -> the text.
_Read = Callable[[int, int], str | None]


def _opener(path: str, dataset: Dataset) -> Callable[[str, Dataset, contextlib.ExitStack], _Read]:
    if dataset.is_loaded:
        return _open_loaded
    return _open_rows if is_table(path) else _open_lines


def _open_loaded(path: str, dataset: Dataset, opened: contextlib.ExitStack) -> _Read:
    assert dataset.load_dataset_fn
    lines, parser = LoadedLines(ExampleLoader(dataset.load_dataset_fn, dataset.role), path), ExampleParser(dataset)
    return lambda offset, _: parser.parse(lines.example(offset))


def _open_rows(path: str, dataset: Dataset, opened: contextlib.ExitStack) -> _Read:
    tables = TableDocuments(dataset)
    rows = tables.reader(opened.enter_context(open_table(path)), _BATCH_BYTES)
    return lambda offset, _: tables.text(rows.read(offset, 1), 0)


def _open_lines(path: str, dataset: Dataset, opened: contextlib.ExitStack) -> _Read:
    parser, source = line_parser(dataset), opened.enter_context(storage.open_blocks(path))

    def read(offset: int, length: int) -> str:
        source.release(offset)
        if length > MAX_LINE_BYTES:
            raise BadLineError(f"a line of more than {MAX_LINE_BYTES} bytes")
        return parser.parse(source.read_at(offset, length))

    return read
