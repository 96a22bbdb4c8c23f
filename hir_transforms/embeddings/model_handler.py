"""How Beam's RunInference runs a sentence-transformers model: loaded once a process, one group of texts a call."""

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult, RunInference

from hir_transforms.common.extras import require_extra
from hir_transforms.embeddings.model import EmbeddingModel, loading_error

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# On a core, small batches stay in its cache: MiniLM at 256 tokens embeds 19.1 documents per second in batches of 4 and
# 14.3 in batches of 32, the library's default, which a GPU is given.
_CPU_BATCH = 4
_GPU_BATCH = 32
# Characters kept for each token that the model can see; a cut text that turns out to have too few is embedded whole.
_CHARACTERS_PER_TOKEN = 8


class HasTexts(Protocol):
    """What is embedded at once."""

    @property
    def texts(self) -> list[str]:
        """One text or more."""


T = TypeVar("T", bound=HasTexts)


class SentenceTransformerHandler(ModelHandler[HasTexts, PredictionResult, "SentenceTransformer"]):
    """Embeds groups of texts; RunInference loads the model once a process and calls this."""

    def __init__(self, model: EmbeddingModel) -> None:
        super().__init__()
        self._model = model

    def load_model(self) -> "SentenceTransformer":
        """The model, on the GPU where there is one; one thread on a CPU, where each core has a process of its own.

        Raises:
            UserError: if it cannot be loaded, or the extra `embeddings` is not installed.
        """
        require_extra("embeddings", f"--embedding_model: {self._model.name} on {socket.gethostname()}")
        import torch
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        # The same number everywhere: how a sum is split over threads shows in its last bits.
        torch.set_num_threads(1)
        folder = self._model.locate()
        try:
            return SentenceTransformer(folder, trust_remote_code=self._model.trust_remote_code)
        except Exception as error:
            raise loading_error(self._model.name, error) from error

    def run_inference(
        self,
        batch: Sequence[HasTexts],
        model: "SentenceTransformer",
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionResult]:
        """One float32 array [N, D] for each group, from its texts alone: rows do not depend on bundles."""
        for group in batch:
            rows = model.encode(
                cut_long_texts(model, group.texts),
                prompt=self._model.prompt,
                batch_size=self._model.batch_size or (_CPU_BATCH if model.device.type == "cpu" else _GPU_BATCH),
                show_progress_bar=False,
            )
            yield PredictionResult(group, np.asarray(rows, np.float32).reshape(len(group.texts), -1))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """A group is a batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def cut_long_texts(model: "SentenceTransformer", texts: Sequence[str]) -> list[str]:
    """Texts without the ends that lie beyond the tokens the model reads, so that its tokenizer need not read them.

    A text is cut before a blank, where a tokenizer that works word by word starts afresh: the tokens before are those
    of the whole text. The cut text must still have more tokens than the model reads, else the text stays whole.
    """
    limit = model.max_seq_length
    tokenizer: Any = getattr(model, "tokenizer", None)
    if not limit or not getattr(tokenizer, "is_fast", False):
        return list(texts)
    size = limit * _CHARACTERS_PER_TOKEN
    ends = [text.rfind(" ", 0, size) if len(text) > size else -1 for text in texts]
    cut = [text[:end] for text, end in zip(texts, ends, strict=True) if end > 0]
    if not cut:
        return list(texts)
    tokens = iter(tokenizer(cut, add_special_tokens=False, truncation=False)["input_ids"])
    return [
        text[:end] if end > 0 and len(next(tokens)) > limit else text for text, end in zip(texts, ends, strict=True)
    ]


@dataclass(eq=False)
class InferEmbeddings(beam.PTransform):
    """Groups of texts, such as `DocumentGroup`s -> (the group, float32 [N, D]), by the model."""

    model: EmbeddingModel

    def expand(self, groups: beam.PCollection[T]) -> beam.PCollection[tuple[T, np.ndarray]]:
        """See the class."""
        # The identifier lets all stages of one process share the loaded model.
        identifier = f"{self.model.name} {self.model.revision}"
        infer = RunInference(SentenceTransformerHandler(self.model), model_identifier=identifier)
        return groups | "Infer" >> infer | "Rows" >> beam.Map(lambda result: (result.example, result.inference))
