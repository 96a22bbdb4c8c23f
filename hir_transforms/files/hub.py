"""Files of the Hugging Face Hub, `hf://datasets/...`, by its own file system for fsspec; to be read alone."""

from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn, cast

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

SCHEME = "hf"
_PREFIX = f"{SCHEME}://"


def _hub() -> Any:
    """The file system of the hub, which fsspec makes once a process."""
    from huggingface_hub import HfFileSystem

    return HfFileSystem()


class HubFileSystem(FileSystem):
    """Beam's view of the hub.

    Its files have no time but that of their last commit, and are those of a revision where the path names one:
    `hf://datasets/owner/name@revision/file`.
    """

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *(path.strip("/") for path in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        folder = dir_or_prefix.rpartition("/")[0].removeprefix(_PREFIX)
        try:
            found = _hub().find(folder, detail=True, refresh=True, expand_info=True)
        except FileNotFoundError:
            return
        for name, info in found.items():
            if f"{_PREFIX}{name}".startswith(dir_or_prefix):
                yield _metadata(name, info)

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.UNCOMPRESSED,
    ) -> BinaryIO:
        if compression_type != CompressionTypes.UNCOMPRESSED:
            raise ValueError(f"{path} is read as it is stored, not as {compression_type}")
        return cast(BinaryIO, _hub().open(path.removeprefix(_PREFIX), "rb"))

    def exists(self, path: str) -> bool:
        return bool(_hub().isfile(path.removeprefix(_PREFIX)))

    def metadata(self, path: str) -> FileMetadata:
        name = path.removeprefix(_PREFIX)
        return _metadata(name, _hub().info(name, refresh=True, expand_info=True))

    def size(self, path: str) -> int:
        return self.metadata(path).size_in_bytes

    def last_updated(self, path: str) -> float:
        return self.metadata(path).last_updated_in_seconds

    def checksum(self, path: str) -> str:
        return f"{self.size(path)}"

    def mkdirs(self, path: str) -> NoReturn:
        raise _not_written(path)

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> NoReturn:
        raise _not_written(path)

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> NoReturn:
        raise _not_written(destination_file_names[0])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> NoReturn:
        raise _not_written(destination_file_names[0])

    def delete(self, paths: list[str]) -> NoReturn:
        raise _not_written(paths[0])


def _not_written(path: str) -> PermissionError:
    return PermissionError(f"the hub is only read, {path} is not written")


def _metadata(name: str, info: dict[str, Any]) -> FileMetadata:
    commit = info.get("last_commit")
    return FileMetadata(f"{_PREFIX}{name}", info["size"], commit.date.timestamp() if commit else 0.0)
