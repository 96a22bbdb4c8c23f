"""One harness for everything that is merged, directly and by a runner."""

import copy
import operator
import pickle
from dataclasses import replace
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.common.combining import Gather, MergeCombineFn, SumChunks, from_chunks, to_chunks
from hir_transforms.mixtures.em import RowBounds
from hir_transforms.mixtures.pca import Moments
from hir_transforms.selection.eligible import ScoreCounts
from hir_transforms.selection.measures import PassResult
from hir_transforms.selection.threshold import RankedRows, ThresholdSearch, order_bits
from hir_transforms.weights.mixing import PartMoments
from hir_transforms.weights.standardizing import WeightMoments


def row_bounds(generator):
    return RowBounds.from_rows(generator.normal(size=(generator.integers(0, 4), 3)).astype(np.float32))


def counts(generator):
    return generator.integers(0, 2**40, 7)


def score_counts(generator):
    return ScoreCounts(*generator.integers(0, 1000, 4).tolist())


def part_moments(generator):
    weights = generator.normal(size=(2, generator.integers(0, 4)))
    parts = ("ngram", "gmm")[: generator.integers(0, 3)]
    return PartMoments({part: tuple(map(WeightMoments.of, weights)) for part in parts})


def moments(generator):
    rows = generator.uniform(-1, 1, (generator.integers(0, 4), 3)).astype(np.float32)
    return Moments.of(rows, RowBounds.from_rows(np.ones((100, 3), np.float32)))


def measured_histogram(generator):
    return measured(generator, ThresholdSearch.start(5))


def measured_rows(generator):
    return measured(generator, ThresholdSearch.start(5, gathers=True))


def measured(generator, search):
    keys = generator.normal(size=generator.integers(0, 4))
    positions = generator.integers(0, 2**40, len(keys), np.uint64)
    return PassResult(score_counts(generator), search.measure(order_bits(keys), positions, None))


def gathered_in_order(value):
    """The same measures with gathered documents in their order, which merging leaves open."""
    if value is None or not isinstance(value.found, RankedRows):
        return value
    order = np.lexsort((value.found.positions, value.found.bits))
    return replace(
        value, found=RankedRows(*(getattr(value.found, name)[order] for name in ("bits", "positions", "amounts")))
    )


CASES = {
    "PassResult, histograms": (PassResult.merge, measured_histogram),
    "PassResult, rows": (PassResult.merge, measured_rows),
    "Moments": (Moments.merge, moments),
    "PartMoments": (PartMoments.merge, part_moments),
    "RowBounds": (RowBounds.merge, row_bounds),
    "arrays": (operator.add, counts),
    "ScoreCounts": (ScoreCounts.merge, score_counts),
}
cases = pytest.mark.parametrize(("merge", "make"), CASES.values(), ids=CASES)


def comparable(value):
    """A value as nested dictionaries of lists, which compare exactly."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tolist()
    if isinstance(value, dict):
        return {name: comparable(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(map(comparable, value))
    if isinstance(value, PassResult):
        value = gathered_in_order(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: comparable(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def elements(make, count, seed=0):
    generator = np.random.default_rng(seed)
    return [make(generator) for _ in range(count)]


def combine(combine_fn, shards):
    """What a runner does: an accumulator a shard, sent to another process, merged there."""
    accumulators = []
    for shard in shards:
        accumulator = combine_fn.create_accumulator()
        for element in shard:
            accumulator = combine_fn.add_input(accumulator, element)
        accumulators.append(pickle.loads(pickle.dumps(combine_fn.compact(accumulator))))  # noqa: S301
    return combine_fn.extract_output(combine_fn.merge_accumulators(iter(accumulators)))


@cases
@given(st.data())
def test_neither_order_nor_sharding_matters(merge, make, data):
    inputs = elements(make, data.draw(st.integers(1, 12)), data.draw(st.integers(0, 100)))
    expected = combine(MergeCombineFn(merge), [inputs])
    shuffled = data.draw(st.permutations(inputs))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(inputs)), max_size=6)))
    shards = [shuffled[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(inputs)], strict=True)]
    assert comparable(combine(MergeCombineFn(merge), shards)) == comparable(expected)


@cases
def test_a_single_element_is_the_result(merge, make):
    (element,) = elements(make, 1)
    assert comparable(combine(MergeCombineFn(merge), [[], [element], []])) == comparable(element)


@cases
def test_nothing_is_none(merge, make):
    assert combine(MergeCombineFn(merge), []) is None
    assert combine(MergeCombineFn(merge), [[], []]) is None


@cases
def test_inputs_are_left_alone(merge, make):
    inputs = elements(make, 6)
    before = copy.deepcopy(inputs)
    combine(MergeCombineFn(merge), [inputs[:3], inputs[3:]])
    combine_fn = MergeCombineFn(merge)
    combine_fn.merge_accumulators(inputs)
    assert [*map(comparable, inputs)] == [*map(comparable, before)]


@cases
def test_the_combine_fn_can_be_sent_to_workers(merge, make):
    inputs = elements(make, 4)
    sent = pickle.loads(pickle.dumps(MergeCombineFn(merge)))  # noqa: S301
    assert comparable(combine(sent, [inputs])) == comparable(combine(MergeCombineFn(merge), [inputs]))


@cases
@pytest.mark.parametrize("count", [0, 1, 25])
def test_a_runner_gives_the_same(merge, make, count):
    inputs = elements(make, count)
    expected = comparable(combine(MergeCombineFn(merge), [inputs]))

    def check(results):
        assert list(map(comparable, results)) == [expected]

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        merged = pipeline | beam.Create(inputs) | beam.Reshuffle() | beam.CombineGlobally(MergeCombineFn(merge))
        assert_that(merged, check)


def test_row_bounds_are_those_of_all_rows():
    generator = np.random.default_rng(0)
    parts = [generator.normal(size=(size, 4)).astype(np.float32) for size in (3, 0, 1, 10)]
    merged = combine(MergeCombineFn(RowBounds.merge), [map(RowBounds.from_rows, parts)])
    assert comparable(merged) == comparable(RowBounds.from_rows(np.concatenate(parts)))


def test_score_counts_add_up():
    merged = combine(MergeCombineFn(ScoreCounts.merge), [[ScoreCounts(1, 2, 3, 4), ScoreCounts(10, 20, 30, 40)]])
    assert merged.summary() == {"read": 110, "rejected": 11, "short": 22, "duplicate": 33, "eligible": 44}


@pytest.mark.parametrize("inputs", [[], [3], list(range(1000))])
def test_gather_makes_one_list_of_all(inputs):
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        gathered = pipeline | beam.Create(inputs) | Gather() | beam.Map(sorted)
        assert_that(gathered, equal_to([inputs]))


def test_chunks_are_small_and_add_up_to_the_sums():
    generator = np.random.default_rng(0)
    parts: list[dict[str, Any]] = [
        {"matrix": generator.integers(-(2**60), 2**60, (7, 30_000)), "vector": np.arange(3), "large": 2**70 + number}
        for number in range(3)
    ]
    chunks = [list(to_chunks(part)) for part in parts]
    assert max(len(pickle.dumps(chunk)) for chunk in chunks[0]) < 600_000
    assert len(chunks[0]) == 4 + 1 + 1
    assert from_chunks([]) == {}

    def check(summed):
        sums = from_chunks(summed)
        assert set(sums) == {"matrix", "vector", "large"}
        np.testing.assert_array_equal(
            sums["matrix"].reshape(7, 30_000), np.sum([part["matrix"] for part in parts], axis=0)
        )
        np.testing.assert_array_equal(sums["vector"], [0, 3, 6])
        assert sums["large"] == 3 * 2**70 + 3

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        summed = pipeline | beam.Create([chunk for part in chunks for chunk in part]) | beam.Reshuffle() | SumChunks()
        assert_that(summed, check)
