import functools
import pickle

import numpy as np
import pytest

from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.measures import PassResult, from_pieces, merge_pieces, to_pieces
from hir_transforms.selection.threshold import RankedRows, ThresholdSearch


def measured(generator, kind):
    """What a pass finds in a shard of 50,000 documents."""
    count = 50_000
    bits = generator.integers(0, 2**63, count, np.uint64)
    positions = generator.integers(0, 2**40, count, np.uint64)
    amounts = generator.integers(0, 1000, count) if kind == "tokens" else None
    search = ThresholdSearch.start(10, gathers=kind == "gathered")
    found = None if kind == "nothing" else search.measure(bits, positions, amounts)
    return PassResult(ScoreCounts(1, 2, 3, count), found)


@pytest.mark.parametrize("kind", ["documents", "tokens", "gathered", "nothing"])
def test_pieces_are_small_and_make_up_what_was_measured(kind):
    generator = np.random.default_rng(0)
    shards = [measured(generator, kind) for _ in range(3)]
    pieces = [piece for index, shard in enumerate(shards) for piece in to_pieces(shard, index)]
    assert max(len(pickle.dumps(piece)) for piece in pieces) < 600_000
    merged = {}
    for key, piece in reversed(pieces):
        merged[key] = merge_pieces(merged[key], piece) if key in merged else piece
    found, expected = from_pieces(merged.items()), functools.reduce(PassResult.merge, shards)
    assert found.counts == expected.counts
    if kind == "nothing":
        assert found.found is None
    elif isinstance(expected.found, RankedRows):
        rows = [
            sorted(zip(one.bits.tolist(), one.positions.tolist(), one.amounts.tolist(), strict=True))
            for one in (found.found, expected.found)
        ]
        assert rows[0] == rows[1]
    else:
        np.testing.assert_array_equal(found.found.counts, expected.found.counts)
        np.testing.assert_array_equal(found.found.sums, expected.found.sums)
        assert (found.found.sums is found.found.counts) == (kind == "documents")
        assert (found.found.values, found.found.positions) == (expected.found.values, expected.found.positions)


def test_of_no_pieces_nothing_is_known():
    assert from_pieces([]) is None
