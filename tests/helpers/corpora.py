"""Small corpora."""

import json
from pathlib import Path

import numpy as np

from hir_transforms.commands.docstring_corpus import write_corpus
from hir_transforms.documents.records import SourceFile


def jsonl(texts):
    """The lines of documents with these texts."""
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def docstrings_with_bad_lines(folder):
    """Flags of 200 and 40 real documents in a new folder, and a line of each that is no JSON."""
    paths = write_corpus(folder, {"scipy": 60, "numpy": 60, "scikit-learn": 80}, 40)
    for path in paths:
        path.write_bytes(path.read_bytes() + b"no json\n")
    return [f"--{role}={path}" for role, path in zip(("raw", "target"), paths, strict=True)]


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
