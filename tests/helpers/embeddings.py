"""Embedding shards of given rows."""

import numpy as np

from hir_transforms.embedding_shards import write_shard
from hir_transforms.records import DocumentBatch, DocumentGroup, SourceFile


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
