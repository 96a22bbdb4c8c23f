"""Records that a user's function loads to documents: each is one, as a line of a JSON lines file is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from hir_transforms.common.user_functions import UserFunction
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleLoader, ExampleParser, to_line
from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.jsonl import BadLineError, beginning_of
from hir_transforms.documents.records import Block, DocumentBatch, Reject, SourceFile

_MOST_ROWS = 1 << 14


@dataclass
class _Rows:
    """What a block holds: of the usable records their numbers, the lengths of their lines, texts and ids."""

    numbers: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


class LoadedDocuments:
    """Reads the documents of a dataset whose records a function loads, with the ids in `id_field` if that is given.

    The function is called once each time that a file is read.
    """

    def __init__(self, dataset: Dataset, function: UserFunction, id_field: str | None = None) -> None:
        self._dataset = dataset
        self._loader = ExampleLoader(function, dataset.role)
        self._parser = ExampleParser(dataset)
        self._id_parser = IdParser(id_field) if id_field else None

    def read(
        self, file: SourceFile, block_size: int, keeps: Callable[[Block], bool]
    ) -> Iterator[tuple[DocumentBatch, list[Reject]]]:
        """The documents of each block of a file that `keeps` accepts, and its rejected records.

        A block is records that have about `block_size` bytes as JSON lines.
        """
        block, rows, num_rows, num_bytes = Block(file, 0), _Rows(), 0, 0
        kept = keeps(block)
        for number, example in enumerate(self._loader.load(file.path)):
            if num_bytes >= block_size or num_rows == _MOST_ROWS:
                if kept:
                    yield self._batch(block, rows)
                block, rows, num_rows, num_bytes = Block(file, block.number + 1), _Rows(), 0, 0
                kept = keeps(block)
            line = b""
            try:
                line = to_line(example)
                if kept:
                    self._add(rows, number, line, example)
            except BadLineError as error:
                rows.rejects.append(Reject(file.path, number, str(error), beginning_of(line), unit="record"))
            num_rows += 1
            num_bytes += len(line)
        if num_rows and kept:
            yield self._batch(block, rows)

    def _add(self, rows: _Rows, number: int, line: bytes, example: dict) -> None:
        if len(line) > self._dataset.max_document_bytes:
            raise BadLineError(f"longer than {self._dataset.max_document_bytes} bytes")
        rows.texts.append(self._parser.parse(example))
        rows.numbers.append(number)
        rows.lengths.append(len(line))
        if self._id_parser:
            rows.ids.append(self._id_parser.parse(line))

    def _batch(self, block: Block, rows: _Rows) -> tuple[DocumentBatch, list[Reject]]:
        numbers, lengths = (np.array(values, np.int64) for values in (rows.numbers, rows.lengths))
        ids = rows.ids if self._id_parser else None
        return DocumentBatch(block.file, block.number, numbers, lengths, rows.texts, ids), rows.rejects
