"""The choice among estimators against a straightforward one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hir_transforms.tuning.candidates import Candidate, Choices, EmbeddingMethod
from hir_transforms.tuning.holdout import Fold, Judged, Trial, best, num_found, sizes, try_candidates

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


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("share", [None, 0.1])
def test_trials_are_those_of_plain_numpy(share, standardize):
    rng = np.random.default_rng(1)
    choices = Choices((0.0, 0.1, 0.75, 1.0), NAMES, ("mixture",), (16, 0))

    def judged(hidden, raw, scale):  # rounded, so that some are equal
        return Judged(rng.normal(scale, 2 * scale, hidden).round(1), rng.normal(0, 2 * scale, raw).round(1))

    folds = [
        Fold(
            {name: judged(*sizes_of_fold, 3) for name in NAMES},
            {method: judged(*sizes_of_fold, 1) for method in choices.embeddings},
        )
        for sizes_of_fold in SIZES_OF_FOLDS
    ]
    tried = [fold.standardized() for fold in folds] if standardize else folds
    trials = try_candidates(choices.candidates(), tried, share)
    assert [trial.candidate for trial in trials] == choices.candidates()
    for trial in trials:
        recalls = []
        for (num_hidden, num_raw), fold in zip(SIZES_OF_FOLDS, folds, strict=True):
            hidden, raw = np.zeros(num_hidden), np.zeros(num_raw)
            weights: dict[Any, Judged] = {**fold.ngrams, **fold.embeddings}
            for key, factor in (
                (trial.candidate.ngram, trial.candidate.alpha),
                (trial.candidate.embedding, 1 - trial.candidate.alpha),
            ):
                if factor:
                    one = weights[key]
                    mean, std = (one.raw.mean(), one.raw.std()) if standardize else (0, 1)
                    hidden += factor * (one.hidden - mean) / std
                    raw += factor * (one.raw - mean) / std
            times = (0.5 * num_hidden, num_hidden, 2 * num_hidden, 4 * num_hidden, 8 * num_hidden)
            selected = times if share is None else (share * num_raw, 2 * share * num_raw)
            lasts = [np.sort(raw)[-max(8, round(size))] for size in selected]
            recalls.append(np.mean([(hidden > last).mean() for last in lasts]))
        assert trial.recall == pytest.approx(np.average(recalls, weights=[hidden for hidden, _ in SIZES_OF_FOLDS]))
        assert trial.standard_error == pytest.approx(np.std(recalls, ddof=1) / np.sqrt(len(recalls)))


def chosen_of(**found):
    """The name of the trial that is chosen, of candidates by name, from cheap to dear, and what each found of 20."""
    named = {
        "ngrams": Candidate(1.0, "classifier", None),
        "embeddings": Candidate(0.0, None, EmbeddingMethod("classifier", 0)),
        "ratio": Candidate(0.5, "ratio", EmbeddingMethod("classifier", 0)),
        "some": Candidate(0.1, "classifier", EmbeddingMethod("classifier", 0)),
        "half": Candidate(0.5, "classifier", EmbeddingMethod("classifier", 0)),
        "more": Candidate(0.75, "classifier", EmbeddingMethod("classifier", 0)),
        "mixture": Candidate(0.5, "classifier", EmbeddingMethod("mixture", 0)),
    }
    trials = [Trial(named[name], (number // 2, number - number // 2), (10, 10)) for name, number in found.items()]
    return next(name for name, candidate in named.items() if candidate == best(trials).candidate)


def test_what_finds_most_is_taken_and_of_equal_ones_the_cheapest():
    assert chosen_of(ngrams=7, embeddings=8, half=8, mixture=9) == "mixture"
    assert chosen_of(ngrams=9, embeddings=9, half=9) == "ngrams"
    assert chosen_of(ngrams=8, embeddings=9, ratio=9, half=8, mixture=9) == "embeddings"


def test_both_classifiers_in_equal_parts_are_taken_where_no_cheaper_one_than_embeddings_finds_as_many():
    assert chosen_of(ngrams=8, embeddings=9, ratio=9, some=9, half=9, more=9, mixture=9) == "half"
    assert chosen_of(ngrams=8, embeddings=9, ratio=9, some=9, half=8, more=9, mixture=9) == "more"


def test_candidates_are_from_cheap_to_dear_and_those_of_given_values_alone():
    candidates = Choices((0.0, 0.5, 1.0), NAMES, ("classifier", "mixture"), (0,)).candidates()
    assert [(one.alpha, one.ngram, one.embedding and one.embedding.estimator) for one in candidates] == [
        *((1, name, None) for name in NAMES),
        *((0, None, name) for name in ("classifier", "mixture")),
        *((0.5, name, method) for method in ("classifier", "mixture") for name in NAMES),
    ]
    assert Choices((1.0,), ("ratio",), (), ()).candidates() == [Candidate(1.0, "ratio", None)]
    assert Choices((0.25,), ("ratio",), ("mixture",), (16,)).candidates() == [
        Candidate(0.25, "ratio", EmbeddingMethod("mixture", 16))
    ]
