"""The documents that candidates are tried on: from the files of their n-gram counts, and of their embeddings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.embeddings.shards import EmbeddingShard, iter_shard
from hir_transforms.ngrams.document_counts import CountedFile, document_hashes
from hir_transforms.ngrams.document_features import lengths, load_counts
from hir_transforms.ngrams.features import NgramSettings
from hir_transforms.tuning.fits import Documents


@dataclass(frozen=True)
class TrialFiles:
    """Where the documents are.

    Attributes:
        counted: files of n-gram counts of raw and of the target.
        shards: embedding shards of each role; empty where no candidate weighs embeddings.
    """

    counted: tuple[CountedFile, ...]
    shards: Mapping[str, tuple[EmbeddingShard, ...]]

    def of_role(self, role: str) -> list[CountedFile]:
        """The files of raw's or the target's counts, in corpus order."""
        return sorted((one for one in self.counted if one.role == role), key=lambda one: one.index)


def load_documents(
    files: TrialFiles, role: str, ngrams: NgramSettings, *, num_documents: int, min_tokens: int, seed: int
) -> Documents:
    """The documents of the smallest hashes that have n-grams, and a finite embedding where there are embeddings.

    Args:
        files: where they are.
        role: "raw" or "target".
        ngrams: what was counted.
        num_documents: the most to take.
        min_tokens: of an eligible document.
        seed: of the hashes.
    """
    paths = [one.path for one in files.of_role(role) if one.path]
    counts, folds, hashes = load_counts(paths, num_documents, ngrams.num_buckets)
    documents = Documents(counts, folds, hashes, lengths(counts, ngrams) >= min_tokens)
    if not files.shards or not len(hashes):
        return documents
    embedded, rows = _read_rows(sorted(files.shards[role]), seed, hashes.max())
    places = np.minimum(np.searchsorted(embedded, hashes), max(0, len(embedded) - 1))
    has_row = embedded[places] == hashes if len(embedded) else np.zeros(len(hashes), np.bool_)
    return replace(documents[has_row], rows=rows[places[has_row]])


def _read_rows(shards: Sequence[EmbeddingShard], seed: int, last: np.uint64) -> tuple[np.ndarray, np.ndarray]:
    """Hashes up to `last` of documents that have a row, ascending uint64 [N], and the rows, float32 [N, D]."""
    hashes: list[np.ndarray] = []
    rows: list[np.ndarray] = []
    dims = set()
    for shard in shards:
        for batch in iter_shard(shard.path):
            of_batch = document_hashes(seed, batch.name, batch.offsets)
            kept = of_batch <= last
            hashes.append(of_batch[kept])
            rows.append(batch.rows[kept])
            dims.add(batch.rows.shape[1])
    if len(dims) > 1:
        raise UserError(f"embeddings of different models: they have {' and '.join(map(str, sorted(dims)))} dimensions")
    order = np.argsort(np.concatenate(hashes))
    return np.concatenate(hashes)[order], np.concatenate(rows)[order]
