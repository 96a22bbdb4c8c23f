"""Embedding shards of given rows."""

import numpy as np

from hir_transforms.embedding_shards import write_shard
from hir_transforms.records import DocumentBatch, DocumentGroup, SourceFile


def write_shards(folder, rows, rows_per_shard):
    """Writes rows as consecutive blocks of one file; returns the shards."""
    file = SourceFile(0, "raw.jsonl", "raw.jsonl", 0, 0.0)
    shards = []
    for block, start in enumerate(range(0, len(rows), rows_per_shard)):
        part = rows[start : start + rows_per_shard]
        offsets = np.arange(start, start + len(part)) * 10
        batch = DocumentBatch(file, block, offsets, np.full(len(part), 9), ["text"] * len(part))
        shards.append(write_shard(str(folder), DocumentGroup((0, block), [batch]), part, "model", "1"))
    return shards
