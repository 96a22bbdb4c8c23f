import functools
import pickle

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from hir_transforms.selection.threshold import (
    EVERYTHING,
    MAX_PASSES,
    NOTHING,
    RankedRows,
    Threshold,
    ThresholdSearch,
    order_bits,
    pack_positions,
)

KEYS = st.sampled_from([-np.inf, -1e6, -1.0, -0.0, 0.0, 5e-324, 1.0, 1e6, np.inf]) | st.floats(allow_nan=False)
# (key, file, tokens) of each document; its offset grows with its place in the list.
DOCUMENTS = st.lists(st.tuples(KEYS, st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60)


def arrays_of(documents):
    keys, files, tokens = (np.array(column) for column in zip(*documents, strict=True))
    positions = pack_positions(files.astype(np.int64), 7 * np.arange(len(keys)))
    return keys.astype(np.float64), positions, tokens.astype(np.int64)


def refine(bits, positions, amounts, budget, parts, *, forward=True):
    """The end of a search over documents dealt out to parts, and the passes it took."""
    state = ThresholdSearch.start(budget)
    passes = 0
    while state.threshold is None:
        passes += 1
        state = pickle.loads(pickle.dumps(state))  # noqa: S301 - as a runner passes it on
        measured = [
            state.measure(bits[part::parts], positions[part::parts], None if amounts is None else amounts[part::parts])
            for part in range(parts)
        ][:: 1 if forward else -1]
        found = [one for one in measured if one is not None]
        state = state.advance(functools.reduce(type(found[0]).merge, found) if found else None)
    return state, passes


def expected_taken(keys, positions, amounts, budget):
    """One document after the other, in Python's own order of tuples."""
    taken = np.zeros(len(keys), bool)
    left = budget
    for _, _, place in sorted(
        (-key, position, place)
        for place, (key, position) in enumerate(zip(keys.tolist(), positions.tolist(), strict=True))
    ):
        left -= 1 if amounts is None else int(amounts[place])
        if left < 0 or not budget:
            break
        taken[place] = True
    return taken


def check_prefix(documents, by_tokens, parts, forward, data):
    keys, positions, tokens = arrays_of(documents)
    amounts = tokens if by_tokens else None
    total = int(tokens.sum()) if by_tokens else len(keys)
    budget = data.draw(st.sampled_from([0, 1, total, total + 1]) | st.integers(0, total))
    bits = order_bits(keys)
    state, passes = refine(bits, positions, amounts, budget, parts, forward=forward)
    taken = state.threshold.takes(bits, positions)
    np.testing.assert_array_equal(taken, expected_taken(keys, positions, amounts, budget))
    assert state.total == (total if budget else None)
    assert passes <= MAX_PASSES


@given(documents=DOCUMENTS, by_tokens=st.booleans(), parts=st.integers(1, 4), forward=st.booleans(), data=st.data())
def test_the_longest_prefix_within_the_budget_is_taken(documents, by_tokens, parts, forward, data):
    check_prefix(documents, by_tokens, parts, forward, data)


@settings(max_examples=3, phases=(Phase.generate,))
@given(documents=DOCUMENTS, by_tokens=st.booleans(), forward=st.booleans(), data=st.data())
def test_the_longest_prefix_is_taken_of_too_many_documents_to_gather(documents, by_tokens, forward, data):
    many = documents * (3 * (1 << 16) // len(documents))
    check_prefix(many, by_tokens, 2, forward, data)


@given(documents=DOCUMENTS, data=st.data())
def test_the_first_documents_alone_give_the_same_threshold(documents, data):
    keys, positions, _ = arrays_of(documents)
    bits = order_bits(keys)
    budget = data.draw(st.integers(1, len(keys)))
    best = np.lexsort((positions, -keys))[: budget + 1]
    gathered = RankedRows(bits[best], positions[best], np.ones(len(best), np.int64))
    found = ThresholdSearch.start(budget, gathers=True).advance(gathered).threshold
    assert found == refine(bits, positions, None, budget, 1)[0].threshold


LARGE = 300_000


@pytest.mark.parametrize(
    "keys",
    [
        np.random.default_rng(0).normal(size=LARGE) * 100,
        np.zeros(LARGE),
        np.full(LARGE, -np.inf),
        np.repeat([1.0, -np.inf, 0.5], LARGE // 3),
        np.tile([1e6, -1e6, 1e6 + 1e-9], LARGE // 3),
        np.nextafter(1.0, 2.0) - np.arange(LARGE) * 2.0**-53,
    ],
    ids=["normal", "equal", "-inf", "half -inf", "large", "neighbours"],
)
@pytest.mark.parametrize("share", [0, 1e-4, 0.5, 1])
def test_large_inputs_take_few_passes(keys, share):
    budget = max(1, int(share * len(keys)))
    positions = pack_positions(np.arange(len(keys)) // 50_000, np.arange(len(keys)) * 1000)
    bits = order_bits(keys)
    order = np.lexsort((positions, -keys))
    state, passes = refine(bits, positions, None, budget, 3)
    expected = EVERYTHING if budget == LARGE else Threshold(int(bits[order[budget]]), int(positions[order[budget]]))
    assert state.threshold == expected
    assert passes <= 5
    tokens = np.random.default_rng(1).integers(0, 500, len(keys))
    sums = np.cumsum(tokens[order])
    state, passes = refine(bits, positions, tokens, int(share * sums[-1]) + 1, 3)
    first = np.searchsorted(sums, int(share * sums[-1]) + 1, side="right")
    assert state.threshold.takes(bits, positions).sum() == first
    assert passes <= 5


def test_the_worst_input_takes_no_more_passes_than_promised():
    """A few lonely documents stretch the range at every step, and too many to be gathered lie at its end."""
    lonely = [(0xBFF0 << 48) + (1 << 16 * (3 - level)) * (level < 3) for level in range(4)]
    places = [0, 1, 2, 3, 1 << 44, 1 << 28]
    dense = np.arange(1 << 17, dtype=np.uint64)
    bits = np.concatenate([np.array(lonely, np.uint64), np.full(2 + len(dense), 0xBFF0 << 48, np.uint64)])
    positions = np.concatenate([np.array(places, np.uint64), dense + np.uint64(100)])
    order = np.lexsort((positions, ~bits))
    for budget in (1, 3, 1000, len(bits) - 3, len(bits) - 1):
        state, passes = refine(bits, positions, None, budget, 2)
        assert state.threshold == Threshold(int(bits[order[budget]]), int(positions[order[budget]]))
        assert passes <= MAX_PASSES


@given(st.lists(KEYS, min_size=1, max_size=30), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_the_keys_of_a_range_are_those_of_its_bits(keys, low, high):
    bits, keys = order_bits(np.array(keys)), np.array(keys)
    low, high = sorted((low, high))
    least, most = ThresholdSearch(1, low, high).keys
    inside = (bits >= np.uint64(low)) & (bits <= np.uint64(high))
    assert ((keys >= least) & (keys <= most))[inside].all()
    assert (keys[Threshold(low, 0).takes(bits, np.ones(len(bits), np.uint64))] >= Threshold(low, 0).least_key).all()
    for key, of_key in zip(keys.tolist(), bits.tolist(), strict=True):
        assert ThresholdSearch(1, of_key, of_key).keys == (key, key)
        assert Threshold(of_key, 0).least_key == key


@given(st.lists(KEYS, min_size=2, max_size=30))
def test_bits_are_ordered_like_keys(keys):
    keys = np.array(keys)
    bits = order_bits(keys)
    np.testing.assert_array_equal(bits[:, None] < bits, keys[:, None] < keys)
    np.testing.assert_array_equal(bits[:, None] == bits, keys[:, None] == keys)
    assert order_bits(np.array([np.nan, -np.nan])).tolist() == [0, 0]
    assert (bits > 0).all()
    assert NOTHING.takes(bits, np.zeros(len(bits), np.uint64)).sum() == 0
    assert EVERYTHING.takes(bits, np.zeros(len(bits), np.uint64)).all()


def test_positions_are_ordered_and_limited():
    files, offsets = np.array([0, 0, 1, (1 << 24) - 2]), np.array([0, (1 << 40) - 1, 0, (1 << 40) - 1])
    assert (np.diff(pack_positions(files, offsets).astype(object)) > 0).all()
    for file, offset in (((1 << 24) - 1, 0), (0, 1 << 40)):
        with pytest.raises(ValueError, match="1 TiB"):
            pack_positions(np.array([file]), np.array([offset]))
    assert pack_positions(np.empty(0, np.int64), np.empty(0, np.int64)).size == 0
