import numpy as np
import pytest
from data_selection.hashed_ngram_dsir import get_ngram_counts
from nltk.tokenize import WordPunctTokenizer
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from hir_transforms.evaluation.divergence import jensen_shannon_distance, kl_divergence, kl_reduction


def authors_kl(p, q):
    """As the authors of DSIR give it (github.com/p-lambda/dsir, issue 11)."""
    return np.inner(p, np.log(p + 1e-10) - np.log(q + 1e-10))


def counts(*texts):
    return sum(get_ngram_counts(text, tokenizer=WordPunctTokenizer().tokenize, num_buckets=500) for text in texts)


TARGET = [counts("Sort the array, then return its median.", "An array of integers is sorted."), counts("A song.")]
RANDOM = counts("The war ended in 1945.", "Add flour and salt; stir.", "Sort it!")
SELECTED = counts("Sort the integers of an array.", "The median of the array.")


def test_it_is_the_reduction_that_the_authors_of_dsir_compute():
    target, random, selected = (one / one.sum() for one in (TARGET[0], RANDOM, SELECTED))
    expected = authors_kl(target, random) - authors_kl(target, selected)
    assert kl_reduction(TARGET[0], RANDOM, SELECTED) == pytest.approx(expected, abs=1e-12, rel=0)
    assert expected > 1


def test_the_reduction_is_the_mean_over_targets():
    alone = [kl_reduction(target, RANDOM, SELECTED) for target in TARGET]
    assert kl_reduction(np.array(TARGET), RANDOM, SELECTED) == pytest.approx(np.mean(alone), abs=1e-12, rel=0)


def test_it_does_not_depend_on_how_many_ngrams_there_are():
    assert kl_reduction(TARGET[0] * 7, RANDOM * 3, SELECTED) == kl_reduction(TARGET[0], RANDOM, SELECTED * 5)


@pytest.mark.parametrize("size", [10, 10_000])
def test_divergences_are_scipys_where_no_bucket_is_empty(size):
    generator = np.random.default_rng(0)
    p, q = generator.integers(1, 1000, (2, size))
    assert kl_divergence(p, q) == pytest.approx(entropy(p, q), abs=1e-9 * size, rel=0)
    assert jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-12, rel=0)


def test_distances_of_equal_and_of_disjoint_distributions():
    assert kl_divergence([1, 2], [2, 4]) == 0
    assert jensen_shannon_distance([1, 2, 0], [2, 4, 0]) == 0
    assert jensen_shannon_distance([1, 0], [0, 5]) == 1
    assert kl_divergence([1, 0], [0, 5]) == pytest.approx(-np.log(1e-10), abs=1e-9)


@pytest.mark.parametrize("measure", [kl_divergence, jensen_shannon_distance])
@pytest.mark.parametrize(("p", "q"), [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([1, 1], [1, 1, 1])])
def test_what_is_no_pair_of_distributions_is_an_error(measure, p, q):
    with pytest.raises(ValueError):
        measure(p, q)
