"""Static embedding models of the library `model2vec`: one vector a token, averaged over a text."""

import os
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hir_transforms.common.extras import require_extra
from hir_transforms.embeddings.model import EmbeddingModel, loading_error, module_types
from hir_transforms.embeddings.token_cache import TokenCache, is_word_by_word

if TYPE_CHECKING:
    from model2vec import StaticModel


class StaticEncoder:
    """Embeds texts: to the bit what `StaticModel.encode` gives for each text, in less time.

    Args:
        model: with float32 vectors.
        prompt: put before each text.
    """

    def __init__(self, model: "StaticModel", prompt: str = "") -> None:
        self._model = model
        self._prompt = prompt
        # A model with a mapping or weights of tokens is left to the library: few are.
        plain = model.token_mapping is None and model.weights is None
        self._cache = TokenCache(model.tokenizer) if plain and is_word_by_word(model.tokenizer) else None

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [N, D], each row a function of its text alone; a text without a token has zeros."""
        if self._prompt:
            texts = [self._prompt + text for text in texts]
        if self._cache is None:
            return self._model.encode(texts, use_multiprocessing=False)
        rows = np.zeros((len(texts), self._model.dim), np.float32)
        for row, tokens in zip(rows, self._tokens(self._cache, texts), strict=True):
            if len(tokens):
                self._model.embedding.take(tokens, axis=0).mean(axis=0, out=row)
        if self._model.normalize:
            rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-32
        return rows

    def _tokens(self, cache: TokenCache, texts: Sequence[str]) -> Iterable[np.ndarray]:
        """What the library takes of each text: the tokens of so many characters, so many of them, but unknown ones."""
        limit, unknown = self._model.max_length, self._model.unk_token_id
        if limit is not None:
            texts = [text[: limit * self._model.median_token_length] for text in texts]
        found = cache.tokens(texts, limit)
        return found if unknown is None else (tokens[tokens != unknown] for tokens in found)


def load_static_model(model: EmbeddingModel) -> StaticEncoder:
    """The model on this machine.

    Raises:
        UserError: if it cannot be loaded, or the extra `static` is not installed.
    """
    require_extra("static", f"--embedding_model: {model.name} on {socket.gethostname()}")
    from model2vec import StaticModel

    # Each core has a process of its own.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    folder = model.locate()
    # Models that sentence-transformers has saved tell it by a module of its own.
    normalize = True if any(module.endswith(".Normalize") for module in module_types(folder)) else None
    try:
        loaded = StaticModel.from_pretrained(folder, normalize=normalize, quantize_to="float32")
        return StaticEncoder(loaded, model.prompt)
    except Exception as error:
        raise loading_error(model.name, error) from error
