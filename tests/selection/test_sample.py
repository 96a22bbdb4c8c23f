import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.common.errors import find_user_error
from hir_transforms.documents.keys import key_hashes
from hir_transforms.selection.gumbel import gumbel_noise
from hir_transforms.selection.sample import SampleDocuments
from tests.helpers.collections import ONE_WORKER, TWO_WORKERS, elements

GENERATOR = np.random.default_rng(0)
KEYS = [("corpus", int(number)) for number in GENERATOR.permutation(3000)]
WEIGHTS = GENERATOR.normal(0, 3, 3000)
TOKENS = GENERATOR.integers(0, 50, 3000)


def sampled(weights, sample, options=ONE_WORKER):
    return sorted(elements(lambda pipeline: pipeline | beam.Create(weights) | sample, options))


def ranked(keys, weights, *, seed=0, top_k=False):
    """Places of documents, those to take first at the front."""
    noise = 0.0 if top_k else gumbel_noise(key_hashes(seed, keys))
    return np.lexsort((key_hashes(seed, keys, purpose="ties"), -(weights + noise)))


@pytest.mark.parametrize("options", [ONE_WORKER, TWO_WORKERS], ids=["one worker", "two workers"])
def test_the_sample_is_that_of_sorting(options):
    def build(pipeline):
        weights = pipeline | beam.Create(list(zip(KEYS, WEIGHTS.tolist(), strict=True)), reshuffle=False)
        samples = [
            weights
            | f"Sample {top_k}" >> SampleDocuments(k=700, top_k=top_k, seed=3)
            | f"Keys {top_k}" >> beam.Map(lambda key, top_k=top_k: (top_k, key))
            for top_k in (False, True)
        ]
        return samples | beam.Flatten()

    expected = [
        (top_k, KEYS[place]) for top_k in (False, True) for place in ranked(KEYS, WEIGHTS, seed=3, top_k=top_k)[:700]
    ]
    assert sorted(elements(build, options)) == sorted(expected)


def test_ties_are_broken_by_the_hashes_of_keys(monkeypatch):
    # Two weights only, so that the threshold is within many equal ones, whose ties are refined in passes of their own.
    monkeypatch.setattr("hir_transforms.selection.threshold._MAX_GATHERED", 100)
    keys, weights = [str(number) for number in range(6_000)], np.arange(6_000) % 2.0
    found = sampled(list(zip(keys, weights.tolist(), strict=True)), SampleDocuments(k=3_600, top_k=True))
    assert found == sorted(keys[place] for place in ranked(keys, weights, top_k=True)[:3_600])


@pytest.mark.parametrize("budget", [1, 777, int(TOKENS.sum())])
def test_as_many_first_documents_as_tokens_allow_are_taken(budget):
    values = list(zip(KEYS, zip(WEIGHTS.tolist(), TOKENS.tolist(), strict=True), strict=True))
    order = ranked(KEYS, WEIGHTS)
    expected = sorted(KEYS[place] for place in order[: np.searchsorted(TOKENS[order].cumsum(), budget, side="right")])
    assert sampled(values, SampleDocuments(tokens=budget)) == expected


def test_documents_without_a_weight_are_never_taken():
    weights = [("a", float("nan")), ("b", -np.inf), ("c", 1.0)]
    assert sampled(weights, SampleDocuments(k=2)) == ["b", "c"]
    with pytest.raises(ValueError, match="asked for") as error:
        sampled(weights, SampleDocuments(k=3))
    assert find_user_error(error.value) == "k: 3 documents asked for, but there are only 2 with a weight"


def test_too_few_tokens_are_an_error():
    with pytest.raises(ValueError, match="asked for") as error:
        sampled([("a", (0.0, 5)), ("b", (0.0, 4))], SampleDocuments(tokens=10))
    assert find_user_error(error.value) == "tokens: 10 tokens asked for, but there are only 9 with a weight"


def test_no_documents_are_too_few():
    with pytest.raises(ValueError, match="there are only 0"):
        elements(lambda pipeline: pipeline | beam.Create([], reshuffle=False) | SampleDocuments(k=1))


@pytest.mark.parametrize("arguments", [{}, {"k": 1, "tokens": 1}, {"k": 0}, {"tokens": -1}])
def test_one_budget_must_be_given(arguments):
    with pytest.raises(ValueError, match="k"):
        SampleDocuments(**arguments)
