"""Known files: those of a dataset, from which alone lines may be copied, whatever files in a work folder say."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec
import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.documents.records import SourceFile

RowsT = TypeVar("RowsT")


class KnownFiles:
    """The files of a dataset, as 8 bytes each, so that a list of a million is a small side input."""

    def __init__(self, files: Iterable[SourceFile]) -> None:
        self._hashes = np.sort(np.array([_hash(file) for file in files], np.uint64))

    def __contains__(self, file: SourceFile) -> bool:
        wanted = np.uint64(_hash(file))
        place = np.searchsorted(self._hashes, wanted)
        return bool(place < len(self._hashes) and self._hashes[place] == wanted)

    def require(self, path: str, file: SourceFile | None) -> None:
        """Raises `UserError` unless what is at a path is this file, and the file one of these."""
        if file is None or path != file.path or file not in self:
            raise UserError(
                f"the work folder names the file {path}, which is not as such one of the dataset that was scored; "
                "score it again"
            )

    def check(
        self, rows: Iterable[tuple[RowsT, dict[str, SourceFile]]]
    ) -> Iterator[tuple[RowsT, dict[str, SourceFile]]]:
        """The same rows of files; raises `UserError` before rows of a file that is not one of these."""
        checked: set[SourceFile] = set()
        for table, files in rows:
            for path, file in files.items():
                if file not in checked or path != file.path:
                    self.require(path, file)
                checked.add(file)
            yield table, files


def _hash(file: SourceFile) -> int:
    identity = msgspec.json.encode((file.path, file.name, file.size, float(file.modified)))
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest())
