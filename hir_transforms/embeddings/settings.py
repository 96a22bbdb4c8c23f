"""The settings of where embeddings come from."""

import functools
from dataclasses import dataclass

from hir_transforms.common.settings import READING, TEXT, Settings, setting
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.settings import PATTERNS

_embedding_setting = functools.partial(setting, task="embeddings", commands=READING)


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(Settings):
    """The model that embeds, and the files of what is embedded already."""

    embedding_model: str = _embedding_setting(
        "all-MiniLM-L6-v2", "model of sentence-transformers: its name or its folder", metavar="NAME"
    )
    embedding_revision: str | None = _embedding_setting(
        None, "commit, branch or tag of a model of the hub", kind=TEXT, metavar="REV"
    )
    embedding_prompt: str = _embedding_setting("", "put before each text")
    trust_remote_code: bool = _embedding_setting(False, "run code that comes with the model")
    raw_embeddings: tuple[str, ...] = _embedding_setting(
        (), "embeddings of raw instead of computing them: .avro of 'hir embed', .npy or .parquet", kind=PATTERNS
    )
    target_embeddings: tuple[str, ...] = _embedding_setting(
        (), "embeddings of the target instead of computing them, as for --raw_embeddings", kind=PATTERNS
    )

    def files(self, role: str) -> Dataset | None:
        """The embedding files that are given for "raw" or "target"."""
        patterns: tuple[str, ...] = getattr(self, f"{role}_embeddings")
        return Dataset(f"{role}_embeddings", patterns) if patterns else None
