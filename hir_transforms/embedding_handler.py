"""How Beam's RunInference runs a sentence-transformers model: loaded once a process, one group of documents a call."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from hir_transforms.embedding_model import EmbeddingModel
from hir_transforms.records import DocumentGroup

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class SentenceTransformerHandler(ModelHandler[DocumentGroup, PredictionResult, "SentenceTransformer"]):
    """Embeds groups of documents; RunInference loads the model once a process and calls this."""

    def __init__(self, model: EmbeddingModel) -> None:
        super().__init__()
        self._model = model

    def load_model(self) -> "SentenceTransformer":
        """The model, on the GPU where there is one; one thread on a CPU, where each core has a process of its own."""
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        # The same number everywhere: how a sum is split over threads shows in its last bits.
        torch.set_num_threads(1)
        return SentenceTransformer(self._model.location)

    def run_inference(
        self,
        batch: Sequence[DocumentGroup],
        model: "SentenceTransformer",
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """One float32 array [N, D] for each group, from its texts alone: rows do not depend on bundles."""
        for group in batch:
            rows = model.encode(group.texts, show_progress_bar=False, convert_to_numpy=True)
            yield PredictionResult(group, np.asarray(rows, np.float32).reshape(len(group.texts), -1))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """A group is a batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


class ComputeRows(beam.PTransform):
    """`DocumentGroup`s -> (`DocumentGroup`, float32 [N, D]), by the model."""

    def __init__(self, model: EmbeddingModel) -> None:
        super().__init__()
        self._model = model

    def expand(self, groups: beam.PCollection[DocumentGroup]) -> beam.PCollection[tuple[DocumentGroup, np.ndarray]]:
        """See the class."""
        # The identifier lets all stages of one process share the loaded model.
        infer = RunInference(SentenceTransformerHandler(self._model), model_identifier=self._model.location)
        return groups | "Infer" >> infer | "Rows" >> beam.Map(lambda result: (result.example, result.inference))
