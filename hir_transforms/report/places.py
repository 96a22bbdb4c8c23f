"""Bounded uniform samples of documents, by their places alone: the same whoever draws them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hir_transforms.documents.read_tasks import is_streamed
from hir_transforms.documents.records import SourceFile
from hir_transforms.files.tables import is_table
from hir_transforms.report.rows import ReportedRows

# Of a longer line, the counts would be a large element.
_MAX_LINE_BYTES = 1 << 20
# A compressed file is read from its beginning, a row of a table with those around it, a record that a function gives
# after all before it: no further than this.
_MAX_STREAM_OFFSET = 64 << 20
_MAX_TABLE_ROWS = 1 << 14
_COLUMNS = ("hashes", "positions", "offsets", "lengths", "file")


@dataclass(frozen=True)
class Size:
    """Of a sample: the most documents, and the most bytes of their lines."""

    documents: int
    bytes: int


@dataclass(frozen=True, eq=False)
class PlaceSample:
    """The places of the documents of the smallest hashes of a set.

    Attributes:
        documents: how many the set has.
        size: limits of the sample.
        hashes: uint64 [N], ascending.
        positions: uint64 [N], in the corpus, see `pack_positions`.
        offsets, lengths: int64 [N], of the lines.
        file: int64 [N], indices of the files in the corpus.
        files: by these.
    """

    documents: int
    size: Size
    hashes: npt.NDArray[np.uint64]
    positions: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    file: npt.NDArray[np.int64]
    files: Mapping[int, SourceFile]

    @classmethod
    def of(cls, rows: ReportedRows, members: npt.NDArray[np.bool_], size: Size, is_loaded: bool) -> "PlaceSample":
        """That of some of the rows, bool [N]; documents that are slow to reach, or long, are only counted."""
        eligible = rows.eligible
        of_shard = eligible.rows
        places, offsets = of_shard.file[eligible.row_indices], of_shard.offset[eligible.row_indices]
        lengths = of_shard.length[eligible.row_indices]
        ends = np.array([_end_of(file, is_loaded) for file in of_shard.files], np.int64)
        index = np.array([file.index for file in of_shard.files], np.int64)
        found = members & (offsets < ends[places]) & (lengths <= _MAX_LINE_BYTES)
        first = rows.order[found[rows.order]][: size.documents]
        columns = (rows.hashes, eligible.corpus_positions, offsets, lengths, index[places])
        sampled = {name: column[first] for name, column in zip(_COLUMNS, columns, strict=True)}
        files = {of_shard.files[place].index: of_shard.files[place] for place in np.unique(places[first]).tolist()}
        return cls(int(members.sum()), size, **sampled, files=files)

    def merge(self, other: "PlaceSample") -> "PlaceSample":
        """The sample of both sets."""
        columns = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS}
        first = np.lexsort((columns["positions"], columns["hashes"]))[: self.size.documents]
        columns = {name: column[first] for name, column in columns.items()}
        files = {**self.files, **other.files}
        used = {index: files[index] for index in np.unique(columns["file"]).tolist()}
        return PlaceSample(self.documents + other.documents, self.size, **columns, files=used)

    @property
    def within(self) -> int:
        """How many of the first documents are not too many bytes; at least one, if there is one."""
        return max(
            int(np.searchsorted(np.cumsum(self.lengths), self.size.bytes, side="right")), min(1, len(self.hashes))
        )


def _end_of(file: SourceFile, is_loaded: bool) -> int:
    if is_loaded or is_table(file.path):
        return _MAX_TABLE_ROWS
    return _MAX_STREAM_OFFSET if is_streamed(file.path) else np.iinfo(np.int64).max
