import numpy as np
import pytest

from hir_transforms.report.histograms import FloatHistogram


def both(values, selected):
    members = np.stack([np.ones(len(values), bool), selected], axis=1)
    return FloatHistogram.of(np.asarray(values, np.float64), members)


@pytest.fixture
def weights():
    generator = np.random.default_rng(0)
    values = np.concatenate(
        [generator.normal(-200, 90, 5000), generator.normal(60, 20, 400), [0.0, -0.0, 1e300, -1e-300]]
    )
    return values, values > 50


def test_merging_parts_in_any_order_is_counting_all_at_once(weights):
    values, selected = weights
    whole = both(values, selected)
    for order in (np.arange(5404), np.random.default_rng(1).permutation(5404)):
        parts = [both(values[rows], selected[rows]) for rows in np.array_split(order, 7)]
        merged = parts[0]
        for part in parts[1:]:
            merged = part.merge(merged)
        np.testing.assert_array_equal(merged.codes, whole.codes)
        np.testing.assert_array_equal(merged.counts, whole.counts)


def test_bins_are_those_of_numpy_but_for_their_grain(weights):
    values, selected = weights
    bins = both(values, selected).bins(40)
    assert len(bins) == 40
    assert [sum(counts[place] for *_, counts in bins) for place in (0, 1)] == [len(values), selected.sum()]
    edges = np.array([bins[0][0], *(high for _, high, _ in bins)])
    assert edges[0] == pytest.approx(np.quantile(values, 0.05), rel=0.02)
    assert edges[-1] == pytest.approx(np.quantile(values[selected], 0.95), rel=0.02)
    # A document may count in the bin before its own, by the width of its narrow bin.
    below = np.searchsorted(np.sort(values), edges[1:-1])
    found = np.cumsum([counts[0] for *_, counts in bins])[:-1]
    slack = [np.sum(np.abs(values - edge) < 0.005 * abs(edge) + 1e-9) for edge in edges[1:-1]]
    assert np.all(np.abs(found - below) <= slack)


def test_a_cut_has_at_least_so_many_documents_above():
    values = np.random.default_rng(0).normal(0, 100, 5000)
    found = both(values, values > 0)
    for wanted in (1, 40, 600, 5000):
        least, documents = found.cut(wanted)
        assert documents == np.sum(values >= least) >= wanted
        # Within the bin of the value that is sought.
        edge = np.sort(values)[-wanted]
        assert abs(least - edge) <= 0.005 * abs(edge)
    assert both([np.inf, 3.0, -np.inf], np.zeros(3, bool)).cut(1) == (3.0, 2)
    assert both([2.0, 3.0], np.zeros(2, bool)).cut(9) == (2.0, 2)


def test_infinite_values_are_counted_and_not_shown():
    found = both([np.inf, -np.inf, 2.0], np.array([True, False, False]))
    assert found.counts.sum() == 4
    assert found.bins(10) == [(2.0, 2.0, [1, 0])]
    assert both([np.inf], np.array([True])).bins(10) == []
