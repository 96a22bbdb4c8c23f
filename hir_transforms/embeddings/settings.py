"""The settings of where embeddings come from."""

import functools
from dataclasses import dataclass

from hir_transforms.common.fingerprints import NO_EFFECT
from hir_transforms.common.settings import INT32_MAX, READING, READING_TEXT, TEXT, Settings, in_range, setting
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.settings import PATTERNS

_embedding_setting = functools.partial(setting, task="embeddings", commands=READING_TEXT)
_rows_setting = functools.partial(_embedding_setting, (), commands=(*READING, "tune"), kind=PATTERNS)


@dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(Settings):
    """The model that embeds, and the files of what is embedded already."""

    embedding_model: str = _embedding_setting(
        "all-MiniLM-L6-v2",
        "model of sentence-transformers or a static one: its name or folder; static:NAME distils one of the former",
        metavar="[static:]NAME",
        no_default_in=("evaluate",),
    )
    embedding_revision: str | None = _embedding_setting(
        None, "commit, branch or tag of a model of the hub", kind=TEXT, metavar="REV"
    )
    embedding_prompt: str = _embedding_setting("", "put before each text")
    embedding_batch_size: int = _embedding_setting(
        0,
        "texts that a transformer embeds at once",
        check=in_range(0, INT32_MAX),
        shown_default="4 on a CPU, 32 on a GPU",
        metadata=NO_EFFECT,
    )
    trust_remote_code: bool = _embedding_setting(False, "run code that comes with the model")
    raw_embeddings: tuple[str, ...] = _rows_setting(
        "embeddings of raw instead of computing them: .avro of 'hir embed', .npy or .parquet"
    )
    target_embeddings: tuple[str, ...] = _rows_setting(
        "embeddings of the target instead of computing them, as for --raw_embeddings"
    )

    def files(self, role: str) -> Dataset | None:
        """The embedding files that are given for "raw" or "target"."""
        patterns: tuple[str, ...] = getattr(self, f"{role}_embeddings")
        return Dataset(f"{role}_embeddings", patterns) if patterns else None
