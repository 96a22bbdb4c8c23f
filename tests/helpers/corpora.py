"""Small corpora."""

import json
from pathlib import Path

from hir_transforms.documents.records import SourceFile


def jsonl(texts):
    """The lines of documents with these texts."""
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def source_file(path, index=0):
    """A local file as a listing of its folder describes it."""
    path = Path(path)
    stat = path.stat()
    return SourceFile(index, str(path), path.name, stat.st_size, stat.st_mtime)
