"""All of the selection as one transform in anyone's pipeline: `SelectLike`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

import apache_beam as beam

from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.transforms import ComputeEmbeddings
from hir_transforms.mixtures.fitting import MixtureSettings
from hir_transforms.mixtures.plan import mixture_settings
from hir_transforms.mixtures.settings import MixtureOptions
from hir_transforms.mixtures.transforms import FitGaussianMixture
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.ngrams.transforms import CountNgrams, FitNgramEstimator
from hir_transforms.selection.sample import SampleDocuments
from hir_transforms.weights.transforms import MixLogWeights, MixtureLogWeights, NgramLogWeights

K = TypeVar("K")
# The defaults of `hir select`.
_RAW_MIXTURE, _TARGET_MIXTURE = (mixture_settings(MixtureOptions(), role) for role in ("raw", "target"))


@dataclass(eq=False)
class SelectLike(beam.PTransform):
    """(key, text) of raw -> (key, text) of k documents that are drawn to be like the target's.

    The n-gram estimator and the mixtures are fitted to raw and the target, raw's documents get their importance
    weights, and k of them are sampled without replacement: `hir select` on collections in memory, with its defaults.
    Keys are as `SampleDocuments` takes them. The selection is a function of the documents and the settings; bundles
    and workers do not show. Texts cross two shuffles on their way out, so of a large corpus in files `hir select`
    takes less. It leaves out texts of fewer than 100 tokens: filter them here before.

    Attributes:
        target: texts of the target.
        k: documents to select.
        alpha: share of the n-gram weight: with 1 nothing is embedded, with 0 no n-grams are counted.
        ngrams: how n-grams are made.
        smoothing: see `FitNgramEstimator`.
        model: of the embeddings, see `ComputeEmbeddings`.
        raw_mixture, target_mixture: how the mixtures of embeddings are fitted; by default with a component for every
            200 and 100 vectors.
        scaling: see `MixLogWeights`.
        top_k, seed: see `SampleDocuments`.

    Raises:
        UserError: if there is no such model; when run, if raw has fewer than k documents.
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

    target: beam.PCollection[str]
    k: int
    _: KW_ONLY
    alpha: float = 0.5
    ngrams: NgramSettings = field(default_factory=NgramSettings)
    smoothing: float = 0.0
    model: str | EmbeddingModel = "all-MiniLM-L6-v2"
    raw_mixture: MixtureSettings = _RAW_MIXTURE
    target_mixture: MixtureSettings = _TARGET_MIXTURE
    scaling: str = "none"
    top_k: bool = False
    seed: int = 0

    def expand(self, raw: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, str]]:
        """See the class."""
        mix = MixLogWeights(self.alpha, self.scaling)
        if self.alpha == 1.0:
            weights = self._ngram_weights(raw)
        elif self.alpha == 0.0:
            weights = self._embedding_weights(raw)
        else:
            parts = {"ngram": self._ngram_weights(raw), "embedding": self._embedding_weights(raw)}
            weights = parts | "Mix" >> mix
        selected = weights | "Sample" >> SampleDocuments(k=self.k, top_k=self.top_k, seed=self.seed)
        return (
            {"text": raw, "selected": selected | "Selected" >> beam.Map(lambda key: (key, None))}
            | "Join" >> beam.CoGroupByKey()
            | "Texts" >> beam.FlatMap(_selected_texts)
        )

    def _ngram_weights(self, raw: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, float]]:
        target_counts = self.target | "CountTarget" >> CountNgrams(self.ngrams)
        estimator = (
            raw
            | "Texts of raw" >> beam.Values()
            | "CountRaw" >> CountNgrams(self.ngrams)
            | "FitNgrams" >> FitNgramEstimator(target_counts, self.smoothing)
        )
        return raw | "WeighNgrams" >> NgramLogWeights(estimator)

    def _embedding_weights(self, raw: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, float]]:
        vectors = raw | "EmbedRaw" >> ComputeEmbeddings(self.model)
        target_vectors = (
            self.target
            | "Keys of target" >> beam.Map(lambda text: (text, text))
            | "EmbedTarget" >> ComputeEmbeddings(self.model)
        )
        raw_mixture = vectors | "FitRaw" >> FitGaussianMixture(self.raw_mixture)
        target_mixture = target_vectors | "FitTarget" >> FitGaussianMixture(self.target_mixture)
        return vectors | "WeighEmbeddings" >> MixtureLogWeights(raw_mixture, target_mixture)


def _selected_texts(joined: tuple[Any, Mapping[str, Iterable[Any]]]) -> Iterator[tuple[Any, str]]:
    key, found = joined
    if list(found["selected"]):
        yield from ((key, text) for text in found["text"])
