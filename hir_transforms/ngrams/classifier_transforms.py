"""A transform of texts in anyone's pipeline: `FitNgramClassifier`."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np

from hir_transforms.classifiers.logistic import fold_of_hash
from hir_transforms.common.combining import Gather
from hir_transforms.common.errors import UserError
from hir_transforms.common.threads import use_one_thread
from hir_transforms.documents.identity import sample_limit
from hir_transforms.documents.keys import key_hashes
from hir_transforms.ngrams.classifier import NgramClassifier
from hir_transforms.ngrams.document_counts import CountedDocuments
from hir_transforms.ngrams.document_features import sampled_features
from hir_transforms.ngrams.features import NgramSettings, shared_featurizer
from hir_transforms.ngrams.settings import NgramFitOptions

K = TypeVar("K")
# Texts whose counts make one element: most are far below 1 MB.
_BATCH_TEXTS = 64


@dataclass(eq=False)
class FitNgramClassifier(beam.PTransform):
    """(key, text) of raw -> the one `NgramClassifier`: logistic regression of the target's texts against raw's.

    It is cross-fitted: raw falls into five folds by the hash of each key, and `NgramClassifierLogWeights` weighs a
    text by a classifier that has not seen its fold. One worker fits to the texts of the smallest hashes, of raw and of
    the target. The classifier is a function of the keys, the texts and the settings: bundles and workers do not show.

    Keys are as `SampleDocuments` takes them, each different from the others. Texts without n-grams are left out.

    Attributes:
        target: texts of the target.
        settings: how n-grams are made.
        max_documents: texts of raw, and of the target, to fit to at most.
        seed: of the samples and the folds.

    Raises:
        UserError: when run, if raw or the target has no n-gram.
        TypeError: when run, for a key of another type.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import FitNgramClassifier
        >>> with beam.Pipeline() as pipeline:
        ...     raw = pipeline | "Raw" >> beam.Create([(1, "a sea of words"), (2, "a star")])
        ...     target = pipeline | "Target" >> beam.Create(["a star"])
        ...     classifier = raw | FitNgramClassifier(target)
        ...     _ = classifier | beam.Map(lambda classifier: print(classifier.coefficients.shape))
        (1, 5, 10000)
    """

    target: beam.PCollection[str]
    settings: NgramSettings = field(default_factory=NgramSettings)
    _: KW_ONLY
    max_documents: int = NgramFitOptions().num_documents_to_fit
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_documents < 1:
            raise ValueError(f"max_documents must be at least 1, not {self.max_documents}")

    def expand(self, raw: beam.PCollection[tuple[K, str]]) -> beam.PCollection[NgramClassifier]:
        """See the class."""
        target = self.target | "Texts are keys" >> beam.Map(lambda text: (text, text))
        counted = [
            self._may_be_sampled(role, keyed)
            | f"Batch{role}" >> beam.BatchElements(max_batch_size=_BATCH_TEXTS)
            | f"Count{role}" >> beam.Map(_count, self.settings, self.seed)
            | f"Gather{role}" >> Gather()
            for role, keyed in (("Raw", raw), ("Target", target))
        ]
        return counted[0] | "Fit" >> beam.Map(
            _fit, beam.pvalue.AsSingleton(counted[1]), self.settings, self.max_documents, self.seed
        )

    def _may_be_sampled(self, role: str, keyed: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, str]]:
        number = beam.pvalue.AsSingleton(keyed | f"Number{role}" >> beam.combiners.Count.Globally())
        return keyed | f"Sample{role}" >> beam.Filter(_may_be_sampled, number, self.max_documents, self.seed)


def key_folds(seed: int, keys: Sequence[Any]) -> np.ndarray:
    """The folds of raw's texts, int64 [N], by their keys."""
    return fold_of_hash(key_hashes(seed, keys, purpose="folds"))


def _hashes(seed: int, keys: Sequence[Any]) -> np.ndarray:
    return key_hashes(seed, keys, purpose="classifier")


def _may_be_sampled(keyed: tuple[Any, str], number: int, max_documents: int, seed: int) -> bool:
    return int(_hashes(seed, [keyed[0]])[0]) <= sample_limit(number, max_documents)


def _count(batch: list[tuple[Any, str]], settings: NgramSettings, seed: int) -> CountedDocuments:
    keys, texts = zip(*batch, strict=True)
    encoded = [text.encode() for text in texts]
    return CountedDocuments.of_texts(encoded, shared_featurizer(settings), _hashes(seed, keys), key_folds(seed, keys))


def _fit(
    raw: list[CountedDocuments],
    target: list[CountedDocuments],
    settings: NgramSettings,
    max_documents: int,
    seed: int,
) -> NgramClassifier:
    (rows, folds), (of_target, _) = (
        sampled_features(parts, max_documents, settings.num_buckets) for parts in (raw, target)
    )
    for role, number in (("raw", rows.shape[0]), ("target", of_target.shape[0])):
        if not number:
            raise UserError(f"no text of {role} has an n-gram to fit a classifier to")
    use_one_thread()
    return NgramClassifier.fit(settings, seed, [of_target], rows, folds)
