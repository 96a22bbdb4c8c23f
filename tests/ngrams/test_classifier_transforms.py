import apache_beam as beam
import numpy as np
import pytest
from data_selection.hashed_ngram_dsir import get_ngram_counts
from sklearn.linear_model import LogisticRegression

from hir_transforms.ngrams.classifier_transforms import FitNgramClassifier, key_folds
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.weights.transforms import NgramClassifierLogWeights
from tests.helpers.collections import ONE_WORKER, TWO_WORKERS, elements

SETTINGS = NgramSettings(2, 500)
WORDS = {
    "raw": ["alice", "went", "down", "the", "rabbit", "hole", ",", ".", "a", "b", "c"],
    "target": ["the", "rabbit", "sat", "still", ",", ".", "d"],
}


def texts(role, count):
    generator = np.random.default_rng(len(role))
    return [" ".join(generator.choice(WORDS[role], size)) for size in generator.integers(1, 40, count)]


RAW = [*enumerate(texts("raw", 90)), ("empty", ""), ("like the target", WORDS["target"][0])]
TARGET = [*texts("target", 12), " "]


def weights_of(raw, target, options=ONE_WORKER, **settings):
    def build(pipeline):
        given = pipeline | "Raw" >> beam.Create(raw, reshuffle=False)
        of_target = pipeline | "Target" >> beam.Create(target, reshuffle=False)
        classifier = given | FitNgramClassifier(of_target, SETTINGS, **settings)
        return given | NgramClassifierLogWeights(classifier)

    return dict(elements(build, options))


def features(documents):
    logs = np.log1p([get_ngram_counts(text, n=2, num_buckets=500) for text in documents])
    return logs / np.maximum(1e-300, np.linalg.norm(logs, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def weights():
    return weights_of(RAW, TARGET, seed=3)


def test_weights_are_those_of_scikit_learn_on_the_features_of_data_selection(weights):
    keys, documents = zip(*RAW, strict=True)
    rows, of_target, folds = features(documents), features(TARGET[:-1]), key_folds(3, keys)
    assert {*folds} == {*range(5)}
    for fold in range(5):
        negatives = rows[rows.any(axis=1) & (folds != fold)]
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000)
        model.fit(np.concatenate([of_target, negatives]), np.repeat([1, 0], [len(of_target), len(negatives)]))
        of_fold = np.flatnonzero(folds == fold)
        found = [weights[keys[place]] for place in of_fold]
        np.testing.assert_allclose(found, model.decision_function(rows[of_fold]), atol=1e-6)


def test_neither_order_nor_workers_show(weights):
    assert weights_of(RAW[::-1], TARGET[::-1], TWO_WORKERS, seed=3) == weights


def test_it_is_fitted_to_a_sample(weights):
    sampled = weights_of(RAW, TARGET, seed=3, max_documents=20)
    assert sampled.keys() == weights.keys()
    assert sampled != weights
    assert sampled == weights_of(RAW[::-1], TARGET, seed=3, max_documents=20)


@pytest.mark.parametrize(("raw", "target", "role"), [([], TARGET, "raw"), (RAW, [" "], "target")])
def test_nothing_to_fit_to_is_an_error(raw, target, role):
    with pytest.raises(Exception, match=f"no text of {role} has an n-gram to fit a classifier to"):
        elements(
            lambda pipeline: (
                pipeline
                | "Raw" >> beam.Create(raw, reshuffle=False)
                | FitNgramClassifier(pipeline | "Target" >> beam.Create(target), SETTINGS)
            )
        )


def test_no_documents_to_fit_to_are_an_error():
    with pytest.raises(ValueError, match="max_documents must be at least 1, not 0"):
        FitNgramClassifier(beam.Pipeline() | beam.Create(TARGET), max_documents=0)
