"""Transforms of in-memory collections on Prism, Beam's portable runner: the same results as on the local runner."""

import apache_beam as beam
import numpy as np

from hir_transforms import (
    CountNgrams,
    FitGaussianMixture,
    FitNgramEstimator,
    MixLogWeights,
    MixtureLogWeights,
    MixtureSettings,
    NgramLogWeights,
    SampleDocuments,
)
from tests.helpers.collections import ONE_WORKER, elements

TEXTS = [(f"document-{number}", f"text {number} of {number % 7} words") for number in range(300)]
ROWS = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
VECTORS = [(key, row) for (key, _), row in zip(TEXTS, ROWS, strict=True)]


def weights(pipeline):
    texts = pipeline | "Texts" >> beam.Create(TEXTS)
    target = pipeline | "Target" >> beam.Create([text for _, text in TEXTS[::7]]) | "CountTarget" >> CountNgrams()
    estimator = texts | beam.Values() | "CountRaw" >> CountNgrams() | FitNgramEstimator(target)
    rows = pipeline | "Vectors" >> beam.Create(VECTORS)
    target_rows = pipeline | "TargetVectors" >> beam.Create(VECTORS[::7])
    raw_mixture = rows | "FitRaw" >> FitGaussianMixture(MixtureSettings(3, max_iter=5, max_samples=200))
    target_mixture = target_rows | "FitTarget" >> FitGaussianMixture(MixtureSettings(2, max_iter=5))
    parts = {
        "ngram": texts | NgramLogWeights(estimator),
        "embedding": rows | MixtureLogWeights(raw_mixture, target_mixture),
    }
    return parts | MixLogWeights(0.5, scaling="standardize")


def weights_and_sample(pipeline):
    weighed = weights(pipeline)
    taken = weighed | SampleDocuments(k=50, seed=1) | beam.Map(lambda key: (key, None))
    return (weighed, taken) | beam.Flatten()


def test_prism_changes_no_weight_and_no_sample(prism):
    on_prism = ("--runner=PrismRunner", f"--prism_location={prism}", "--environment_type=LOOPBACK")
    found, expected = (elements(weights_and_sample, options) for options in (on_prism, ONE_WORKER))
    assert sorted(found, key=repr) == sorted(expected, key=repr)
    assert len(expected) == 350
