"""Which rows a model is fitted to: all, or the N of the smallest hashed identities, copied to files of their own."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
from apache_beam.typehints.decorators import no_annotations

from hir_transforms.classifiers.logistic import folds_of
from hir_transforms.common.combining import Gather
from hir_transforms.documents.identity import MAX_HASH, identity_hash, sample_limit
from hir_transforms.embeddings.shards import EmbeddingBatch, EmbeddingShard, iter_shard
from hir_transforms.files import storage

_ALL = MAX_HASH
# Sampled rows that one task is expected to copy: few enough for many workers, enough for files of a fair size.
_COPIED_ROWS = 1024
# So that the references of one task are far below 1 MB.
_MOST_SOURCES = 2048
_WHOLE = "whole"


@dataclass(frozen=True, order=True)
class CopiedRows:
    """A file of sampled rows: its place in corpus order, its path, its number of rows."""

    index: int
    path: str
    num_rows: int


# What rows are read from, and what one task reads: neighbours in corpus order.
RowSource = EmbeddingShard | CopiedRows
RowSources = tuple[RowSource, ...]
_Columns = tuple[np.ndarray, np.ndarray, np.ndarray]
_Source = TypeVar("_Source", bound=RowSource)


@dataclass(frozen=True)
class _Group:
    """Shards to copy the rows from whose hashes are at most `limit`, and their place in corpus order."""

    index: int
    shards: tuple[EmbeddingShard, ...]
    limit: int


def read_rows(sources: RowSources, seed: int, last: int = _ALL) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some sources whose hash is at most `last`: float32 [N, D], and these hashes, uint64 [N]."""
    rows, hashes, _ = _read_columns(sources, seed, last)
    return rows, hashes


def read_rows_and_folds(sources: RowSources, seed: int, last: int = _ALL) -> tuple[np.ndarray, np.ndarray]:
    """The rows that `read_rows` gives, and the folds of their documents (`folds_of`), int64 [N]."""
    rows, _, folds = _read_columns(sources, seed, last)
    return rows, folds


def _read_columns(sources: RowSources, seed: int, last: int) -> _Columns:
    """Rows, hashes and folds; of each record no more than is wanted stays in memory."""
    parts: list[_Columns] = []
    for source in sources:
        if isinstance(source, CopiedRows):
            with np.load(io.BytesIO(storage.read_bytes(source.path)), allow_pickle=False) as arrays:
                parts.append(_up_to(last, (arrays["rows"], arrays["hashes"], arrays["folds"])))
        else:
            parts += (_up_to(last, _columns(seed, batch)) for batch in iter_shard(source.path))
    rows, hashes, folds = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rows, hashes, folds


def _columns(seed: int, batch: EmbeddingBatch) -> _Columns:
    hashes = identity_hash(seed, batch.name, batch.offsets, purpose="rows")
    return batch.rows, hashes, folds_of(seed, batch.name, batch.offsets)


def _up_to(last: int, columns: _Columns) -> _Columns:
    if last == _ALL:
        return columns
    rows, hashes, folds = columns
    kept = hashes <= np.uint64(last)
    return rows[kept], hashes[kept], folds[kept]


@dataclass(eq=False)
class SampleRows(beam.PTransform):
    """`EmbeddingShard`s -> `CopiedRows` of a uniform sample; the same shards if there are no more rows than wanted.

    The rows of the smallest hashes are the sample, so it depends on nothing but the rows and the seed. One pass copies
    the rows below a limit under which there are surely enough of them, a few percent more than wanted; `last_hash`
    tells where the sample ends among these.

    Attributes:
        folder: where the copies are written.
        seed: of the hashes.
        max_samples: rows wanted.
    """

    folder: str
    seed: int
    max_samples: int

    @no_annotations  # Beam cannot check more than one output
    def expand(self, shards: beam.PCollection[EmbeddingShard]) -> beam.PCollection[RowSource]:
        """See the class."""
        divided = (
            shards
            | "Gather" >> Gather()
            | "Divide" >> beam.FlatMap(_divide, self.max_samples).with_outputs(_WHOLE, main="groups")
        )
        copied = divided.groups | "Spread" >> beam.Reshuffle() | "Copy" >> beam.FlatMap(_copy, self.seed, self.folder)
        return (divided[_WHOLE], copied) | "Sampled" >> beam.Flatten()


def remove_copies(fitted: beam.PCollection[Any], folder: str) -> None:
    """Removes what `SampleRows` has copied into a folder, once the fit to it is there, an element."""
    # After a shuffle, so that no other attempt to fit can come later.
    fitted | "Fitted" >> beam.Reshuffle() | "RemoveCopies" >> beam.Map(_remove, folder)


def _remove(_: Any, folder: str) -> None:
    storage.remove_folder(folder)


def last_hash(sources: Sequence[RowSource], seed: int, max_samples: int | None) -> int:
    """The hash of the last row of a sample, among what `SampleRows` gave; more than any if all rows belong to it."""
    if max_samples is None or sum(source.num_rows for source in sources) <= max_samples:
        return _ALL
    hashes = np.concatenate([read_rows((source,), seed)[1] for source in sources])
    return int(np.partition(hashes, max_samples - 1)[max_samples - 1])


def group_sources(sources: Sequence[_Source], rows: int) -> list[tuple[_Source, ...]]:
    """Sources of one kind in corpus order, neighbours together up to `rows` rows; empty ones left out."""
    groups: list[tuple[_Source, ...]] = []
    pending: list[_Source] = []
    pending_rows = 0
    for source in sorted(source for source in sources if source.num_rows):
        if pending and (pending_rows + source.num_rows > rows or len(pending) == _MOST_SOURCES):
            groups.append(tuple(pending))
            pending, pending_rows = [], 0
        pending.append(source)
        pending_rows += source.num_rows
    return [*groups, tuple(pending)] if pending else groups


def _divide(shards: list[EmbeddingShard], max_samples: int) -> Iterator[Any]:
    """Groups to copy from; the shards as `_WHOLE` where there is nothing to leave out."""
    num_rows = sum(shard.num_rows for shard in shards)
    if num_rows <= max_samples:
        yield from (beam.pvalue.TaggedOutput(_WHOLE, shard) for shard in shards)
        return
    limit = sample_limit(num_rows, max_samples)
    for index, group in enumerate(group_sources(shards, _COPIED_ROWS * num_rows // max_samples)):
        yield _Group(index, group, limit)


def _copy(group: _Group, seed: int, folder: str) -> Iterator[CopiedRows]:
    rows, hashes, folds = _read_columns(group.shards, seed, group.limit)
    copied = CopiedRows(group.index, storage.join(folder, f"rows-{group.index:06d}.npz"), len(rows))
    if copied.num_rows:
        with storage.atomic_write(copied.path) as file:
            np.savez(file, rows=rows, hashes=hashes, folds=folds)
        yield copied
