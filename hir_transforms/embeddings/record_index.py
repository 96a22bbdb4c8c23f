"""`WriteRecordIndex`: in which files of embeddings the documents of a source file are, as an index in files."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
import msgspec
import xxhash

from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import SourceFile
from hir_transforms.embeddings.shards import iter_shard
from hir_transforms.embeddings.source import EmbeddingFiles
from hir_transforms.files import storage

_FOLDER = "records"
# So many that one stays small: 230 KB for each of 1,500 records, of a hundred million.
_BUCKET_BITS = 16


class ShardRecord(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Where a record of an embedding shard is, and of which documents: offsets `first` to `last` of a file."""

    file: str
    first: int
    last: int
    name: str
    path: str


@dataclass(eq=False)
class WriteRecordIndex(beam.PTransform):
    """PBegin -> the number of index files, once all are written, where a `RecordIndex` finds them.

    Files whose paths, or names, have the same hash of 16 bits share an index file.

    Attributes:
        stage_folder: the index is a folder in it.
        embeddings: what is listed.

    Raises:
        UserError: when run, if the records are not of one model.
    """

    stage_folder: str
    embeddings: EmbeddingFiles

    def expand(self, pbegin: beam.Pipeline) -> beam.PCollection[int]:
        """See the class."""
        return (
            pbegin
            | "Files" >> beam.Create([self.embeddings.dataset])
            | "Paths" >> beam.FlatMap(lambda dataset: [file.path for file in dataset.list_files()])
            | "Spread" >> beam.Reshuffle()
            | "Records" >> beam.FlatMap(_list_records, self.embeddings)
            | "Buckets" >> beam.FlatMap(_to_buckets)
            | "Bucket" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write, self.stage_folder)
            | "Count" >> beam.combiners.Count.Globally()
        )


def _list_records(path: str, embeddings: EmbeddingFiles) -> Iterator[ShardRecord]:
    expected = (embeddings.dim, embeddings.model, embeddings.revision)
    for batch in iter_shard(path):
        dim = batch.rows.shape[1]
        if (dim, batch.model, batch.revision) != expected:
            raise UserError(
                f"--{embeddings.dataset.role}: {path} is of the model {batch.model} ({batch.revision}, "
                f"{dim} numbers a row), others of {embeddings.model} ({embeddings.revision}, {embeddings.dim})"
            )
        offsets, _ = batch.documents
        yield ShardRecord(batch.file, int(offsets[0]), int(offsets[-1]), batch.name, path)


def _to_buckets(record: ShardRecord) -> Iterator[tuple[int, ShardRecord]]:
    for bucket in {_bucket(record.file), _bucket(record.name)}:
        yield bucket, record


def _bucket(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode()) >> 64 - _BUCKET_BITS


def _path(stage_folder: str, bucket: int) -> str:
    return storage.join(stage_folder, _FOLDER, f"{bucket:05d}.msgpack")


def _write(records_of_bucket: tuple[int, Iterable[ShardRecord]], stage_folder: str) -> int:
    bucket, records = records_of_bucket
    in_order = sorted(records, key=lambda record: (record.first, record))
    storage.write_bytes(_path(stage_folder, bucket), msgspec.msgpack.encode(in_order))
    return bucket


class RecordIndex:
    """Finds records in a written index; quickest in corpus order, for it keeps those of the last source file."""

    def __init__(self, stage_folder: str) -> None:
        self._stage_folder = stage_folder
        self._file: SourceFile | None = None
        self._records: list[ShardRecord] = []

    def find(self, file: SourceFile, first: int, last: int) -> list[ShardRecord]:
        """Records with documents of a file from offset `first` to `last`; by its name if none is of its path."""
        if file != self._file:
            records = [record for record in self._read(file.path) if record.file == file.path]
            self._records = records or [record for record in self._read(file.name) if record.name == file.name]
            self._file = file
        low = bisect_left(self._records, first, key=lambda record: record.last)
        high = bisect_right(self._records, last, key=lambda record: record.first)
        return self._records[low:high]

    def _read(self, name: str) -> list[ShardRecord]:
        """The records of all files of a bucket, by their first offset."""
        path = _path(self._stage_folder, _bucket(name))
        return msgspec.msgpack.decode(storage.read_bytes(path), type=list[ShardRecord]) if storage.exists(path) else []
