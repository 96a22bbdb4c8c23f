import itertools
import random
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from hir_transforms.evaluation import labels
from hir_transforms.evaluation.labels import MOST_LABELS, CountLabels, LabelCounts, LabelTally, precision


def given(seed):
    """Labels of a long tail, in another order for each seed."""
    listed: list[str | None] = [f"label {rank}" for rank in range(300) for _ in range(1 + 600 // (rank + 1))]
    listed += [None] * 17 + ["x" * 150, "x" * 200]
    random.Random(seed).shuffle(listed)
    return listed


def expected():
    counted = Counter(None if label is None else label[:100] for label in given(0))
    missing = counted.pop(None)
    commonest = sorted(((number, f"{label}") for label, number in counted.items()), key=lambda one: (-one[0], one[1]))
    return LabelCounts(
        tuple(commonest[:100]), sum(counted.values()) + missing, missing, len(counted), counted["label 250"]
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_the_commonest_are_exact_whatever_the_order_and_the_memory(seed, monkeypatch):
    monkeypatch.setattr(labels, "_MOST_HELD", 40)
    tally = LabelTally()
    pieces = [*tally.add(given(seed)), *tally.flush()]
    assert len(pieces) > 400
    with beam.Pipeline() as pipeline:
        found = pipeline | beam.Create(pieces) | CountLabels(wanted="label 250")
        assert_that(found, equal_to([expected()]))


def test_nothing_counted_is_no_document():
    with beam.Pipeline() as pipeline:
        assert_that(pipeline | beam.Create([]) | CountLabels(), equal_to([LabelCounts()]))


def test_what_is_left_out_is_other():
    found = expected().summary()
    assert len(found["commonest"]) == MOST_LABELS
    total = sum(number for _, number in found["commonest"]) + found["other"] + found["missing"]
    assert total == len(given(0))
    assert (found["missing"], found["distinct"]) == (17, 301)


def test_merging_does_not_care_about_the_order():
    parts = [LabelCounts.of((f"label {number}", number % 3 + 1), "label 4") for number in range(5)]
    merged = set()
    for order in itertools.permutations(parts):
        total = LabelCounts()
        for part in order:
            total = total.merge(part)
        merged.add(total)
    (total,) = merged
    assert precision(total) == 2 / 9
