"""`Excerpts`: the first characters of documents, by where they are."""

import contextlib
from collections.abc import Callable

from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.jsonl import EXCERPT_CHARACTERS
from hir_transforms.documents.table_documents import TableDocuments
from hir_transforms.files import storage
from hir_transforms.files.blocks import RandomAccess
from hir_transforms.files.tables import is_table, open_table

_BATCH_BYTES = 1 << 20


class Excerpts(contextlib.ExitStack):
    """Reads excerpts of a dataset's documents, each file's forward; keeps open the file that was asked for last."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self._dataset = dataset
        self._path: str | None = None
        self._read: Callable[[int, int], str]

    def read(self, path: str, offset: int, length: int) -> str:
        """The first characters of the line, or of the text of the row, at an offset."""
        if path != self._path:
            self.close()
            self._read = self._open(path)
            self._path = path
        return self._read(offset, length)

    def _open(self, path: str) -> Callable[[int, int], str]:
        if not is_table(path):
            source = self.enter_context(storage.open_blocks(path))
            return lambda offset, length: _line(source, offset, length)
        tables = TableDocuments(self._dataset)
        rows = tables.reader(self.enter_context(open_table(path)), _BATCH_BYTES)
        return lambda offset, _: tables.excerpt(rows.read(offset, 1), 0)


def _line(source: RandomAccess, offset: int, length: int) -> str:
    source.release(offset)
    line = source.read_at(offset, min(length, 4 * EXCERPT_CHARACTERS))
    return line.decode(errors="replace")[:EXCERPT_CHARACTERS]
