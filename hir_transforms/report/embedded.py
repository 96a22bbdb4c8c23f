"""The embeddings of samples of the target and of what may be selected, from their shards."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.artifacts.stages import Stage
from hir_transforms.documents.identity import identity_hash
from hir_transforms.embeddings.embed import load_shards
from hir_transforms.embeddings.shards import EmbeddingShard, iter_shard
from hir_transforms.evaluation.nearness import ClusteredRows, Rows, parts_of
from hir_transforms.report.places import PlaceSample
from hir_transforms.report.quality import MEASURED_SETS

TARGET = "target"
# Rows of the target, and of each set, that are clustered.
MOST_ROWS = 1000
_SHARDS_TOGETHER = 64


@dataclass(frozen=True)
class EmbeddingTask:
    """Shards to take rows from.

    Attributes:
        shards: of one dataset.
        wanted: hashes of the rows to take, as drawn for the report, ascending; None for those of up to `last`.
        last: a hash.
    """

    shards: tuple[EmbeddingShard, ...]
    wanted: tuple[int, ...] | None
    last: int = 0


@dataclass(frozen=True, eq=False)
class EmbeddedRows:
    """Rows of documents: whether of the target, their hashes, uint64 [N], and float32 [N, D]."""

    of_target: bool
    hashes: npt.NDArray[np.uint64]
    rows: Rows


def embedded_hashes(samples: Mapping[str, PlaceSample]) -> set[int]:
    """The hashes of the documents whose rows are taken."""
    return {
        hashed for name in MEASURED_SETS if name in samples for hashed in samples[name].hashes[:MOST_ROWS].tolist()
    }


def rows_of(embedded: Iterable[EmbeddedRows], samples: Mapping[str, PlaceSample]) -> dict[str, EmbeddedRows]:
    """The rows of `TARGET`, and of each set, in the order of their hashes; nothing where one of the two is missing."""
    target: dict[int, Rows] = {}
    raw: dict[int, Rows] = {}
    for part in embedded:
        (target if part.of_target else raw).update(zip(part.hashes.tolist(), part.rows, strict=True))
    wanted = {TARGET: (target, sorted(target)[:MOST_ROWS])}
    wanted |= {
        name: (raw, samples[name].hashes[:MOST_ROWS].tolist()) for name in MEASURED_SETS if target and name in samples
    }
    found = {}
    for name, (rows, hashes) in wanted.items():
        if known := [hashed for hashed in hashes if hashed in rows]:
            stacked = np.stack([rows[hashed] for hashed in known])
            found[name] = EmbeddedRows(name == TARGET, np.array(known, np.uint64), stacked)
    return found if len(found) > 1 else {}


def embedding_tasks(raw: Stage, target: Stage, hashes: Iterable[int]) -> Iterator[EmbeddingTask]:
    """What to read: of raw the documents of these hashes, of the target a sample."""
    shards = sorted(load_shards(raw))
    for first in range(0, len(shards), _SHARDS_TOGETHER):
        yield EmbeddingTask(tuple(shards[first : first + _SHARDS_TOGETHER]), tuple(sorted(hashes)))
    shards = sorted(load_shards(target))
    share = min(1.0, 2 * MOST_ROWS / max(1, sum(shard.num_rows for shard in shards)))
    for first in range(0, len(shards), _SHARDS_TOGETHER):
        some = tuple(shards[first : first + _SHARDS_TOGETHER])
        yield EmbeddingTask(some, None, min(2**64 - 1, int(share * 2**64)))


def read_embedded(task: EmbeddingTask) -> Iterator[EmbeddedRows]:
    """The rows of a task."""
    wanted = None if task.wanted is None else np.array(task.wanted, np.uint64)
    for shard in task.shards:
        for batch in iter_shard(shard.path):
            hashes = identity_hash(0, batch.name, batch.offsets, purpose="report")
            kept = hashes <= np.uint64(task.last) if wanted is None else np.isin(hashes, wanted)
            rows, hashes = batch.rows[kept], hashes[kept]
            for part in parts_of(rows):
                yield EmbeddedRows(wanted is None, hashes[part], rows[part].copy())


def describe_embedded(clustered: Mapping[str, ClusteredRows]) -> dict[str, Any]:
    """How near each set is to the target; JSON values by the names of the sets.

    Args:
        clustered: those of `TARGET` and of the sets; none where there are no embeddings.
    """
    if not clustered:
        return {}
    target = clustered[TARGET]
    return {
        name: {
            "cosine": own.cosine(target),
            "cluster_distance": own.cluster_distance(target),
            "clusters": np.stack([target.counts, own.counts], axis=1).tolist(),
        }
        for name, own in clustered.items()
        if name != TARGET
    }
