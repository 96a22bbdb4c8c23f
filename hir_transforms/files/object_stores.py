"""Object stores: found to be within reach before anything runs, and the file systems that reach them."""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping

from apache_beam.io.aws.clients.s3.messages import S3ClientError
from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from hir_transforms.common.errors import UserError, one_line
from hir_transforms.common.extras import require_extra
from hir_transforms.files import hub, s3

# Scheme: the extra of this project that brings its client.
_CLIENTS = {"s3": "aws", "gs": "gcp", hub.SCHEME: "hub"}
_WITH_BUCKETS = ("s3", "gs")
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLIENT_PACKAGES = ("boto3", "botocore", "google", "httpx", "huggingface_hub", "requests", "s3transfer", "urllib3")


def connect(options: PipelineOptions, paths: Mapping[str, str]) -> None:
    """Makes Beam's options (`--s3_endpoint_url`, ...) those of all file operations, and looks at each bucket once.

    Beam itself tries again for minutes where credentials or a bucket are missing, and finds no file in a bucket that
    is not there.

    Args:
        options: of the pipeline.
        paths: what flags hold, by flag; patterns with commas between them, and local paths, which are passed over.

    Raises:
        UserError: for a store whose client is not installed, and a bucket that cannot be listed.
    """
    FileSystems.set_options(options)
    seen = set()
    for flag, value in paths.items():
        for path in value.split(","):
            scheme, separator, rest = path.strip().removeprefix("@").partition("://")
            if not separator:
                continue
            bucket, _, name = rest.partition("/")
            where = f"--{flag}: {scheme}://{bucket}"
            if (scheme, bucket) not in seen:
                _require_client(scheme, f"--{flag}")
            if scheme in _WITH_BUCKETS and not name:
                raise UserError(f"{where} is a whole bucket; name a file or folder in it")
            if scheme in _WITH_BUCKETS and (scheme, bucket) not in seen:
                _look_at_bucket(options, scheme, bucket, where)
            seen.add((scheme, bucket))


def _require_client(scheme: str, flag: str) -> None:
    if scheme in _CLIENTS:
        require_extra(_CLIENTS[scheme], f"{flag}: {scheme}://")
    try:
        FileSystems.get_filesystem(f"{scheme}://bucket/name")
    except ValueError:
        raise UserError(f"{flag}: Beam has no file system for {scheme}:// here") from None


def _look_at_bucket(options: PipelineOptions, scheme: str, bucket: str, where: str) -> None:
    try:
        if scheme == "s3":
            s3.new_client(options).client.head_bucket(Bucket=bucket)
        else:
            _list_one_of_gcs(options, bucket)
    except Exception as error:
        if not is_store_error(error):
            raise
        hint = {
            403: " (may these credentials list it?)",
            404: " (there is no such bucket)",
            None: " (credentials come from the environment; see docs/running.md)",
        }.get(_status(error), "")
        raise UserError(f"{where} cannot be reached: {one_line(error)}{hint}") from None


def _list_one_of_gcs(options: PipelineOptions, bucket: str) -> None:
    import google.auth
    from apache_beam.io.gcp.gcsio import create_storage_client

    google.auth.default()  # fails at once, while Beam would try for twenty seconds and then go on without
    next(iter(create_storage_client(options).list_blobs(bucket, max_results=1, retry=None)), None)


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore's
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "code", None)  # google.api_core's


def is_store_error(error: BaseException) -> bool:
    """Whether an exception is of a file, of Beam's file systems or of the libraries below these."""
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | S3ClientError) or package in _CLIENT_PACKAGES


@contextlib.contextmanager
def user_errors(action: str, path: str) -> Iterator[None]:
    """What goes wrong in the block with the store of `path` becomes a `UserError` that names both."""
    try:
        with space_errors(path):
            yield
    except Exception as error:
        if not is_store_error(error):
            raise
        raise UserError(f"cannot {action} {path}: {one_line(error)}") from None


@contextlib.contextmanager
def space_errors(path: str) -> Iterator[None]:
    """What goes wrong in the block because the disk of `path` is full becomes a `UserError` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise UserError(
            f"no space left on the disk of {path} ({os.strerror(error.errno)}): make room there, or choose a folder "
            "on another disk; the same command goes on with what is finished"
        ) from None


def filesystem(path: str) -> FileSystem:
    """The file system of a path: Beam's, but on S3 one that keeps its connections."""
    scheme = FileSystems.get_scheme(path)
    return FileSystems.get_filesystem(f"{s3.SCHEME}://" if scheme == "s3" else path)


def copy(source: str, destination: str) -> None:
    """Copies one object; raises what the store raises."""
    filesystem(source).copy([source], [destination])
