"""All of the selection as one transform in anyone's pipeline: `SelectLike`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
from apache_beam.typehints.decorators import no_annotations

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.transforms import ComputeEmbeddings
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.mixtures.plan import mixture_settings
from hir_transforms.mixtures.settings import MixtureOptions
from hir_transforms.mixtures.transforms import FitGaussianMixture
from hir_transforms.ngrams.classifier_transforms import FitNgramClassifier
from hir_transforms.ngrams.features import NgramSettings, num_tokens, shared_featurizer
from hir_transforms.ngrams.settings import ESTIMATORS, NgramFitOptions
from hir_transforms.ngrams.transforms import BATCH_TEXTS, CountNgrams, FitNgramEstimator
from hir_transforms.selection.sample import SampleDocuments
from hir_transforms.weights.transforms import (
    MixLogWeights,
    MixtureLogWeights,
    NgramClassifierLogWeights,
    NgramLogWeights,
)

K = TypeVar("K")
# The defaults of `hir select`.
_RAW_MIXTURE, _TARGET_MIXTURE = (mixture_settings(MixtureOptions(), role) for role in ("raw", "target"))


@dataclass(eq=False)
class SelectLike(beam.PTransform):
    """(key, text) of raw -> (key, text) of k documents that are drawn to be like the target's.

    The n-gram estimator and the mixtures are fitted to raw and the target, raw's documents get their importance
    weights, and k of them are sampled without replacement: `hir select` on collections in memory, with its defaults.
    Keys are as `SampleDocuments` takes them. The selection is a function of the documents and the settings; bundles
    and workers do not show. Documents cross two shuffles on their way out, so of a large corpus in files `hir select`
    takes less.

    With `text_field` and `key_field` elements are records, and the selected ones come out as they are: dicts, or rows
    of a schema such as those of Beam YAML and Beam SQL.

    Attributes:
        target: texts of the target, or records of it; None where raw and target are given as one input, the
            dictionary {"raw": collection, "target": collection}.
        k: documents to select.
        tokens: instead of k, the most tokens to select.
        text_field: of records, the field of the text; None for elements (key, text).
        key_field: of raw's records, the field of the key.
        min_example_length: texts of fewer tokens are not selected; `hir select` has 100.
        alpha: share of the n-gram weight: with 1 nothing is embedded, with 0 no n-grams are counted.
        ngrams: how n-grams are made.
        ngram_estimator: "ratio", see `FitNgramEstimator`, or "classifier", see `FitNgramClassifier`.
        num_documents_to_fit: of raw, and of the target, that the classifier is fitted to at most.
        smoothing: of the ratio, see `FitNgramEstimator`.
        model: of the embeddings, see `ComputeEmbeddings`.
        raw_mixture, target_mixture: how the mixtures of embeddings are fitted; by default with a component for every
            200 and 100 vectors.
        scaling: see `MixLogWeights`.
        top_k, seed: see `SampleDocuments`.

    Raises:
        UserError: if there is no such model; when run, if raw has fewer than k documents, or a record lacks a field.
        ValueError: for settings out of range; when run, if raw or the target has no n-gram.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import SelectLike
        >>> with beam.Pipeline() as pipeline:
        ...     raw = pipeline | "Raw" >> beam.Create([(1, "add the flour"), (2, "sort the array")])
        ...     target = pipeline | "Target" >> beam.Create(["an array of integers", "sort it"])
        ...     _ = raw | SelectLike(target, k=1, alpha=1.0, top_k=True) | beam.Map(print)
        (2, 'sort the array')
    """

    target: beam.PCollection[Any] | None = None
    k: int | None = None
    _: KW_ONLY
    tokens: int | None = None
    text_field: str | None = None
    key_field: str | None = None
    min_example_length: int = 0
    alpha: float = 0.5
    ngrams: NgramSettings = field(default_factory=NgramSettings)
    ngram_estimator: str = "ratio"
    num_documents_to_fit: int = NgramFitOptions().num_documents_to_fit
    smoothing: float = 0.0
    model: str | EmbeddingModel = "all-MiniLM-L6-v2"
    raw_mixture: MixtureSettings = _RAW_MIXTURE
    target_mixture: MixtureSettings = _TARGET_MIXTURE
    scaling: str = "none"
    top_k: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.text_field is None) != (self.key_field is None):
            raise ValueError("records need both text_field and key_field; without these, elements are (key, text)")
        if self.ngram_estimator not in ESTIMATORS:
            raise ValueError(f"ngram_estimator must be {' or '.join(ESTIMATORS)}, not {self.ngram_estimator!r}")
        self._sample = SampleDocuments(self.k, self.tokens, self.top_k, self.seed)
        self._mix = MixLogWeights(self.alpha, self.scaling)

    @no_annotations  # Beam cannot check more than one input
    def expand(self, inputs: beam.PCollection[Any] | Mapping[str, beam.PCollection[Any]]) -> beam.PCollection[Any]:
        """See the class."""
        raw, target = (inputs["raw"], inputs["target"]) if isinstance(inputs, Mapping) else (inputs, self.target)
        if target is None:
            raise ValueError("SelectLike: no target; give it, or the inputs raw and target together")
        documents = texts = raw
        if self.text_field is not None:
            documents = raw | "Keys" >> beam.Map(lambda record, name: (_value(record, name), record), self.key_field)
            texts = documents | "Texts" >> beam.Map(_keyed_text, self.text_field)
            target = target | "TargetTexts" >> beam.Map(_text, self.text_field)
        selected = self._weights(texts, target) | "Sample" >> self._sample
        return (
            {"document": documents, "selected": selected | "Selected" >> beam.Map(lambda key: (key, None))}
            | "Join" >> beam.CoGroupByKey()
            | "Documents"
            >> beam.FlatMap(_selected, self.text_field is None).with_output_types(raw.element_type or Any)
        )

    def _weights(
        self, raw: beam.PCollection[tuple[K, str]], target: beam.PCollection[str]
    ) -> beam.PCollection[tuple[K, Any]]:
        """What is sampled by: (key, weight), and for a budget of tokens (key, (weight, tokens))."""
        if self.alpha == 1.0:
            weights = self._ngram_weights(raw, target)
        elif self.alpha == 0.0:
            weights = self._embedding_weights(raw, target)
        else:
            parts = {"ngram": self._ngram_weights(raw, target), "embedding": self._embedding_weights(raw, target)}
            weights = parts | "Mix" >> self._mix
        if self.tokens is None and not self.min_example_length:
            return weights
        tokens = (
            raw
            | "Batch" >> beam.BatchElements(max_batch_size=BATCH_TEXTS)
            | "Count" >> beam.FlatMap(_count_tokens, self.ngrams)
        )
        return (
            {"weight": weights, "tokens": tokens}
            | "JoinTokens" >> beam.CoGroupByKey()
            | "LongEnough" >> beam.FlatMap(_long_enough, self.min_example_length, self.tokens is not None)
        )

    def _ngram_weights(
        self, raw: beam.PCollection[tuple[K, str]], target: beam.PCollection[str]
    ) -> beam.PCollection[tuple[K, float]]:
        if self.ngram_estimator == "classifier":
            fit = FitNgramClassifier(target, self.ngrams, max_documents=self.num_documents_to_fit)
            return raw | "WeighNgrams" >> NgramClassifierLogWeights(raw | "FitNgrams" >> fit)
        target_counts = target | "CountTarget" >> CountNgrams(self.ngrams)
        estimator = (
            raw
            | "Texts of raw" >> beam.Values()
            | "CountRaw" >> CountNgrams(self.ngrams)
            | "FitNgrams" >> FitNgramEstimator(target_counts, self.smoothing)
        )
        return raw | "WeighNgrams" >> NgramLogWeights(estimator)

    def _embedding_weights(
        self, raw: beam.PCollection[tuple[K, str]], target: beam.PCollection[str]
    ) -> beam.PCollection[tuple[K, float]]:
        vectors = raw | "EmbedRaw" >> ComputeEmbeddings(self.model)
        target_vectors = (
            target
            | "Keys of target" >> beam.Map(lambda text: (text, text))
            | "EmbedTarget" >> ComputeEmbeddings(self.model)
        )
        raw_mixture = vectors | "FitRaw" >> FitGaussianMixture(self.raw_mixture)
        target_mixture = target_vectors | "FitTarget" >> FitGaussianMixture(self.target_mixture)
        return vectors | "WeighEmbeddings" >> MixtureLogWeights(raw_mixture, target_mixture)


def _value(record: Any, name: str) -> Any:
    """A field of a dict or a row; raises `UserError` where there is none."""
    try:
        return record[name] if isinstance(record, Mapping) else getattr(record, name)
    except (KeyError, AttributeError):
        raise UserError(f"SelectLike: a record has no field {name!r}: {record!s:.200}") from None


def _text(record: Any, name: str) -> str:
    text = record if isinstance(record, str) else _value(record, name)
    if not isinstance(text, str):
        raise UserError(f"SelectLike: the field {name!r} of a record is {type(text).__name__}, not a text")
    return text


def _keyed_text(keyed: tuple[K, Any], name: str) -> tuple[K, str]:
    key, record = keyed
    return key, _text(record, name)


def _count_tokens(batch: list[tuple[K, str]], settings: NgramSettings) -> Iterator[tuple[K, int]]:
    # Which bucket an n-gram falls into does not matter here.
    featurizer = shared_featurizer(NgramSettings(settings.ngrams, 1, settings.tokenizer, "fast"))
    keys, texts = zip(*batch, strict=True)
    num_ngrams = featurizer.count([text.encode() for text in texts], np.zeros(1, np.int64))
    yield from zip(keys, num_tokens(num_ngrams, settings.ngrams).tolist(), strict=True)


def _long_enough(
    joined: tuple[K, Mapping[str, Iterable[Any]]], min_tokens: int, with_tokens: bool
) -> Iterator[tuple[K, Any]]:
    key, found = joined
    weights, tokens = list(found["weight"]), list(found["tokens"])
    if len(tokens) != 1:
        raise UserError(f"SelectLike: {len(tokens)} documents have the key {key!r}, which must be of one alone")
    if tokens[0] >= min_tokens:
        yield key, ((weights[0], tokens[0]) if with_tokens else weights[0])


def _selected(joined: tuple[K, Mapping[str, Iterable[Any]]], with_key: bool) -> Iterator[Any]:
    key, found = joined
    if list(found["selected"]):
        yield from ((key, document) if with_key else document for document in found["document"])
