"""Score shards: Parquet files with one row a raw document that may be selected."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage
from hir_transforms.weights.parts import (
    ID_FIELD,
    ColumnWriter,
    count_rows,
    document_schema,
    files_metadata,
    files_of,
    part_path,
    weight_array,
    weight_type,
    write_columns,
)


@dataclass(frozen=True, order=True)
class ScoreShard:
    """A written shard: the index of its read task, its path (None without rows), its rows, and rejected lines."""

    index: int
    path: str | None
    rows: int
    rejected: int


@dataclass(frozen=True)
class ScoreRows:
    """Rows of a shard as columns; `file` holds indices into `files`.

    Attributes:
        files: each source file.
        file: int64 [N].
        offset, length: int64 [N].
        num_tokens: int32 [N].
        weight: float64 [N, T], a column for each target.
    """

    files: Sequence[SourceFile]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    num_tokens: np.ndarray
    weight: np.ndarray


def write_scores(
    path: str, files: Sequence[SourceFile], num_targets: int, *, with_ids: bool = False
) -> AbstractContextManager[ColumnWriter]:
    """A shard of documents of these files; it appears when the block ends without an error.

    The columns `ngram`, `gmm` and `weight` are lists of one number per target where there are several.
    """
    weights = [pa.field(name, weight_type(num_targets)) for name in ("ngram", "gmm", "weight")]
    return write_columns(path, document_schema(*weights, with_ids=with_ids).with_metadata(files_metadata(files)))


def read_scores(path: str) -> ScoreRows:
    """The columns that selection needs."""
    table = _read(path, ["file", "offset", "length", "num_tokens", "weight"])
    files, file = _files(table)
    offset, length, num_tokens = (table[name].to_numpy() for name in ("offset", "length", "num_tokens"))
    return ScoreRows(files, file, offset, length, num_tokens, weight_array(table["weight"]))


def read_hashes(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The text's hash (uint64), the file's index in the corpus and the offset (int64) of each row, [N] each."""
    table = _read(path, ["file", "offset", "text_hash"])
    files, places = _files(table)
    index = np.array([file.index for file in files], np.int64)
    return table["text_hash"].to_numpy(), index[places], table["offset"].to_numpy()


def read_ids(path: str) -> pa.ChunkedArray | None:
    """The documents' ids; None in a shard without."""
    with storage.open_raw(path) as raw, pq.ParquetFile(raw) as file:
        if ID_FIELD.name not in file.schema_arrow.names:
            return None
        return file.read([ID_FIELD.name])[ID_FIELD.name]


def read_parts(path: str) -> dict[str, np.ndarray]:
    """The weights of all rows and the parts that they are mixed of: "ngram", "gmm" and "weight", float64 [N, T]."""
    with storage.open_raw(path) as raw, pq.ParquetFile(raw) as file:
        names = [name for name in ("ngram", "gmm", "weight") if name in file.schema_arrow.names]
        table = file.read(names)
    return {name: weight_array(table[name]) for name in names if not table[name].null_count}


def _read(path: str, columns: list[str]) -> pa.Table:
    with storage.open_raw(path) as raw, pq.ParquetFile(raw, read_dictionary=["file"]) as file:
        return file.read(columns).combine_chunks()


def _files(table: pa.Table) -> tuple[list[SourceFile], np.ndarray]:
    """The source files, and the place in this list of each row's file, int64 [N]."""
    files = files_of(table.schema.metadata)
    place = {file.path: place for place, file in enumerate(files)}
    dictionary = table["file"].chunk(0)
    named = dictionary.dictionary.to_pylist()
    if unknown := [path for path in named if path not in place]:
        raise UserError(f"a file of scores has rows of {unknown[0]}, which it does not list; score the dataset again")
    places = np.array([place[path] for path in named], np.int64)
    return files, places[dictionary.indices.to_numpy()]


def count_shards(shards: list[ScoreShard]) -> dict[str, Any]:
    """Counts for the manifest of a stage of score shards, which `load_score_shards` reads."""
    return count_rows("shards", shards)


def load_score_shards(stage: Stage) -> Iterator[ScoreShard]:
    """The shards of a complete stage, as its manifest lists them."""
    folder = stage.folder
    for index, rows, rejected in stage.counts()["shards"]:
        yield ScoreShard(index, part_path(folder, index) if rows else None, rows, rejected)


def default_proportions(stage: Stage) -> tuple[float, ...] | None:
    """Each target's share of the selection where the user does not choose it; None where it cannot be told."""
    proportions = stage.counts()["target_proportions"]
    return None if proportions is None else tuple(proportions)
