"""Which rows a mixture is fitted to: all, or the N of the smallest hashed identities."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np

from hir_transforms.combining import MergeCombineFn
from hir_transforms.embedding_shards import EmbeddingBatch, EmbeddingShard, read_shard
from hir_transforms.numerics.gumbel import identity_hash

ShardRows = tuple[EmbeddingShard, ...]

_BIN_BITS = 16


@dataclass(frozen=True)
class RowSample:
    """The rows whose (hash, file name) is not after `last`; all rows where that is None.

    The hashes are uniform, so the first N in this order are a uniform sample. The order is total: two rows of one file
    never share a hash, because `identity_hash` maps the offsets of a file one to one.

    Attributes:
        seed: of the hashes.
        last: hash and name of the last row that belongs to the sample.
    """

    seed: int
    last: tuple[int, str] | None = None

    def read(self, shards: ShardRows) -> tuple[np.ndarray, np.ndarray]:
        """The sampled rows of some shards: float32 [N, D], and their hashes, uint64 [N]."""
        parts = [self._select(batch) for shard in shards for batch in read_shard(shard.path)]
        rows, hashes = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(hashes)

    def _select(self, batch: EmbeddingBatch) -> tuple[np.ndarray, np.ndarray]:
        hashes = _row_hashes(self.seed, batch)
        if self.last is None:
            return batch.rows, hashes
        last_hash, last_name = self.last
        kept = hashes <= last_hash if batch.name <= last_name else hashes < last_hash
        return batch.rows[kept], hashes[kept]


def _row_hashes(seed: int, batch: EmbeddingBatch) -> np.ndarray:
    return identity_hash(seed, batch.name, batch.offsets, purpose="rows")


@dataclass(frozen=True)
class HashBin:
    """The hashes with the same highest 16 bits, among which the sample ends: after the first `num_kept` of them."""

    number: int
    num_kept: int


def find_sample(tasks: Sequence[ShardRows], seed: int, max_samples: int | None) -> RowSample:
    """The sample of the `max_samples` first rows (None: all) of all tasks, found in one place as by `FindSample`."""
    if max_samples is None:
        return RowSample(seed)
    counts = functools.reduce(np.add, (count_hashes(task, seed) for task in tasks))
    hash_bin = find_bin(counts, max_samples)
    in_bin = [found for task in tasks for found in hashes_in_bin(task, seed, hash_bin)]
    return end_sample(in_bin, seed, hash_bin)


class FindSample(beam.PTransform):
    """`ShardRows` -> the one `RowSample` of the `max_samples` first rows of all.

    Two passes over the shards, both bounded: a histogram of the hashes' highest 16 bits (512 KB) tells in which bin
    the last row lies, then the hashes in this bin alone, a 65,536th part of all, are gathered and sorted.
    """

    def __init__(self, seed: int, max_samples: int | None) -> None:
        super().__init__()
        self._seed = seed
        self._max_samples = max_samples

    def expand(self, tasks: beam.PCollection[ShardRows]) -> beam.PCollection[RowSample]:
        """See the class."""
        if self._max_samples is None:
            return tasks.pipeline | "All" >> beam.Create([RowSample(self._seed)])
        hash_bin = (
            tasks
            | "Histogram" >> beam.Map(count_hashes, self._seed)
            | "Add" >> beam.CombineGlobally(MergeCombineFn(np.add))
            | "Bin" >> beam.Map(find_bin, self._max_samples)
        )
        side_input = beam.pvalue.AsSingleton(hash_bin)
        return (
            tasks
            | "InBin" >> beam.FlatMap(hashes_in_bin, self._seed, side_input)
            | "Gather" >> beam.combiners.ToList()
            | "End" >> beam.Map(end_sample, self._seed, side_input)
        )


def count_hashes(shards: ShardRows, seed: int) -> np.ndarray:
    """Histogram of the highest 16 bits of all hashes, int64 [65536]."""
    _, hashes = RowSample(seed).read(shards)
    return np.bincount((hashes >> np.uint64(64 - _BIN_BITS)).astype(np.int64), minlength=1 << _BIN_BITS)


def find_bin(counts: np.ndarray, max_samples: int) -> HashBin | None:
    """The bin in which the sample ends; None if there are not more rows than asked for."""
    ends = np.cumsum(counts)
    if ends[-1] <= max_samples:
        return None
    number = int(np.searchsorted(ends, max_samples))
    return HashBin(number, max_samples - int(ends[number] - counts[number]))


def hashes_in_bin(shards: ShardRows, seed: int, hash_bin: HashBin | None) -> Iterator[tuple[np.ndarray, str]]:
    """The hashes of the bin, uint64 [N], with the name of their file, of each batch that has any."""
    if hash_bin is None:
        return
    for shard in shards:
        for batch in read_shard(shard.path):
            hashes = _row_hashes(seed, batch)
            inside = hashes[hashes >> np.uint64(64 - _BIN_BITS) == hash_bin.number]
            if inside.size:
                yield inside, batch.name


def end_sample(in_bin: list[tuple[np.ndarray, str]], seed: int, hash_bin: HashBin | None) -> RowSample:
    """The sample that ends in the bin, of which `in_bin` has all hashes."""
    if hash_bin is None:
        return RowSample(seed)
    candidates = sorted((value, name) for hashes, name in in_bin for value in hashes.tolist())
    return RowSample(seed, candidates[hash_bin.num_kept - 1])
