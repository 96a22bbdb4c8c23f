"""The n-grams of single documents, counted: files of sampled documents, and the features made of them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from hir_transforms.classifiers.logistic import folds_of
from hir_transforms.common.portable_log import portable_log
from hir_transforms.documents.identity import identity_hash
from hir_transforms.documents.records import DocumentGroup
from hir_transforms.documents.rejects import LineCounts
from hir_transforms.files import storage
from hir_transforms.ngrams.features import NgramFeaturizer

# Of all documents that are fitted to: 12 bytes each.
MAX_ENTRIES = 1 << 26


@dataclass(frozen=True)
class CountedFile:
    """The documents of one read task, and where they are counted.

    Attributes:
        role: "raw" or "target".
        index: of the task.
        path: of the file; None where no document has an n-gram.
        lines: what was read.
    """

    role: str
    index: int
    path: str | None
    lines: LineCounts


@dataclass(frozen=True, eq=False)
class CountedDocuments:
    """Documents that have n-grams.

    Attributes:
        hashes: uint64 [N], which decide what belongs to a sample.
        folds: int64 [N].
        targets: int64 [N], the target whose documents they are.
        bounds: int64 [N + 1], where each document's buckets begin in `buckets`, and the last one's end.
        buckets: uint32 [M], distinct ones of each document.
        counts: uint32 [M], n-grams in each.
    """

    hashes: np.ndarray
    folds: np.ndarray
    targets: np.ndarray
    bounds: np.ndarray
    buckets: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, group: DocumentGroup, featurizer: NgramFeaturizer, seed: int, target: int) -> "CountedDocuments":
        """Those of a group, which all belong to a target; 0 for raw's."""
        bounds, buckets, counts = featurizer.list_counts(group.encoded)
        places = [(batch.file, batch.offsets) for batch in group.batches]
        hashes = [identity_hash(seed, file.name, offsets, purpose="classifier") for file, offsets in places]
        folds = [folds_of(seed, file.name, offsets) for file, offsets in places]
        sizes = np.diff(bounds)
        kept = sizes > 0
        return cls(
            np.concatenate(hashes)[kept],
            np.concatenate(folds)[kept],
            np.full(kept.sum(), target, np.int64),
            np.concatenate([[0], np.cumsum(sizes[kept])]),
            buckets.astype(np.uint32),
            counts.astype(np.uint32),
        )

    @classmethod
    def join(cls, parts: Sequence["CountedDocuments"]) -> "CountedDocuments":
        """Those of several groups, at least one."""
        sizes = np.concatenate([np.diff(part.bounds) for part in parts])
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("hashes", "folds", "targets", "buckets", "counts")
        }
        return cls(bounds=np.concatenate([[0], np.cumsum(sizes)]), **joined)

    def save(self, path: str) -> None:
        """Writes them as an npz file without pickled objects."""
        with storage.atomic_write(path) as file:
            np.savez(file, **vars(self))

    @classmethod
    def load(cls, path: str) -> "CountedDocuments":
        """Reads what `save` wrote."""
        with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as arrays:
            return cls(**arrays)


@dataclass(frozen=True, eq=False)
class Rows:
    """The features of documents, as a CSR matrix has them: log(1 + count) scaled to unit Euclidean length.

    Attributes:
        values: float64 [M].
        buckets: int32 [M].
        bounds: int64 [N + 1].
        folds: int64 [N].
    """

    values: np.ndarray
    buckets: np.ndarray
    bounds: np.ndarray
    folds: np.ndarray

    def matrix(self, columns: np.ndarray, num_columns: int) -> sparse.csr_matrix:
        """The rows with each bucket at its column, of int32 [B]."""
        indices = columns[self.buckets]
        return sparse.csr_matrix((self.values, indices, self.bounds), shape=(len(self.folds), num_columns))


def load_rows(paths: Sequence[str], target: int, max_documents: int, max_entries: int = MAX_ENTRIES) -> Rows:
    """The features of a sample of a target's documents (of raw's, for target 0), in the order of the files.

    The sample is the documents of the smallest hashes: as many as asked for, or as there are, or as have together no
    more distinct buckets than `max_entries`; but at least one.
    """
    found = [(np.empty(0, np.uint64), np.empty(0, np.int64)), *(_hashes_and_sizes(path, target) for path in paths)]
    hashes, sizes = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(hashes, kind="stable")
    within = int(np.searchsorted(np.cumsum(sizes[order]), max_entries, side="right"))
    taken = order[: max(1, min(max_documents, within))]
    last = hashes[taken].max(initial=0)
    num_entries = int(sizes[hashes <= last].sum())
    values, buckets = np.empty(num_entries), np.empty(num_entries, np.int32)
    rows, folds, entries = [], [], 0
    for path in paths:
        documents = CountedDocuments.load(path)
        kept = (documents.targets == target) & (documents.hashes <= last)
        if not kept.any():
            continue
        row_sizes = np.diff(documents.bounds)
        of_kept = np.repeat(kept, row_sizes)
        logs = portable_log(documents.counts[of_kept] + 1.0)
        row_sizes = row_sizes[kept]
        norms = np.sqrt(np.add.reduceat(logs * logs, np.cumsum(row_sizes) - row_sizes))
        end = entries + len(logs)
        values[entries:end] = logs / np.repeat(norms, row_sizes)
        buckets[entries:end] = documents.buckets[of_kept]
        rows.append(row_sizes)
        folds.append(documents.folds[kept])
        entries = end
    nothing = np.empty(0, np.int64)
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([*rows, nothing]))])
    return Rows(values, buckets, bounds, np.concatenate([*folds, nothing]))


def _hashes_and_sizes(path: str, target: int) -> tuple[np.ndarray, np.ndarray]:
    documents = CountedDocuments.load(path)
    kept = documents.targets == target
    return documents.hashes[kept], np.diff(documents.bounds)[kept]
