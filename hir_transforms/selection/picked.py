"""Picked files: the selected rows of a score shard, and reading those of several shards in corpus order."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.selection.eligible import EligibleRows
from hir_transforms.weights.parts import ID_FIELD, files_metadata, files_of

_BATCH_ROWS = 1 << 16
_SCHEMA = pa.schema(
    [
        ("position", pa.uint64()),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("weight", pa.float64()),
        ("key", pa.float64()),
        ("target", pa.int32()),
    ]
)


@dataclass(frozen=True, order=True)
class PickedFile:
    """A file of selected rows, sorted by position in the corpus.

    Attributes:
        first, last: positions of its first and its last row.
        path: where it is.
        bytes: of the selected lines, newlines included.
        documents, tokens: selected for each target.
    """

    first: int
    last: int
    path: str
    bytes: int
    documents: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def num_documents(self) -> int:
        """Rows of the file."""
        return sum(self.documents)


def write_picked(
    folder: str,
    index: int,
    eligible: EligibleRows,
    picked: np.ndarray,
    keys: np.ndarray,
    targets: np.ndarray,
    num_targets: int,
    ids: pa.ChunkedArray | None = None,
) -> PickedFile:
    """Writes the selected rows of a score shard.

    Args:
        folder: to write to.
        index: of the score shard.
        eligible: its eligible rows.
        picked: int64 [N], the selected ones among them; at least one.
        keys: float64 [N].
        targets: int32 [N], for which each is selected.
        num_targets: how many targets there are.
        ids: of all rows of the shard; None where they have none.
    """
    order = np.argsort(eligible.corpus_positions[picked], kind="stable")
    picked, keys, targets = picked[order], keys[order], targets[order]
    rows, places, positions = eligible.rows, eligible.row_indices[picked], eligible.corpus_positions[picked]
    used, codes = np.unique(rows.file[places], return_inverse=True)
    files = [rows.files[place] for place in used]
    length = rows.length[places]
    columns = [
        positions,
        pa.DictionaryArray.from_arrays(codes.astype(np.int32), [file.path for file in files]),
        rows.offset[places],
        length,
        rows.weight[places, targets],
        keys,
        targets,
    ]
    table = pa.Table.from_arrays([pa.array(column) for column in columns], schema=_SCHEMA)
    if ids is not None:
        table = table.append_column(ID_FIELD, ids.take(pa.array(places)))
    path = storage.join(folder, f"part-{index:05d}.parquet")
    with storage.atomic_write(path) as file:
        pq.write_table(table.replace_schema_metadata(files_metadata(files)), file)
    num_tokens = eligible.num_tokens[picked]
    of_target = [targets == target for target in range(num_targets)]
    return PickedFile(
        int(positions[0]),
        int(positions[-1]),
        path,
        int(length.sum()) + len(length),
        tuple(int(np.count_nonzero(selected)) for selected in of_target),
        tuple(int(num_tokens[selected].sum()) for selected in of_target),
    )


def group_overlapping(files: Iterable[PickedFile]) -> Iterator[list[PickedFile]]:
    """Picked files in corpus order; those whose rows interleave (parts of one compressed file) together."""
    group: list[PickedFile] = []
    for file in sorted(files):
        if group and file.first > max(other.last for other in group):
            yield group
            group = []
        group.append(file)
    if group:
        yield group


def read_picked(group: Sequence[PickedFile]) -> Iterator[tuple[pa.Table, dict[str, SourceFile]]]:
    """Rows of overlapping picked files in corpus order, some 64 Ki at a time, with the source files by path."""
    readers = [_batches(file.path) for file in group]
    held = [(next(reader), reader) for reader in readers]
    while held:
        # Up to here no reader has anything that is not held.
        limit = min(table["position"][-1].as_py() for (table, _), _ in held)
        parts, rest = [], []
        files: dict[str, SourceFile] = {}
        for (table, of_table), reader in held:
            cut = int(np.searchsorted(table["position"].to_numpy(), np.uint64(limit), side="right"))
            parts.append(table.slice(0, cut))
            files |= of_table
            following = (table.slice(cut), of_table) if cut < len(table) else next(reader, None)
            if following is not None:
                rest.append((following, reader))
        held = rest
        table = parts[0]
        if len(parts) > 1:
            table = pa.concat_tables(parts).combine_chunks()
            table = table.take(np.argsort(table["position"].to_numpy()))
        yield table, files


def files_of_picked(path: str) -> list[SourceFile]:
    """The source files of the rows of a picked file."""
    with storage.open_raw(path) as raw, pq.ParquetFile(raw) as parquet:
        return files_of(parquet.schema_arrow.metadata)


def _batches(path: str) -> Iterator[tuple[pa.Table, dict[str, SourceFile]]]:
    with storage.open_raw(path) as raw, pq.ParquetFile(raw, read_dictionary=["file"]) as parquet:
        files = {file.path: file for file in files_of(parquet.schema_arrow.metadata)}
        for batch in parquet.iter_batches(_BATCH_ROWS):
            yield pa.Table.from_batches([batch.replace_schema_metadata()]), files
