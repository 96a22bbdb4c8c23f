"""Small corpora."""

import json
from pathlib import Path

import numpy as np

from hir_transforms.documents.records import SourceFile


def jsonl(texts):
    """The lines of documents with these texts."""
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def write_embedded(folder, raw, target, dim):
    """Writes so many short documents of raw and target, and made-up embeddings of them; returns the flags."""
    generator = np.random.default_rng(0)
    flags = []
    for role, size in (("raw", raw), ("target", target)):
        path = Path(folder, role)
        path.with_suffix(".jsonl").write_bytes(jsonl(f"document {number} of {role}" for number in range(size)))
        np.save(path.with_suffix(".npy"), generator.normal(size=(size, dim)).astype(np.float32))
        flags += [f"--{role}={path}.jsonl", f"--{role}_embeddings={path}.npy"]
    return flags


def source_file(path, index=0):
    """A local file as a listing of its folder describes it."""
    path = Path(path)
    stat = path.stat()
    return SourceFile(index, str(path), path.name, stat.st_size, stat.st_mtime)
