"""Transforms to log importance weights for any pipeline: of n-grams, of mixtures, and of both."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
from apache_beam.typehints.decorators import no_annotations

from hir_transforms.common.combining import MergeCombineFn
from hir_transforms.common.side_inputs import as_side_input
from hir_transforms.mixtures.em import GaussianMixture, log_ratios
from hir_transforms.ngrams.classifier import NgramClassifier
from hir_transforms.ngrams.classifier_transforms import key_folds
from hir_transforms.ngrams.estimator import NgramEstimator
from hir_transforms.ngrams.features import shared_featurizer
from hir_transforms.ngrams.transforms import BATCH_TEXTS
from hir_transforms.weights.hybrid import hybrid_weight
from hir_transforms.weights.standardizing import SCALINGS, WeightMoments

K = TypeVar("K")
# Vectors that are scored at once.
_BATCH_ROWS = 256
_BATCH_WEIGHTS = 4096
_PARTS = ("ngram", "embedding")


@dataclass(eq=False)
class NgramLogWeights(beam.PTransform):
    """(key, text) -> (key, log importance weight in nats): the sum of the log ratios of the text's n-grams.

    A text without n-grams has the weight 0. A weight is a function of the text and the estimator alone.

    Attributes:
        estimator: of one target; a collection of one, as `FitNgramEstimator` gives it, or the estimator itself.

    Raises:
        ValueError: when run, for an estimator of several targets, or one whose tokenizer needs data that is not
            installed.

    Example:
        >>> import apache_beam as beam, numpy as np
        >>> from hir_transforms import NgramEstimator, NgramLogWeights, NgramSettings
        >>> settings = NgramSettings(ngrams=1, num_buckets=1)
        >>> estimator = NgramEstimator.fit(settings, np.array([9]), np.array([[7]]))
        >>> with beam.Pipeline() as pipeline:
        ...     weights = pipeline | beam.Create([("first", "a text")]) | NgramLogWeights(estimator)
        ...     _ = weights | beam.Map(print)
        ('first', 0.0)
    """

    estimator: NgramEstimator | beam.PCollection[NgramEstimator]

    def expand(self, texts: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, float]]:
        """See the class."""
        return (
            texts
            | "Batch" >> beam.BatchElements(max_batch_size=BATCH_TEXTS)
            | "Score" >> beam.FlatMap(_score_texts, as_side_input(self.estimator))
        )


def _score_texts(batch: list[tuple[Any, str]], estimator: NgramEstimator) -> Iterator[tuple[Any, float]]:
    if len(estimator.log_ratio) != 1:
        raise ValueError(f"the estimator must be of one target, not of {len(estimator.log_ratio)}")
    keys, texts = zip(*batch, strict=True)
    featurizer = shared_featurizer(estimator.settings)
    weights, _ = featurizer.score([text.encode() for text in texts], estimator.log_ratio)
    yield from zip(keys, weights[:, 0].tolist(), strict=True)


@dataclass(eq=False)
class NgramClassifierLogWeights(beam.PTransform):
    """(key, text) -> (key, log importance weight in nats): the log odds of the text's n-grams.

    Texts and keys are those of raw: each text is weighed by the classifier of its key's fold, which has not seen it. A
    weight is a function of the key, the text and the classifier alone.

    Attributes:
        classifier: of one target; a collection of one, as `FitNgramClassifier` gives it, or the classifier itself.

    Raises:
        ValueError: when run, for a classifier of several targets, or one whose tokenizer needs data that is not
            installed.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import FitNgramClassifier, NgramClassifierLogWeights
        >>> with beam.Pipeline() as pipeline:
        ...     raw = pipeline | "Raw" >> beam.Create([(1, "a sea of words"), (2, "a star")])
        ...     target = pipeline | "Target" >> beam.Create(["a star"])
        ...     classifier = raw | FitNgramClassifier(target)
        ...     weights = raw | NgramClassifierLogWeights(classifier)
        ...     _ = weights | beam.Filter(lambda keyed: keyed[1] > 0.0) | beam.Keys() | beam.Map(print)
        2
    """

    classifier: NgramClassifier | beam.PCollection[NgramClassifier]

    def expand(self, texts: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, float]]:
        """See the class."""
        return (
            texts
            | "Batch" >> beam.BatchElements(max_batch_size=BATCH_TEXTS)
            | "Score" >> beam.FlatMap(_decide_texts, as_side_input(self.classifier))
        )


def _decide_texts(batch: list[tuple[Any, str]], classifier: NgramClassifier) -> Iterator[tuple[Any, float]]:
    if len(classifier.intercepts) != 1:
        raise ValueError(f"the classifier must be of one target, not of {len(classifier.intercepts)}")
    keys, texts = zip(*batch, strict=True)
    featurizer, folds = shared_featurizer(classifier.settings), key_folds(classifier.seed, keys)
    encoded = [text.encode() for text in texts]
    weights, _ = featurizer.decide(encoded, classifier.coefficients, classifier.intercepts, folds)
    yield from zip(keys, weights[:, 0].tolist(), strict=True)


@dataclass(eq=False)
class MixtureLogWeights(beam.PTransform):
    """(key, vector) -> (key, log importance weight in nats): log p_target(vector) - log p_raw(vector).

    Vectors are float32 or float64 [D], finite, and of the space that the mixtures are of. A weight is a function of
    the vector and the mixtures alone.

    Attributes:
        raw, target: the mixtures; collections of one, as `FitGaussianMixture` gives them, or the mixtures themselves.

    Raises:
        ValueError: when run, for a vector of another dimension, or one that is not finite.

    Example:
        >>> import apache_beam as beam, numpy as np
        >>> from hir_transforms import GaussianMixture, MixtureLogWeights
        >>> raw, target = (
        ...     GaussianMixture(np.ones(1), np.full((1, 2), mean), np.ones((1, 2))) for mean in (0.0, 1.0)
        ... )
        >>> with beam.Pipeline() as pipeline:
        ...     vectors = pipeline | beam.Create([("first", np.ones(2, np.float32))])
        ...     _ = vectors | MixtureLogWeights(raw, target) | beam.Map(print)
        ('first', 1.0)
    """

    raw: GaussianMixture | beam.PCollection[GaussianMixture]
    target: GaussianMixture | beam.PCollection[GaussianMixture]

    def expand(self, vectors: beam.PCollection[tuple[K, np.ndarray]]) -> beam.PCollection[tuple[K, float]]:
        """See the class."""
        return (
            vectors
            | "Batch" >> beam.BatchElements(max_batch_size=_BATCH_ROWS)
            | "Score" >> beam.FlatMap(_score_vectors, as_side_input(self.raw), as_side_input(self.target))
        )


def _score_vectors(
    batch: list[tuple[Any, np.ndarray]], raw: GaussianMixture, target: GaussianMixture
) -> Iterator[tuple[Any, float]]:
    keys, vectors = zip(*batch, strict=True)
    rows = np.stack(vectors)
    # Which rows stand beside a row may show in the last bit of its projection.
    parts = [rows] if raw.projection is None and target.projection is None else np.split(rows, len(rows))
    weights = np.concatenate([log_ratios(part, raw, [target])[:, 0] for part in parts])
    yield from zip(keys, weights.tolist(), strict=True)


@dataclass(eq=False)
class MixLogWeights(beam.PTransform):
    """{"ngram": (key, weight), "embedding": (key, weight)} -> (key, alpha * ngram + (1 - alpha) * embedding).

    The hybrid importance weight of HIR (arXiv 2501.03826), in nats. Both collections have one weight for each key.

    Attributes:
        alpha: from 0, the embedding weight alone, to 1, the n-gram weight alone.
        scaling: "none", or "standardize" to bring both weights to zero mean and unit variance first.

    Raises:
        ValueError: for another alpha or scaling; when run, for a key that has not exactly one weight in each.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import MixLogWeights
        >>> with beam.Pipeline() as pipeline:
        ...     ngram = pipeline | "Ngram" >> beam.Create([("first", 4.0)])
        ...     embedding = pipeline | "Embedding" >> beam.Create([("first", 2.0)])
        ...     _ = {"ngram": ngram, "embedding": embedding} | MixLogWeights(alpha=0.5) | beam.Map(print)
        ('first', 3.0)
    """

    alpha: float = 0.5
    scaling: str = "none"

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"alpha must lie between 0 and 1, got {self.alpha}")
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, not {self.scaling!r}")

    @no_annotations  # Beam cannot check more than one input
    def expand(self, weights: Mapping[str, beam.PCollection[tuple[K, float]]]) -> beam.PCollection[tuple[K, float]]:
        """See the class."""
        moments = [self._moments(name, weights[name]) for name in _PARTS] if self.scaling != "none" else []
        return (
            {name: weights[name] for name in _PARTS}
            | "Join" >> beam.CoGroupByKey()
            | "Mix" >> beam.Map(_mix, self.alpha, *moments).with_output_types(tuple[Any, float])
        )

    def _moments(self, name: str, weights: beam.PCollection[tuple[K, float]]) -> beam.pvalue.AsSingleton:
        return beam.pvalue.AsSingleton(
            weights
            | f"Values {name}" >> beam.Values()
            | f"Batch {name}" >> beam.BatchElements(max_batch_size=_BATCH_WEIGHTS)
            | f"Moments {name}" >> beam.Map(lambda batch: WeightMoments.of(np.array(batch, np.float64)))
            | f"Merge {name}" >> beam.CombineGlobally(MergeCombineFn(WeightMoments.merge))
        )


def _mix(
    joined: tuple[Any, Mapping[str, Iterable[float]]],
    alpha: float,
    ngram_moments: WeightMoments | None = None,
    embedding_moments: WeightMoments | None = None,
) -> tuple[Any, float]:
    key, found = joined
    parts = []
    for name, moments in zip(_PARTS, (ngram_moments, embedding_moments), strict=True):
        weights = np.array(list(found[name]), np.float64)
        if len(weights) != 1:
            raise ValueError(f"the key {key!r} has {len(weights)} {name} weights, not one")
        parts.append(moments.standardize(weights) if moments else weights)
    return key, float(hybrid_weight(parts[0], parts[1], alpha)[0])
