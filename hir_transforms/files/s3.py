"""S3 by Beam's own client for it, which a process makes once."""

import copy
import functools
from collections.abc import Iterator
from typing import BinaryIO, cast

from apache_beam.io.aws.clients.s3.boto3_client import Client
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO, parse_s3_path
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.options.pipeline_options import PipelineOptions

# Beam finds a file system by its scheme, and hands it the options of the pipeline on every machine. Two of one scheme
# would be an error, so this one has another than that of its paths.
SCHEME = "hir+s3"


@functools.lru_cache(maxsize=4)
def _client(options: PipelineOptions | None) -> Client:
    """The client of some options, which are told apart as objects: Beam hands on the same one."""
    return Client(options or PipelineOptions([]))


def new_client(options: PipelineOptions | None) -> Client:
    """Beam's client with the `--s3_...` flags of some options.

    It shares its connections with all others of this process, also in other threads: to make them takes 0.2 seconds of
    processor time, more than all else that is done with a file of usual size. Only the place in a download is its own.
    """
    return copy.copy(_client(options))


class SharedS3FileSystem(S3FileSystem):
    """Beam's S3 file system for uncompressed files; Beam's own makes a new client for each operation.

    Other than with Beam's, a copy that fails raises, and an object appears when all of it is there.
    """

    def __init__(self, pipeline_options: PipelineOptions | None) -> None:
        super().__init__(pipeline_options)
        self.client = new_client(pipeline_options)

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path, (size, updated) in S3IO(self.client).list_files(dir_or_prefix, with_metadata=True):
            yield FileMetadata(path, size, updated)

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.UNCOMPRESSED,
    ) -> BinaryIO:
        if compression_type != CompressionTypes.UNCOMPRESSED:
            raise ValueError(f"{path} is read as it is stored, not as {compression_type}")
        return cast(BinaryIO, S3IO(copy.copy(self.client)).open(path, "rb"))

    def create(self, path: str, mime_type: str = "", compression_type: str = "") -> BinaryIO:
        raise NotImplementedError("see upload")

    def upload(self, file: BinaryIO, path: str) -> None:
        """Writes what a file holds from its place on, be it nothing; no object appears if that cannot be read."""
        from boto3.s3.transfer import TransferConfig

        bucket, key = parse_s3_path(path)
        # Threads would hold ten parts of the file in memory.
        self.client.client.upload_fileobj(file, bucket, key, Config=TransferConfig(use_threads=False))

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            S3IO(self.client).copy(source, destination)

    def exists(self, path: str) -> bool:
        return S3IO(self.client).exists(path)

    def metadata(self, path: str) -> FileMetadata:
        for found in self._list(path):  # of the names that begin with it, it is the first
            if found.path == path:
                return found
            break
        raise FileNotFoundError(f"Not found: {path}")

    def delete(self, paths: list[str]) -> None:
        for error in S3IO(self.client).delete_paths(paths).values():
            if error is not None:
                raise error
