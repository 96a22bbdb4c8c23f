"""A transform of texts in anyone's pipeline: `ComputeEmbeddings`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np

from hir_transforms.embeddings.inference import infer_embeddings
from hir_transforms.embeddings.model import EmbeddingModel, find_model

K = TypeVar("K")


@dataclass(frozen=True)
class _KeyedTexts:
    """Texts that are embedded at once, and their keys."""

    keys: Sequence[Any]
    texts: list[str]


@dataclass(eq=False)
class ComputeEmbeddings(beam.PTransform):
    """(key, text) -> (key, vector): float32 [D], by a model of sentence-transformers or a static one.

    Attributes:
        model: as `find_model` gives it; or its name: a folder, or a model of the Hugging Face hub, which is looked for
            when the transform is applied.
        batch_size: texts that are embedded at once. With 1 a vector is a function of its text alone. More are faster
            on a GPU, but which texts stand beside a text, which follows the bundles, may show in its last bits.

    Raises:
        UserError: if there is no such model; when run, if a worker cannot load it.

    Example:
        >>> import apache_beam as beam
        >>> from hir_transforms import ComputeEmbeddings
        >>> with beam.Pipeline() as pipeline:
        ...     texts = pipeline | beam.Create([("first", "a text"), ("second", "another")])
        ...     vectors = texts | ComputeEmbeddings("all-MiniLM-L6-v2")
        ...     _ = vectors | beam.combiners.Count.Globally() | beam.Map(print)
        2
    """

    model: str | EmbeddingModel = "all-MiniLM-L6-v2"
    batch_size: int = 1

    def expand(self, texts: beam.PCollection[tuple[K, str]]) -> beam.PCollection[tuple[K, np.ndarray]]:
        """See the class."""
        model = find_model(self.model) if isinstance(self.model, str) else self.model
        return (
            texts
            | "Batch" >> beam.BatchElements(min_batch_size=1, max_batch_size=self.batch_size)
            | "Group" >> beam.Map(_group)
            | "Embed" >> infer_embeddings(model)
            | "Split" >> beam.FlatMap(_split)
        )


def _group(batch: list[tuple[Any, str]]) -> _KeyedTexts:
    keys, texts = zip(*batch, strict=True)
    return _KeyedTexts(keys, list(texts))


def _split(embedded: tuple[_KeyedTexts, np.ndarray]) -> Iterator[tuple[Any, np.ndarray]]:
    group, rows = embedded
    yield from zip(group.keys, rows, strict=True)
