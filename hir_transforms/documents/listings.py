"""Listings: the files of a dataset, in a manifest by name or, where they are many, by a digest that names a file."""

import zlib
from functools import cached_property
from typing import Any

import msgspec

from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import SourceFile
from hir_transforms.files import storage

# Beyond this, a manifest of each stage with all of them would take longer than much that the stages do.
MOST_IN_MANIFEST = 10_000
_FOLDER = "inputs"


class Listing:
    """The files of a dataset, in corpus order, as they were found at one time."""

    def __init__(self, files: list[SourceFile]) -> None:
        self.files = files

    @cached_property
    def description(self) -> Any:
        """What a stage's manifest says of the files, JSON values: each, or the number, bytes and digest of many."""
        if len(self.files) <= MOST_IN_MANIFEST:
            return [[file.path, file.name, file.size, file.modified, file.target] for file in self.files]
        return {
            "files": len(self.files),
            "bytes": sum(file.size for file in self.files),
            "sha256": storage.sha256_of(self._encode()),
        }

    def _encode(self) -> bytes:
        return msgspec.json.encode(self.files)

    def save(self, work_dir: str) -> None:
        """Keeps in the work folder what the description leaves out; once, for all stages."""
        if len(self.files) > MOST_IN_MANIFEST:
            path = _path(work_dir, self.description["sha256"])
            if not storage.exists(path):
                storage.write_bytes(path, zlib.compress(self._encode(), level=1), durable=True)


def load_files(work_dir: str, description: Any) -> list[SourceFile]:
    """The files that a manifest in this work folder describes; raises `UserError` if what it names is damaged."""
    if isinstance(description, list):
        return [SourceFile(index, *file) for index, file in enumerate(description)]
    path = _path(work_dir, description["sha256"])
    try:
        content = zlib.decompress(storage.read_bytes(path))
    except zlib.error:
        content = b""
    if storage.sha256_of(content) != description["sha256"]:
        raise UserError(f"--work_dir: {path} is damaged; run 'hir select' again with another --work_dir")
    return msgspec.json.decode(content, type=list[SourceFile])


def _path(work_dir: str, digest: str) -> str:
    return storage.join(work_dir, _FOLDER, f"{digest}.json.z")
