"""A file system of made-up files, under the scheme `listed`: any number can be listed, and rows of numbers read."""

import gzip
import io
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from apache_beam.io.filesystem import FileMetadata

from tests.helpers.corpora import jsonl
from tests.helpers.memory_filesystem import MemoryFileSystem


class ListedFileSystem(MemoryFileSystem):
    """`listed://FOLDER/part-0000000.jsonl` and so on.

    Attributes:
        count: how many files there are, by what their names begin and end with.
        file_bytes: size of each.
    """

    count: ClassVar[dict[tuple[str, str], int]] = {}
    file_bytes: ClassVar[int] = 0

    @classmethod
    def scheme(cls):
        return "listed"

    def _list(self, dir_or_prefix) -> Iterator[FileMetadata]:
        for (prefix, suffix), count in self.count.items():
            if prefix.startswith(dir_or_prefix):
                for number in range(count):
                    yield self.metadata(f"{prefix}part-{number:07d}{suffix}")

    def metadata(self, path):
        return FileMetadata(path, self.file_bytes, 1.5e9)

    def exists(self, path):
        return False

    def open(self, path, mime_type="application/octet-stream", compression_type=None):
        file = io.BytesIO()
        if path.endswith(".npy"):
            np.save(file, np.zeros((1, 8), np.float32))
        else:
            line = jsonl(["text of raw"])
            file.write(gzip.compress(line) if path.endswith(".gz") else line)
        file.seek(0)
        return file
