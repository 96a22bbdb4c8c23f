"""What one pass over score shards finds out for the selection, and how it is brought together in small pieces."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.threshold import Histogram, RankedRows

# Rows in one piece: 400 KB.
_PIECE_ROWS = 1 << 14
_NO_BINS = np.zeros(0, np.int64)

Piece = tuple[tuple[str, int, int], Any]


@dataclass(frozen=True)
class PassResult:
    """What a pass finds in some score shards."""

    counts: ScoreCounts
    found: Histogram | RankedRows | None

    def merge(self, other: "PassResult") -> "PassResult":
        """Of all these shards."""
        if self.found is None or other.found is None:
            found = other.found if self.found is None else self.found
        else:
            found = self.found.merge(other.found)  # type: ignore[arg-type]  # of one pass, so of one kind
        return PassResult(self.counts.merge(other.counts), found)


def to_pieces(measured: PassResult, shard: int) -> Iterator[Piece]:
    """What was measured in a shard, in pieces of at most 512 KB; those of one key are merged by `merge_pieces`."""
    yield ("documents", 0, 0), measured.counts
    match measured.found:
        case Histogram() as found:
            yield ("ranges", 0, 0), replace(found, counts=_NO_BINS, sums=_NO_BINS)
            yield ("counts", 0, 0), found.counts
            if found.sums is not found.counts:
                yield ("sums", 0, 0), found.sums
        case RankedRows() as found:
            for number, first in enumerate(range(0, len(found.bits), _PIECE_ROWS)):
                part = slice(first, first + _PIECE_ROWS)
                yield ("rows", shard, number), RankedRows(found.bits[part], found.positions[part], found.amounts[part])


def merge_pieces(one: Any, other: Any) -> Any:
    """The piece of one key for both; exact, in any order."""
    return one + other if isinstance(one, np.ndarray) else one.merge(other)


def from_pieces(pieces: Iterable[Piece]) -> PassResult | None:
    """What `to_pieces` took apart, of all shards; None of nothing."""
    found = dict(pieces)
    if not found:
        return None
    counts = found["documents", 0, 0]
    if (ranges := found.get(("ranges", 0, 0))) is not None:
        bins = found["counts", 0, 0]
        return PassResult(counts, replace(ranges, counts=bins, sums=found.get(("sums", 0, 0), bins)))
    rows = [piece for (name, _, _), piece in found.items() if name == "rows"]
    if not rows:
        return PassResult(counts, None)
    columns = ([getattr(piece, name) for piece in rows] for name in ("bits", "positions", "amounts"))
    return PassResult(counts, RankedRows(*map(np.concatenate, columns)))
