"""Embedding shards: Avro files of float32 rows, one record for the documents of one block."""

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import fastavro
import numpy as np
import xxhash

from hir_transforms.common.errors import UserError
from hir_transforms.documents.jsonl import EXCERPT_CHARACTERS
from hir_transforms.documents.records import DocumentBatch, DocumentGroup, Reject
from hir_transforms.files import storage

NOT_FINITE = "embedding is not finite"
_UNIT_TOLERANCE = 1e-3
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
            {"name": "rejected", "type": "bytes", "doc": "as `offsets`: the documents whose row is not finite"},
            {"name": "dim", "type": "int"},
            {"name": "normalized", "type": "boolean", "doc": "whether all rows have length 1, within 0.001"},
            {"name": "model", "type": "string", "doc": "empty where it is not known"},
            {"name": "revision", "type": "string"},
            {"name": "hashes", "type": "bytes", "doc": "uint64, little endian: XXH3 of each document's text in UTF-8"},
            {"name": "rejected_hashes", "type": "bytes", "doc": "as `hashes`: those of the rejected documents"},
            {"name": "checksum", "type": "bytes", "doc": "XXH3 of the fields above"},
        ],
    }
)
_CHECKED = [field["name"] for field in _SCHEMA["fields"][:-1]]
# A file that ends early, after any record, is still valid Avro.
_NUM_RECORDS = "hir.records"
# What reading a damaged file may end in: fastavro decodes whatever it finds.
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    AttributeError,
    struct.error,
    fastavro.schema.SchemaParseException,
    fastavro.schema.UnknownType,
)


@dataclass(frozen=True, order=True)
class EmbeddingShard:
    """One written shard: its group's key, its path, its number of rows, their `dim`, whether all have length 1."""

    key: tuple[int, int]
    path: str
    num_rows: int
    dim: int
    normalized: bool


@dataclass(frozen=True)
class EmbeddingBatch:
    """What one record holds.

    Attributes:
        file, name: path of the documents' file, and its path relative to the dataset's folder.
        offsets: int64 [N], of the documents that have a row.
        rows: float32 [N, D], finite.
        rejected: int64 [M], offsets of the documents whose row was not finite.
        hashes, rejected_hashes: uint64 [N] and [M], of the documents' texts.
        normalized: whether all rows have length 1.
        model, revision: what made the rows; empty where it is not known.
    """

    file: str
    name: str
    offsets: np.ndarray
    rows: np.ndarray
    rejected: np.ndarray
    hashes: np.ndarray
    rejected_hashes: np.ndarray
    normalized: bool
    model: str
    revision: str

    @property
    def documents(self) -> tuple[np.ndarray, np.ndarray]:
        """(offsets, hashes) of all documents, those without a row too, in file order."""
        offsets = np.concatenate([self.offsets, self.rejected])
        order = np.argsort(offsets)
        return offsets[order], np.concatenate([self.hashes, self.rejected_hashes])[order]


def shard_path(folder: str, key: tuple[int, int]) -> str:
    """Path of the shard of a group: a function of its key alone, so that a reader of the group can find it."""
    return storage.join(folder, f"file-{key[0]:06d}-block-{key[1]:06d}.avro")


def write_shard(folder: str, group: DocumentGroup, rows: np.ndarray, model: str, revision: str) -> EmbeddingShard:
    """Writes the embeddings of a group (float32 [N, D], in the order of `group.texts`); only finite rows are kept."""
    path = shard_path(folder, group.key)
    ends = np.cumsum([len(batch.texts) for batch in group.batches])[:-1]
    records = [
        _record(batch, part, hashes, model, revision)
        for batch, part, hashes in zip(
            group.batches, np.split(rows, ends), np.split(group.text_hashes, ends), strict=True
        )
        if len(part)
    ]
    # Avro separates blocks by a random marker; one made from the path keeps equal shards equal.
    marker = hashlib.sha256(f"{group.key}".encode()).digest()[:16]
    with storage.atomic_write(path, durable=True) as file:
        fastavro.writer(
            file, _SCHEMA, records, codec="null", sync_marker=marker, metadata={_NUM_RECORDS: str(len(records))}
        )
    normalized = all(record["normalized"] for record in records)
    return EmbeddingShard(group.key, path, int(is_finite(rows).sum()), rows.shape[1], normalized)


def _record(batch: DocumentBatch, rows: np.ndarray, hashes: np.ndarray, model: str, revision: str) -> dict[str, Any]:
    finite = is_finite(rows)
    offsets, rows, hashes = batch.offsets.astype("<i8"), rows.astype("<f4"), hashes.astype("<u8")
    lengths = np.linalg.norm(rows[finite].astype(np.float64), axis=1)
    record = {
        "file": batch.file.path,
        "name": batch.file.name,
        "block": batch.block,
        "offsets": offsets[finite].tobytes(),
        "rows": rows[finite].tobytes(),
        "rejected": offsets[~finite].tobytes(),
        "dim": rows.shape[1],
        "normalized": bool((np.abs(lengths - 1) <= _UNIT_TOLERANCE).all()),
        "model": model,
        "revision": revision,
        "hashes": hashes[finite].tobytes(),
        "rejected_hashes": hashes[~finite].tobytes(),
    }
    return record | {"checksum": _checksum(record)}


def _checksum(record: Mapping[str, Any]) -> bytes:
    checksum = xxhash.xxh3_64()
    for name in _CHECKED:
        value = record[name]
        content = value if isinstance(value, bytes) else str(value).encode()
        checksum.update(f"{len(content)} ".encode())
        checksum.update(content)
    return checksum.digest()


def is_finite(rows: np.ndarray) -> np.ndarray:
    """Which rows hold neither NaN nor an infinity: bool [N] of float [N, D]."""
    return np.isfinite(rows).all(axis=1)


def iter_shard(path: str) -> Iterator[EmbeddingBatch]:
    """The records of a shard; raises `UserError` for a file that is no shard, not all of one, or damaged."""
    with storage.open_raw(path) as file:
        try:
            reader = fastavro.reader(file)
            missing = {*_CHECKED, "checksum"} - {field["name"] for field in reader.writer_schema["fields"]}
        except _DAMAGE as error:
            raise _damaged(path, error) from None
        if missing:
            raise UserError(
                f"{path} is no shard of embeddings, or one of an older version, which does not tell which texts its "
                f"rows are of (it has no {', '.join(sorted(missing))}); embed the dataset again"
            )
        number = 0
        while (record := _next_record(reader, path)) is not None:
            number += 1
            yield record
        if str(number) != reader.metadata.get(_NUM_RECORDS):
            raise _damaged(path, f"{number} of {reader.metadata.get(_NUM_RECORDS)} records")


def _next_record(reader: Any, path: str) -> EmbeddingBatch | None:
    try:
        record = next(reader, None)
        if record is None:
            return None
        if _checksum(record) != record["checksum"]:
            raise ValueError(f"the checksum of its record of {record['file']} is another")
        batch = EmbeddingBatch(
            record["file"],
            record["name"],
            np.frombuffer(record["offsets"], "<i8"),
            np.frombuffer(record["rows"], "<f4").reshape(-1, record["dim"]),
            np.frombuffer(record["rejected"], "<i8"),
            np.frombuffer(record["hashes"], "<u8"),
            np.frombuffer(record["rejected_hashes"], "<u8"),
            record["normalized"],
            record["model"],
            record["revision"],
        )
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    if not len(batch.documents[0]):
        raise _damaged(path, "a record without rows")
    return batch


def _damaged(path: str, reason: object) -> UserError:
    return UserError(f"{path} is not a complete shard of embeddings: {reason}")


def read_shard(path: str) -> list[EmbeddingBatch]:
    """All records of a shard, as `iter_shard` gives them."""
    return list(iter_shard(path))


def find_shard(folder: str, key: tuple[int, int]) -> EmbeddingShard | None:
    """The shard of a group if it has been written."""
    path = shard_path(folder, key)
    if not storage.exists(path):
        return None
    batches = read_shard(path)
    num_rows = sum(len(batch.rows) for batch in batches)
    return EmbeddingShard(key, path, num_rows, batches[0].rows.shape[1], all(batch.normalized for batch in batches))


def read_documents(
    path: str, files: Sequence[str], offsets: np.ndarray, hashes: np.ndarray
) -> tuple[list[EmbeddingBatch], np.ndarray]:
    """The records of a group's documents, and which of these have a row; the others' were not finite.

    Args:
        path: of the group's shard.
        files: path of the file of each of the N documents, in corpus order.
        offsets: int64 [N].
        hashes: uint64 [N], of their texts.

    Returns:
        (batches, has_row): the records, which have M rows, and bool [N], of which M are set.

    Raises:
        UserError: if the shard holds other documents.
    """
    batches = read_shard(path)
    embedded = [batch.documents for batch in batches]
    names = [batch.file for batch, (found, _) in zip(batches, embedded, strict=True) for _ in found]
    same = list(files) == names and all(
        np.array_equal(wanted, np.concatenate(column))
        for wanted, column in zip((offsets, hashes), zip(*embedded, strict=True), strict=True)
    )
    if not same:
        raise UserError(f"{path}: its documents are not those of {files[0]}; embed the dataset again")
    has_row = [np.isin(found, batch.offsets) for batch, (found, _) in zip(batches, embedded, strict=True)]
    return batches, np.concatenate(has_row)


def split_documents(group: DocumentGroup, finite: np.ndarray) -> tuple[DocumentGroup, list[Reject]]:
    """A group without the documents whose embedding is not `finite` (bool [N]), and these as rejects.

    The rejects quote the text: the line itself is not at hand.
    """
    ends = np.cumsum([len(batch.texts) for batch in group.batches])[:-1]
    kept, rejects = [], []
    for batch, keep in zip(group.batches, np.split(finite, ends), strict=True):
        texts = [text for text, kept_too in zip(batch.texts, keep, strict=True) if kept_too]
        kept.append(replace(batch, offsets=batch.offsets[keep], lengths=batch.lengths[keep], texts=texts))
        rejects += [
            Reject(batch.file.path, int(batch.offsets[place]), NOT_FINITE, batch.texts[place][:EXCERPT_CHARACTERS])
            for place in np.flatnonzero(~keep)
        ]
    return DocumentGroup(group.key, kept, list(group.rejects)), rejects
