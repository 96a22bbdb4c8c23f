"""Embedding shards: Avro files of float32 rows, one record for the documents of one block."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import fastavro
import numpy as np

from hir_transforms import storage
from hir_transforms.errors import UserError
from hir_transforms.records import DocumentBatch, DocumentGroup

_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Embeddings",
        "namespace": "hir",
        "doc": "Embeddings of the documents whose lines start in one block of a file, in file order.",
        "fields": [
            {"name": "file", "type": "string"},
            {"name": "name", "type": "string", "doc": "the path relative to the dataset's folder"},
            {"name": "block", "type": "long"},
            {"name": "offsets", "type": "bytes", "doc": "int64, little endian: byte offset of each document's line"},
            {"name": "rows", "type": "bytes", "doc": "float32, little endian, one row of `dim` a document"},
            {"name": "dim", "type": "int"},
            {"name": "model", "type": "string"},
            {"name": "revision", "type": "string"},
        ],
    }
)


@dataclass(frozen=True, order=True)
class EmbeddingShard:
    """One written shard: the key of its group, its path, and how many rows it holds."""

    key: tuple[int, int]
    path: str
    num_rows: int


@dataclass(frozen=True)
class EmbeddingBatch:
    """What one record holds: file, name, int64 offsets [N] and float32 rows [N, D]."""

    file: str
    name: str
    offsets: np.ndarray
    rows: np.ndarray


def shard_path(folder: str, key: tuple[int, int]) -> str:
    """Path of the shard of a group: a function of its key alone, so that a reader of the group can find it."""
    return storage.join(folder, f"file-{key[0]:06d}-block-{key[1]:06d}.avro")


def write_shard(folder: str, group: DocumentGroup, rows: np.ndarray, model: str, revision: str) -> EmbeddingShard:
    """Writes the embeddings of a group (float32 [N, D], in the order of `group.texts`)."""
    path = shard_path(folder, group.key)
    ends = np.cumsum([len(batch.texts) for batch in group.batches])[:-1]
    records = [
        {
            "file": batch.file.path,
            "name": batch.file.name,
            "block": batch.block,
            "offsets": batch.offsets.astype("<i8").tobytes(),
            "rows": part.astype("<f4").tobytes(),
            "dim": rows.shape[1],
            "model": model,
            "revision": revision,
        }
        for batch, part in zip(group.batches, np.split(rows, ends), strict=True)
        if len(part)
    ]
    # Avro separates blocks by a random marker; one made from the path keeps equal shards equal.
    marker = hashlib.sha256(f"{group.key}".encode()).digest()[:16]
    with storage.atomic_write(path) as file:
        fastavro.writer(file, _SCHEMA, records, codec="null", sync_marker=marker)
    return EmbeddingShard(group.key, path, len(rows))


def read_shard(path: str) -> list[EmbeddingBatch]:
    """All records of a shard."""
    with storage.open_raw(path) as file:
        return [
            EmbeddingBatch(
                record["file"],
                record["name"],
                np.frombuffer(record["offsets"], "<i8"),
                np.frombuffer(record["rows"], "<f4").reshape(-1, record["dim"]),
            )
            for record in fastavro.reader(file)
        ]


def read_rows(folder: str, group: DocumentGroup) -> np.ndarray | None:
    """Rows of the documents of a group (float32 [N, D], in order), or None for a group without documents.

    Raises:
        UserError: if the shard holds other documents than the group.
    """
    batches = [batch for batch in group.batches if batch.texts]
    if not batches:
        return None
    path = shard_path(folder, group.key)
    embedded = read_shard(path)
    if not _same_documents(batches, embedded):
        raise UserError(f"{path}: its documents are not those of {batches[0].file.path}; embed the dataset again")
    return np.concatenate([batch.rows for batch in embedded])


def _same_documents(batches: Sequence[DocumentBatch], embedded: Sequence[EmbeddingBatch]) -> bool:
    return len(batches) == len(embedded) and all(
        batch.file.path == record.file and np.array_equal(batch.offsets, record.offsets)
        for batch, record in zip(batches, embedded, strict=True)
    )
