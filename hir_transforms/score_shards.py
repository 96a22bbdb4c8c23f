"""Score shards: Parquet files with one row a raw document."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hir_transforms import storage
from hir_transforms.records import SourceFile

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("num_tokens", pa.int32()),
        ("text_hash", pa.uint64()),
        ("ngram", pa.float64()),
        ("gmm", pa.float64()),
        ("weight", pa.float64()),
    ]
)
# The shard's own list of its files: their places in the corpus and their names make its rows' order and identity.
_FILES_KEY = b"hir.files"


@dataclass(frozen=True, order=True)
class ScoreShard:
    """A written shard: the index of its read task, its path (None without rows), its rows, and rejected lines."""

    index: int
    path: str | None
    rows: int
    rejected: int


@dataclass(frozen=True)
class ScoredFile:
    """A source file as a shard lists it; size (stored bytes) and modification time are None in shards without them."""

    index: int
    path: str
    name: str
    size: int | None = None
    modified: float | None = None


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

    files: Sequence[ScoredFile]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    num_tokens: np.ndarray
    weight: np.ndarray


def write_scores(path: str, files: Sequence[SourceFile], columns: Mapping[str, np.ndarray | pa.Array]) -> None:
    """Writes a shard; a column that is not given is all null."""
    num_rows = len(columns["offset"])
    arrays = [
        pa.nulls(num_rows, field.type) if field.name not in columns else pa.array(columns[field.name], field.type)
        for field in SCHEMA
    ]
    listing = json.dumps([[file.index, file.path, file.name] for file in files], ensure_ascii=False).encode()
    table = pa.Table.from_arrays(arrays, schema=SCHEMA.with_metadata({_FILES_KEY: listing}))
    with storage.atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def read_scores(path: str) -> ScoreRows:
    """The columns that selection needs."""
    with storage.open_raw(path) as raw, pq.ParquetFile(raw, read_dictionary=["file"]) as file:
        table = file.read(["file", "offset", "length", "num_tokens", "weight"]).combine_chunks()
    files = [ScoredFile(*entry) for entry in json.loads(table.schema.metadata[_FILES_KEY])]
    place = {file.path: place for place, file in enumerate(files)}
    dictionary = table["file"].chunk(0)
    places = np.array([place[path] for path in dictionary.dictionary.to_pylist()], np.int64)
    return ScoreRows(
        files,
        places[dictionary.indices.to_numpy()],
        table["offset"].to_numpy(),
        table["length"].to_numpy(),
        table["num_tokens"].to_numpy(),
        _weights(table["weight"]),
    )


def _weights(column: pa.ChunkedArray) -> np.ndarray:
    """Weights, float64 [N, T], from a column of numbers or of lists of T numbers."""
    if pa.types.is_floating(column.type):
        return column.to_numpy()[:, np.newaxis]
    flat = pa.concat_arrays([chunk.flatten() for chunk in column.chunks]).to_numpy()
    return flat.reshape(len(column), -1)


def read_parts(path: str) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """`num_tokens`, `ngram` and `gmm` of a shard, the parts None where they were skipped."""
    with storage.open_raw(path) as file:
        table = pq.read_table(file, columns=["num_tokens", "ngram", "gmm"])
    ngram, gmm = (table[name] for name in ("ngram", "gmm"))
    return (
        table["num_tokens"].to_numpy(),
        None if ngram.null_count == len(ngram) else ngram.to_numpy(),
        None if gmm.null_count == len(gmm) else gmm.to_numpy(),
    )


def rewrite_weight(source: str, path: str, weight: np.ndarray) -> None:
    """Writes the shard `source` to `path` with another weight, float64 [N]."""
    with storage.open_raw(source) as file:
        table = pq.read_table(file)
    table = table.set_column(SCHEMA.get_field_index("weight"), SCHEMA.field("weight"), pa.array(weight, pa.float64()))
    with storage.atomic_write(path) as file:
        pq.write_table(table, file, compression="zstd")


def score_path(folder: str, index: int) -> str:
    """Path of a shard in a stage's folder."""
    return storage.join(folder, f"part-{index:05d}.parquet")
