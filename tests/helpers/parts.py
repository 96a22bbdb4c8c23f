"""Document parts of given documents."""

import numpy as np

from hir_transforms.documents.records import DocumentBatch, DocumentGroup, SourceFile
from hir_transforms.weights.parts import DocumentPart, part_path, weight_column, write_documents, write_weights

FILE = SourceFile(0, "/data/raw.jsonl", "raw.jsonl", 1, 0.0)


def group_of(block, offsets, file=FILE):
    """A group of documents at these offsets of a file, each of nine bytes."""
    batch = DocumentBatch(file, block, np.array(offsets), np.full(len(offsets), 9), [f"text {one}" for one in offsets])
    return DocumentGroup((file.index, block), [batch])


def write_parts(folder, num_tokens, rows_per_part, rows_per_group=7):
    """Parts of one file's documents, ten bytes apart, and at their end one of two rejected lines only."""
    parts = []
    for start in range(0, len(num_tokens), rows_per_part):
        end = min(start + rows_per_part, len(num_tokens))
        with write_documents(part_path(str(folder), len(parts))) as writer:
            for first in range(start, end, rows_per_group):
                rows = range(first, min(first + rows_per_group, end))
                writer.add(group_of(first, [10 * row for row in rows]), num_tokens[rows.start : rows.stop])
        parts.append(DocumentPart(len(parts), end - start, 1))
    return [*parts, DocumentPart(len(parts), 0, 2)]


def write_part_weights(folder, parts, weights, rows_per_group=7):
    """Files of weights, float64 [N, T], beside parts."""
    start = 0
    for part in parts:
        if part.rows:
            with write_weights(part_path(str(folder), part.index), weights.shape[1]) as writer:
                for first in range(start, start + part.rows, rows_per_group):
                    rows = weights[first : min(first + rows_per_group, start + part.rows)]
                    writer.add({"weight": weight_column(rows)})
        start += part.rows
