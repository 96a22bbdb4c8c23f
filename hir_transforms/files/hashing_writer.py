"""`HashingWriter`: passes bytes on, counting and hashing them."""

import hashlib
from typing import IO


class HashingWriter:
    """See the module.

    Attributes:
        bytes: how many there were.
        sha256: of them.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.bytes = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        self.sha256.update(data)
        self._file.write(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    @property
    def closed(self) -> bool:
        return self._file.closed
