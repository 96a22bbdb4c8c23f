"""`Excerpts`: the first characters of documents, by where they are."""

import contextlib
from collections.abc import Callable, Iterator

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.examples import ExampleLoader, LoadedLines
from hir_transforms.documents.jsonl import EXCERPT_CHARACTERS, beginning_of
from hir_transforms.documents.table_documents import TableDocuments
from hir_transforms.files import storage
from hir_transforms.files.blocks import RandomAccess
from hir_transforms.files.last_opened import LastOpened
from hir_transforms.files.tables import is_table, open_table

_BATCH_BYTES = 1 << 20


class Excerpts(LastOpened[Callable[[int, int], str]]):
    """Reads excerpts of a dataset's documents, each file's forward."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(self._open)
        self._tables = TableDocuments(dataset)
        function = dataset.load_dataset_fn
        self._loader = ExampleLoader(function, dataset.role) if function else None

    def read(self, path: str, offset: int, length: int) -> str:
        """The first characters of the line, or of the text of the row, at an offset."""
        return self.get(path)(offset, length)

    @contextlib.contextmanager
    def _open(self, path: str) -> Iterator[Callable[[int, int], str]]:
        if self._loader:
            lines = LoadedLines(self._loader, path)
            yield lambda offset, length: beginning_of(lines.line(offset, length))
        elif is_table(path):
            with open_table(path) as table:
                rows = self._tables.reader(table, _BATCH_BYTES)
                yield lambda offset, _: self._tables.excerpt(rows.read(offset, 1), 0)
        else:
            with storage.open_blocks(path) as source:
                yield lambda offset, length: _line(source, offset, length)


def _line(source: RandomAccess, offset: int, length: int) -> str:
    source.release(offset)
    return beginning_of(source.read_at(offset, min(length, 4 * EXCERPT_CHARACTERS)))
