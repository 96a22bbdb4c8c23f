"""Groups of texts to their embeddings, by whichever kind of model."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.shared import Shared

from hir_transforms.embeddings.model import EmbeddingModel
from hir_transforms.embeddings.static_model import load_static_model


def infer_embeddings(model: EmbeddingModel) -> beam.PTransform:
    """The transform of groups of texts, such as `DocumentGroup`s -> (the group, float32 [N, D]), by the model."""
    if model.is_static:
        return InferStaticEmbeddings(model)
    # Imports torch through RunInference: two seconds and 500 MB that a run without a transformer does not pay.
    from hir_transforms.embeddings.model_handler import InferEmbeddings

    return InferEmbeddings(model)


@dataclass(eq=False)
class InferStaticEmbeddings(beam.PTransform):
    """Groups of texts -> (the group, float32 [N, D]), by a static model, without the cost of `RunInference`."""

    model: EmbeddingModel

    def expand(self, groups: beam.PCollection[Any]) -> beam.PCollection[tuple[Any, np.ndarray]]:
        """See the class."""
        return groups | "Infer" >> beam.ParDo(_EncodeDoFn(self.model))


@dataclass(eq=False)
class _EncodeDoFn(beam.DoFn):
    model: EmbeddingModel
    # One encoder a process: its words stay known.
    shared: Shared = field(default_factory=Shared)

    def setup(self) -> None:
        self._encoder = self.shared.acquire(lambda: load_static_model(self.model))

    def process(self, group: Any) -> Iterator[tuple[Any, np.ndarray]]:
        yield group, self._encoder.encode(group.texts)
