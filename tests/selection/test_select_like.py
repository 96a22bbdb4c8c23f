import apache_beam as beam
import numpy as np
import pytest

from hir_transforms.documents.keys import key_hashes
from hir_transforms.embeddings.model import find_model
from hir_transforms.embeddings.model_handler import SentenceTransformerHandler
from hir_transforms.mixtures.fitting import MixtureSettings, fit_mixture
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import NgramFeaturizer, NgramSettings
from hir_transforms.selection.gumbel import gumbel_noise
from hir_transforms.selection.select_like import SelectLike
from tests.helpers.collections import ONE_WORKER, TWO_WORKERS, elements

KINDS = ("stir {} eggs into the flour and bake it", "return the sum of {} along an axis")
RAW = [(number, KINDS[number % 2].format(number)) for number in range(30)]
TARGET = ["return the mean of the array", "sort an array along the last axis", "return it"]
NGRAMS = NgramSettings(num_buckets=1000)
RAW_MIXTURE, TARGET_MIXTURE = MixtureSettings(3, max_iter=5), MixtureSettings(1)


def selected(options=ONE_WORKER, raw=RAW, **settings):
    def build(pipeline):
        target = pipeline | "Target" >> beam.Create(TARGET)
        mixtures = {"raw_mixture": RAW_MIXTURE, "target_mixture": TARGET_MIXTURE}
        return pipeline | "Raw" >> beam.Create(raw) | SelectLike(target, ngrams=NGRAMS, **settings | mixtures)

    return sorted(elements(build, options))


def ngram_weights():
    featurizer, (raw, target) = NgramFeaturizer(NGRAMS), np.zeros((2, 1000), np.int64)
    texts = [text.encode() for _, text in RAW]
    featurizer.count(texts, raw)
    featurizer.count([text.encode() for text in TARGET], target)
    return featurizer.score(texts, NgramEstimator.fit(NGRAMS, raw, target[np.newaxis]).log_ratio)[0][:, 0]


def embedding_weights():
    model = SentenceTransformerHandler(find_model("all-MiniLM-L6-v2")).load_model()

    def of(keys, texts, settings):
        rows = np.concatenate([model.encode([text], show_progress_bar=False) for text in texts])
        hashes = key_hashes(0, keys, purpose="rows")
        order = np.argsort(hashes)
        return rows, fit_mixture(lambda: [(rows[order], hashes[order])], settings)[0]

    rows, raw = of([key for key, _ in RAW], [text for _, text in RAW], RAW_MIXTURE)
    _, target = of(TARGET, TARGET, TARGET_MIXTURE)
    return target.score_samples(rows) - raw.score_samples(rows)


def expected(weights, k, seed):
    ranks = weights + gumbel_noise(key_hashes(seed, [key for key, _ in RAW]))
    return sorted(RAW[place] for place in np.argsort(-ranks)[:k])


@pytest.mark.parametrize("options", [ONE_WORKER, TWO_WORKERS], ids=["one worker", "two workers"])
def test_ngrams_alone(options):
    assert selected(options, RAW[::-1], k=9, alpha=1.0, seed=2) == expected(ngram_weights(), 9, 2)


def test_embeddings_alone():
    assert selected(k=9, alpha=0.0, seed=2) == expected(embedding_weights(), 9, 2)


def test_both():
    found = selected(k=9, alpha=0.75, seed=2)
    assert found == expected(0.75 * ngram_weights() + 0.25 * embedding_weights(), 9, 2)
