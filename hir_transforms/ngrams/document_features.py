"""The n-gram counts of a sample of documents, from the files that hold them, and a classifier's features of these."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from hir_transforms.common.portable_log import portable_log
from hir_transforms.ngrams.document_counts import CountedDocuments
from hir_transforms.ngrams.features import NgramSettings, num_tokens

# Of all documents that are fitted to: 12 bytes each.
MAX_ENTRIES = 1 << 26


def unit_features(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """log(1 + count) of each bucket, scaled to unit Euclidean length: float64 CSR [N, B].

    Args:
        counts: CSR [N, B], of each bucket at most one entry a row, none of them 0; a row without entries stays so.
    """
    logs = portable_log(counts.data + 1.0)
    sizes = np.diff(counts.indptr)
    squares = np.bincount(np.repeat(np.arange(len(sizes)), sizes), logs * logs, len(sizes))
    return sparse.csr_matrix((logs / np.repeat(np.sqrt(squares), sizes), counts.indices, counts.indptr), counts.shape)


def lengths(counts: sparse.csr_matrix, ngrams: NgramSettings) -> npt.NDArray[np.int64]:
    """Tokens of documents by their counts, int64 [N] of CSR [N, B]."""
    return num_tokens(np.asarray(counts.sum(axis=1)).ravel(), ngrams.ngrams)


def load_features(
    paths: Sequence[str], target: int, max_documents: int, num_buckets: int, max_entries: int = MAX_ENTRIES
) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64]]:
    """The features of a sample of a target's documents (of raw's, for target 0), in the order of the files.

    The sample is the documents of the smallest hashes: as many as asked for, or as there are, or as have together no
    more distinct buckets than `max_entries`; but at least one.

    Args:
        paths: of files of `CountedDocuments`.
        target: whose documents they are.
        max_documents: the most to take.
        num_buckets: B.
        max_entries: the most distinct buckets of all.

    Returns:
        The features, float64 CSR [N, B], and the folds, int64 [N].
    """
    return _load(paths, target, max_documents, num_buckets, max_entries, unit_features)[:2]


def load_counts(
    paths: Sequence[str], max_documents: int, num_buckets: int, max_entries: int = MAX_ENTRIES
) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """The counts, int64 CSR [N, B], of the sample that `load_features` takes of target 0, or of raw; folds, hashes."""
    return _load(paths, 0, max_documents, num_buckets, max_entries, lambda counts: counts)


def _load(
    paths: Sequence[str],
    target: int,
    max_documents: int,
    num_buckets: int,
    max_entries: int,
    rows_of: Callable[[sparse.csr_matrix], sparse.csr_matrix],
) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    found = [(np.empty(0, np.uint64), np.empty(0, np.int64)), *(_hashes_and_sizes(path, target) for path in paths)]
    all_hashes, sizes = (np.concatenate(column) for column in zip(*found, strict=True))
    last = _last_hash(all_hashes, sizes, max_documents, max_entries)
    rows = [rows_of(sparse.csr_matrix((0, num_buckets), dtype=np.int64))]
    folds, hashes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for path in paths:
        documents = CountedDocuments.load(path)
        kept = (documents.targets == target) & (documents.hashes <= last)
        if kept.any():
            rows.append(rows_of(documents.matrix(num_buckets)[kept]))
            folds.append(documents.folds[kept])
            hashes.append(documents.hashes[kept])
    return sparse.vstack(rows, format="csr"), np.concatenate(folds), np.concatenate(hashes)


def _last_hash(hashes: np.ndarray, sizes: np.ndarray, max_documents: int, max_entries: int) -> np.uint64:
    """The largest hash of a sample; 0 of no documents."""
    order = np.argsort(hashes, kind="stable")
    within = int(np.searchsorted(np.cumsum(sizes[order]), max_entries, side="right"))
    last: np.uint64 = hashes[order[: max(1, min(max_documents, within))]].max(initial=0)
    return last


def sampled_features(
    parts: Sequence[CountedDocuments], max_documents: int, num_buckets: int, max_entries: int = MAX_ENTRIES
) -> tuple[sparse.csr_matrix, npt.NDArray[np.int64]]:
    """The features and folds of the sample that `load_features` takes, of documents in memory, by their hashes."""
    if not parts:
        return sparse.csr_matrix((0, num_buckets)), np.empty(0, np.int64)
    documents = CountedDocuments.join(parts)
    last = _last_hash(documents.hashes, np.diff(documents.bounds), max_documents, max_entries)
    order = np.argsort(documents.hashes)
    chosen = order[documents.hashes[order] <= last]
    return unit_features(documents.matrix(num_buckets)[chosen]), documents.folds[chosen]


def _hashes_and_sizes(path: str, target: int) -> tuple[np.ndarray, np.ndarray]:
    documents = CountedDocuments.load(path)
    kept = documents.targets == target
    return documents.hashes[kept], np.diff(documents.bounds)[kept]
