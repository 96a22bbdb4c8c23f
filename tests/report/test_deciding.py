import hashlib

import numpy as np
import pytest

from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.report.deciding import both_ends, ngram_shares, strongest

NUM_BUCKETS = 50  # so few that n-grams share them


def share(ngram, count, log_ratio):
    return count * log_ratio[int(hashlib.sha256(ngram.encode()).hexdigest(), 16) % NUM_BUCKETS]


@pytest.mark.parametrize("ngrams", [1, 2, 3])
def test_each_n_gram_adds_what_its_bucket_does(ngrams):
    featurizer = NgramFeaturizer(NgramSettings(ngrams=ngrams, num_buckets=NUM_BUCKETS))
    log_ratio = np.random.default_rng(0).normal(size=NUM_BUCKETS)

    def score(texts):
        return featurizer.score(texts, log_ratio[np.newaxis])[0][:, 0]

    found = dict(ngram_shares("The cat, the CAT: the the", ngrams, score))
    expected = {"the": 4, "cat": 2, ",": 1, ":": 1}
    if ngrams > 1:
        expected |= {"the cat": 2, "cat ,": 1, ", the": 1, "cat :": 1, ": the": 1, "the the": 1}
    assert found.keys() == expected.keys()
    for name, count in expected.items():
        assert found[name] == pytest.approx(share(name, count, log_ratio))
    assert ngram_shares(" \n", ngrams, score) == []


def test_the_strongest_and_both_ends():
    shares = [("a", 1.0), ("b", -3.0), ("c", 2.0), ("d", -1.0), ("e", 0.0)]
    assert strongest(shares, 3) == [("b", -3.0), ("c", 2.0), ("a", 1.0)]
    assert both_ends(shares, 2) == ([("c", 2.0), ("a", 1.0)], [("b", -3.0), ("d", -1.0)])
    assert both_ends(shares[:1], 2) == ([("a", 1.0)], [])
