import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hir_transforms.evaluation.two_samples import DrawnDocument, auc, two_sample_auc

BUCKETS = 50


def test_the_area_is_scikit_learns_also_with_ties():
    generator = np.random.default_rng(0)
    positive, negative = generator.integers(0, 20, 300), generator.integers(2, 25, 170)
    expected = roc_auc_score(np.repeat([1, 0], [300, 170]), np.concatenate([positive, negative]))
    assert auc(positive, negative) == pytest.approx(expected, abs=1e-12)


def draw(generator, probabilities, size):
    """Counts of both halves, the documents, and their dense counts."""
    dense = generator.multinomial(30, probabilities, size)
    hashes = generator.integers(0, 2**63, size)
    documents = [
        DrawnDocument(int(hash), np.flatnonzero(row).astype(np.int32), row[row > 0].astype(np.int32))
        for hash, row in zip(hashes, dense, strict=True)
    ]
    halves = np.array([dense[hashes % 2 == half].sum(axis=0) for half in (0, 1)])
    return halves, documents, dense, hashes % 2


@pytest.fixture
def sets():
    generator = np.random.default_rng(1)
    first, second = generator.dirichlet(np.ones(BUCKETS), 2)
    return [draw(generator, first, 400), draw(generator, 0.8 * first + 0.2 * second, 300)]


def test_it_is_the_mean_of_both_halves_scored_by_the_log_ratio_of_the_other(sets):
    (counts, documents, dense, half), (other_counts, other_documents, other_dense, other_half) = sets
    expected = []
    for one in (0, 1):
        p, q = ((numbers[1 - one] + 1) / (numbers[1 - one] + 1).sum() for numbers in (counts, other_counts))
        scores = np.concatenate([dense[half == one], other_dense[other_half == one]]) @ np.log(p / q) / 30
        labels = np.repeat([1, 0], [np.sum(half == one), np.sum(other_half == one)])
        expected.append(roc_auc_score(labels, scores))
    found = two_sample_auc(counts, documents, other_counts, other_documents)
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    assert 0.6 < np.mean(expected) < 0.95
    assert two_sample_auc(other_counts, other_documents, counts, documents) == pytest.approx(found, abs=0.02)


def test_samples_of_one_distribution_cannot_be_told_apart():
    generator = np.random.default_rng(2)
    probabilities = generator.dirichlet(np.ones(BUCKETS))
    (counts, documents, *_), (other_counts, others, *_) = (draw(generator, probabilities, 2000) for _ in range(2))
    assert two_sample_auc(counts, documents, other_counts, others) == pytest.approx(0.5, abs=0.03)


def test_there_is_no_area_without_documents_in_each_half(sets):
    (counts, documents, *_), (other_counts, others, *_) = sets
    odd = [document for document in others if document.half]
    empty = DrawnDocument(2, np.empty(0, np.int32), np.empty(0, np.int32))
    assert two_sample_auc(counts, documents, other_counts, odd) is None
    assert two_sample_auc(counts, documents, other_counts, [*odd, empty]) is None
