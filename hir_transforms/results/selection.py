"""The selected documents."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.artifacts.output_folder import MANIFEST, is_complete
from hir_transforms.common.errors import UserError
from hir_transforms.files import storage
from hir_transforms.files.compression import decompressed, is_compressed
from hir_transforms.results.result import Result, read_tables
from hir_transforms.selection.write import SELECTION


@dataclass(frozen=True, repr=False)
class Selection(Result):
    """The output of a selection, made just now or earlier: `Selection("folder")`.

    `table` has a row for each selected document, in the order of `documents`: where it is in the raw files, its log
    weight, the key by which it was chosen, and the target that it was chosen for.
    """

    @property
    def manifest(self) -> dict[str, Any]:
        """What was selected of what, the settings, and what was counted; raises `UserError` if it is gone."""
        if not is_complete(self.folder):
            raise UserError(f"no complete selection in {self.folder}")
        return json.loads(storage.read_bytes(storage.join(self.folder, MANIFEST)))

    @property
    def table(self) -> pa.Table:
        """A row for each selected document."""
        return read_tables([storage.join(self.folder, SELECTION)])

    @property
    def files(self) -> list[str]:
        """Paths of the files of selected documents."""
        return [storage.join(self.folder, shard["name"]) for shard in self.manifest["shards"]]

    def documents(self) -> Iterator[dict[str, Any]]:
        """The selected documents with all their fields, one after the other."""
        for path in self.files:
            with storage.open_raw(path) as raw:
                yield from _rows(raw) if path.endswith(".parquet") else _lines(path, raw)


def _rows(raw: BinaryIO) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(raw) as file:
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def _lines(path: str, raw: BinaryIO) -> Iterator[dict[str, Any]]:
    content = decompressed(path, raw) if is_compressed(path) else raw
    return map(json.loads, io.BufferedReader(cast(io.RawIOBase, content)))  # not every stream has lines
