"""The choice among estimators against a straightforward one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.tuning.holdout import Judged, Trial, best, num_found, sizes, try_estimators

NAMES = ("ratio", "classifier")
SIZES_OF_FOLDS = [(12, 200), (9, 150), (3, 180)]


@given(st.lists(st.integers(-3, 3), min_size=1), st.lists(st.integers(-3, 3), min_size=1), st.integers(1, 20))
def test_found_are_the_hidden_ones_above_the_last_selected(hidden, raw, num_selected):
    judged = Judged(np.array(hidden, float), np.array(raw, float))
    ranked = sorted(raw, reverse=True)
    expected = [weight for weight in hidden if num_selected > len(raw) or weight > ranked[num_selected - 1]]
    assert num_found(judged, num_selected) == len(expected)


def test_the_size_is_the_share_of_the_selection_and_several_are_tried_where_it_is_not_known():
    assert sizes(40, 4000, 0.05) == [200, 400]
    assert sizes(40, 4000, 1e-6) == [8, 8]
    assert sizes(40, 4000, None) == [20, 40, 80, 160, 320]
    assert sizes(1, 4000, None) == [8, 8, 8, 8, 8]


@pytest.mark.parametrize("share", [None, 0.1])
def test_trials_are_those_of_plain_numpy(share):
    rng = np.random.default_rng(1)
    # Rounded, so that some are equal.
    folds = [
        {name: Judged(rng.normal(1, 2, hidden).round(1), rng.normal(0, 2, raw).round(1)) for name in NAMES}
        for hidden, raw in SIZES_OF_FOLDS
    ]
    trials = try_estimators(folds, share)
    assert [trial.estimator for trial in trials] == list(NAMES)
    for trial in trials:
        recalls = []
        for (num_hidden, num_raw), fold in zip(SIZES_OF_FOLDS, folds, strict=True):
            judged = fold[trial.estimator]
            if share is None:
                tried = [times * num_hidden for times in (0.5, 1, 2, 4, 8)]
            else:
                tried = [times * share * num_raw for times in (1, 2)]
            lasts = [np.sort(judged.raw)[-max(8, round(size))] for size in tried]
            recalls.append(np.mean([(judged.hidden > last).mean() for last in lasts]))
        assert trial.recall == pytest.approx(np.average(recalls, weights=[hidden for hidden, _ in SIZES_OF_FOLDS]))
        assert trial.standard_error == pytest.approx(np.std(recalls, ddof=1) / np.sqrt(len(recalls)))


def test_the_cheapest_of_the_best_is_taken():
    first, second, third = (Trial(name, (found, 5), (10, 10)) for name, found in [("a", 3), ("b", 4), ("c", 4)])
    assert best([first, second, third]) is second
    assert Trial("a", (3,), (10,)).standard_error == 0
