"""An object store in the memory of this process, under the scheme `mem`."""

import io
import time
from typing import ClassVar

from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem


class _Upload(io.BytesIO):
    """As in real stores, the object is there when the upload is closed, also if that is because of an error."""

    def __init__(self, url):
        super().__init__()
        self._url = url

    def close(self):
        if not self.closed:
            MemoryFileSystem.put(self._url, self.getvalue())
        super().close()


class MemoryFileSystem(FileSystem):
    """Objects by URL; there are no folders, and `rename` is a copy and a deletion.

    Attributes:
        objects: content by URL.
        history: ("put" or "delete", URL) of every change.
        questions: URLs or prefixes that were looked for, in order.
        fail_at: length of the history at which the next change fails, once; None for never.
    """

    objects: ClassVar[dict[str, bytes]] = {}
    history: ClassVar[list[tuple[str, str]]] = []
    questions: ClassVar[list[str]] = []
    fail_at: ClassVar[int | None] = None
    _times: ClassVar[dict[str, float]] = {}

    @classmethod
    def clear(cls):
        for memory in (cls.objects, cls.history, cls.questions, cls._times):
            memory.clear()
        cls.fail_at = None

    @classmethod
    def put(cls, url, content):
        cls._record("put", url)
        cls.objects[url] = content
        cls._times[url] = time.time()

    @classmethod
    def _record(cls, change, url):
        if len(cls.history) == cls.fail_at:
            cls.fail_at = None
            raise BeamIOError(f"the connection broke at {url}")
        cls.history.append((change, url))

    @classmethod
    def scheme(cls):
        return "mem"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return False

    def _list(self, dir_or_prefix):
        self.questions.append(dir_or_prefix)
        return [self._metadata(url) for url in list(self.objects) if url.startswith(dir_or_prefix)]

    def create(self, path, mime_type="application/octet-stream", compression_type=None):
        return _Upload(path)

    def open(self, path, mime_type="application/octet-stream", compression_type=None):
        return io.BytesIO(self._get(path))

    def copy(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            self.put(destination, self._get(source))

    def rename(self, source_file_names, destination_file_names):
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path):
        self.questions.append(path)
        return path in self.objects

    def size(self, path):
        return len(self._get(path))

    def last_updated(self, path):
        return self.metadata(path).last_updated_in_seconds

    def metadata(self, path):
        self.questions.append(path)
        return self._metadata(path)

    def _metadata(self, path):
        return FileMetadata(path, self.size(path), self._times[path])

    def delete(self, paths):
        for path in paths:
            for url in [url for url in self.objects if url.startswith(path)] if path.endswith("/") else [path]:
                self._get(url)
                self._record("delete", url)
                del self.objects[url]

    def _get(self, path):
        if path not in self.objects:
            raise BeamIOError(f"no object {path}")
        return self.objects[path]
