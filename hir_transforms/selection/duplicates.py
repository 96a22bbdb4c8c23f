"""`FindDuplicates`: the documents whose text an earlier document has as well, by the hashes in score shards."""

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from hir_transforms.artifacts.stages import Stage, WriteStageManifest
from hir_transforms.common import metrics
from hir_transforms.files import storage
from hir_transforms.selection.later_copies import later_copies
from hir_transforms.weights.score_shards import ScoreShard, load_score_shards, read_hashes

_PARTITION_ROWS = 1 << 21
# Rows of one element: at most 0.5 MB of 32 bytes per row.
_PIECE_ROWS = 1 << 14
# A code is the low half of a hash below the highest bits, which number the partition.
_LOW_BITS = np.uint64(32)
# What a shard is called in a shuffle: its index and path; and the number of bits that number the partitions.
_Key = tuple[int, str, int]


@dataclass(frozen=True)
class _Rows:
    """Rows of a shard that may be duplicates: its index, and uint64 or int64 [N] each."""

    shard: int
    text_hash: np.ndarray
    file: np.ndarray
    offset: np.ndarray
    row: np.ndarray


@dataclass(eq=False)
class FindDuplicates(beam.PTransform):
    """The complete stage of the scores -> one element of counts, once this stage's files and manifest are written.

    Of documents with equal hashes the first by (file index, byte offset) is kept; the row numbers of the others are
    written for each shard that has any, where `duplicate_rows` reads them.

    Most documents have no duplicate. So half of each hash, 4 bytes per document, goes to partitions of two million
    rows, which tell each shard what other shards have too; only for these rows does the rest follow, once for each
    text and shard. A worker holds a few shards' columns and a partition; its share of the 4 bytes is the largest part.
    """

    stage: Stage

    def expand(self, scores: beam.PCollection[Stage]) -> beam.PCollection[dict[str, Any]]:
        """See the class."""
        candidates = (
            scores
            | "List" >> beam.FlatMap(_list_shards)
            | "Spread" >> beam.Reshuffle()
            | "Halves" >> beam.FlatMapTuple(_halves)
            | "ByHalf" >> beam.GroupByKey()
            | "Shared" >> beam.FlatMap(_shared)
            | "OfShard" >> beam.GroupByKey()
            | "Look" >> beam.FlatMap(_candidates).with_outputs("own", main="rest")
        )
        across = candidates.rest | "ByHash" >> beam.GroupByKey() | "Compare" >> beam.FlatMap(_compare)
        return (
            (candidates.own, across)
            | "Duplicates" >> beam.Flatten()
            | "ByShard" >> beam.GroupByKey()
            | "Write" >> beam.Map(_write, self.stage.alone())
            | "Count" >> beam.CombineGlobally(sum)
            | "Counts" >> beam.Map(lambda total: {"duplicates": total})
            | "Manifest" >> WriteStageManifest(self.stage)
        )


def duplicate_rows(folder: str, index: int) -> np.ndarray:
    """Row numbers of a score shard's duplicates, int64 ascending, from the folder of a complete stage."""
    path = _path(folder, index)
    if not storage.exists(path):
        return np.empty(0, np.int64)
    return np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False)


def _path(folder: str, index: int) -> str:
    return storage.join(folder, f"part-{index:05d}.npy")


def _list_shards(scores: Stage) -> Iterator[tuple[ScoreShard, int]]:
    """The score shards, with the number of bits that number the partitions."""
    shards = list(load_score_shards(scores))
    bits = _partition_bits(sum(shard.rows for shard in shards))
    return ((shard, bits) for shard in shards)


def _partition_bits(num_rows: int) -> int:
    """Number of bits that number the partitions, at least 1."""
    return max(1, math.ceil(math.log2(max(1, num_rows) / _PARTITION_ROWS)))


def _codes(text_hash: np.ndarray, bits: int) -> np.ndarray:
    low = text_hash & np.uint64((1 << 32) - 1)
    return text_hash >> np.uint64(64 - bits) << _LOW_BITS | low


def _split(codes: np.ndarray) -> Iterator[tuple[int, slice]]:
    """(partition, its slice) of ascending codes."""
    partition, begin = np.unique(codes >> _LOW_BITS, return_index=True)
    ends = [*begin[1:].tolist(), len(codes)]
    for number, start, end in zip(partition.tolist(), begin.tolist(), ends, strict=True):
        yield number, slice(start, end)


def _pieces(values: np.ndarray) -> Iterator[np.ndarray]:
    """Values in pieces that a shuffle moves well; nothing of no values."""
    return (values[first : first + _PIECE_ROWS] for first in range(0, len(values), _PIECE_ROWS))


def _halves(shard: ScoreShard, bits: int) -> Iterator[Any]:
    """(partition, (key, uint32 [N])) of the shard's texts; one that it has several times is there twice."""
    if shard.path is None:
        return
    codes, counts = np.unique(_codes(read_hashes(shard.path)[0], bits), return_counts=True)
    codes = np.repeat(codes, np.minimum(counts, 2))
    key = (shard.index, shard.path, bits)
    for partition, part in _split(codes):
        for piece in _pieces(codes[part].astype(np.uint32)):
            yield partition, (key, piece)


def _shared(partition: tuple[int, Iterable[tuple[_Key, np.ndarray]]]) -> Iterator[tuple[_Key, np.ndarray]]:
    """(key, codes) of what a shard has twice, or in common with others."""
    number, batches = partition
    found = list(batches)
    halves = np.sort(np.concatenate([part for _, part in found]))
    several = np.unique(halves[1:][halves[1:] == halves[:-1]])
    for key, part in found:
        for common in _pieces(np.unique(part[np.isin(part, several)])):
            yield key, common.astype(np.uint64) | np.uint64(number) << _LOW_BITS


def _candidates(codes_of_shard: tuple[_Key, Iterable[np.ndarray]]) -> Iterator[Any]:
    """(partition, `_Rows`) of the shard's first documents with these codes, and tagged "own" (shard, the others)."""
    (index, path, bits), codes = codes_of_shard
    text_hash, file, offset = read_hashes(path)
    all_codes = _codes(text_hash, bits)
    row = np.flatnonzero(np.isin(all_codes, np.concatenate(list(codes))))
    own = later_copies(text_hash[row], (file[row], offset[row]))
    for piece in _pieces(row[own]):
        yield beam.pvalue.TaggedOutput("own", (index, piece))
    row = np.delete(row, own)
    row = row[np.argsort(all_codes[row])]
    for partition, part in _split(all_codes[row]):
        for rows in _pieces(row[part]):
            yield partition, _Rows(index, text_hash[rows], file[rows], offset[rows], rows)


def _compare(partition: tuple[int, Iterable[_Rows]]) -> Iterator[tuple[int, np.ndarray]]:
    """(shard, row numbers) of the documents of a partition whose text an earlier one has, of any shard."""
    found = list(partition[1])
    text_hash, file, offset, row = (
        np.concatenate([getattr(rows, name) for rows in found]) for name in ("text_hash", "file", "offset", "row")
    )
    later = later_copies(text_hash, (file, offset))
    ends = np.cumsum([len(rows.row) for rows in found])
    for rows, part in zip(found, np.split(row[later], np.searchsorted(later, ends[:-1])), strict=True):
        for piece in _pieces(part):
            yield rows.shard, piece


def _write(rows_of_shard: tuple[int, Iterable[np.ndarray]], stage: Stage) -> int:
    """Writes a shard's duplicates; returns how many there are."""
    shard, rows = rows_of_shard
    duplicates = np.sort(np.concatenate(list(rows)))
    with storage.atomic_write(_path(stage.folder, shard)) as file:
        np.save(file, duplicates, allow_pickle=False)
    metrics.count(stage.name, duplicates=len(duplicates))
    return len(duplicates)
