"""Groups of documents, rows of embeddings, and shards of them."""

import numpy as np

from hir_transforms.documents.records import DocumentBatch, DocumentGroup, SourceFile
from hir_transforms.embeddings.shards import write_shard


def write_shards(folder, rows, rows_per_shard, offsets=None):
    """Writes rows as consecutive blocks of one file; returns the shards."""
    file = SourceFile(0, "raw.jsonl", "raw.jsonl", 0, 0.0)
    shards = []
    for block, start in enumerate(range(0, len(rows), rows_per_shard)):
        part = rows[start : start + rows_per_shard]
        places = (np.arange(len(rows)) * 10 if offsets is None else offsets)[start : start + len(part)]
        batch = DocumentBatch(file, block, places, np.full(len(part), 9), ["text"] * len(part))
        shards.append(write_shard(str(folder), DocumentGroup((0, block), [batch]), part, "model", "1"))
    return shards


def group_of(offsets_of_files, key=(0, 0)):
    """A group of documents at these offsets of consecutive files."""
    batches = [
        DocumentBatch(
            SourceFile(index, f"/data/{index}.jsonl", f"{index}.jsonl", 1, 0.0),
            key[1] if index == key[0] else 0,
            np.array(offsets, np.int64),
            np.ones(len(offsets), np.int64),
            [f"text {offset}" for offset in offsets],
        )
        for index, offsets in enumerate(offsets_of_files, start=key[0])
    ]
    return DocumentGroup(key, batches)


def rows_of(group, dim=3, seed=0):
    """Some rows for a group of documents, float32 [N, dim]."""
    return np.random.default_rng(seed).normal(size=(len(group.texts), dim)).astype(np.float32)
