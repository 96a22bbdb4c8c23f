"""How near a selection is to the target by embeddings: mean cosine, and what clusters their documents fall into."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hir_transforms.artifacts.stages import Stage
from hir_transforms.common.threads import use_one_thread
from hir_transforms.documents.identity import identity_hash
from hir_transforms.embeddings.embed import load_shards
from hir_transforms.embeddings.shards import EmbeddingShard, iter_shard
from hir_transforms.evaluation.divergence import jensen_shannon_distance
from hir_transforms.report.places import PlaceSample
from hir_transforms.report.quality import MEASURED_SETS

NUM_CLUSTERS = 20
# Rows of the target, and of each set, that are clustered.
MOST_ROWS = 1000
_SHARDS_TOGETHER = 64
# Rows that leave a worker together: of 384 numbers, 200 KB.
_ROWS_TOGETHER = 128

Rows = npt.NDArray[np.float32]


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


def rows_of(embedded: Iterable[EmbeddedRows], samples: Mapping[str, PlaceSample]) -> tuple[Rows, dict[str, Rows]]:
    """The rows of the target, and of each set, in the order of their hashes; a set of none is left out."""
    target: dict[int, Rows] = {}
    raw: dict[int, Rows] = {}
    for part in embedded:
        (target if part.of_target else raw).update(zip(part.hashes.tolist(), part.rows, strict=True))
    first = [target[hashed] for hashed in sorted(target)[:MOST_ROWS]]
    sets = {}
    for name in MEASURED_SETS:
        hashes = samples[name].hashes[:MOST_ROWS].tolist() if name in samples else []
        if found := [raw[hashed] for hashed in hashes if hashed in raw]:
            sets[name] = np.stack(found)
    return np.stack(first) if first else np.empty((0, 0), np.float32), sets


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
            for first in range(0, len(rows), _ROWS_TOGETHER):
                part = slice(first, first + _ROWS_TOGETHER)
                yield EmbeddedRows(wanted is None, hashes[part], rows[part].copy())


def describe_embedded(target: Rows, sets: Mapping[str, Rows], seed: int = 0) -> dict[str, Any]:
    """How near each set is to the target; JSON values.

    The mean cosine is that of all pairs of a row of the set and one of the target. The distance is that of
    Jensen-Shannon between the shares of the clusters that k-means finds in the rows of all.

    Args:
        target: float32 [N, D], in an order that does not depend on the runner.
        sets: by name, the same.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans

    use_one_thread()
    unit = {name: _unit(rows) for name, rows in {"": target, **sets}.items()}
    every = np.concatenate([*unit.values()])
    clusters = min(NUM_CLUSTERS, len(np.unique(every, axis=0)))
    labels = KMeans(clusters, n_init=1, random_state=seed).fit_predict(every)
    ends = np.cumsum([len(rows) for rows in unit.values()])[:-1]
    counts = [np.bincount(part, minlength=clusters) for part in np.split(labels, ends)]
    of_target = unit[""].mean(axis=0, dtype=np.float64)
    return {
        name: {
            "cosine": math.fsum((unit[name].mean(axis=0, dtype=np.float64) * of_target).tolist()),
            "cluster_distance": jensen_shannon_distance(counts[0], own),
            "clusters": [[int(one), int(other)] for one, other in zip(counts[0], own, strict=True)],
        }
        for name, own in zip(sets, counts[1:], strict=True)
    }


def _unit(rows: Rows) -> npt.NDArray[np.float64]:
    """Rows of length 1; those of length 0 as they are."""
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
