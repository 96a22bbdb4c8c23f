"""Files on any Beam file system, written so that a reader never sees half of one."""

import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hir_transforms.common.errors import UserError
from hir_transforms.files import object_stores
from hir_transforms.files.blocks import ForwardStream, RandomAccess, SeekableFile
from hir_transforms.files.compression import DECOMPRESSION_ERRORS, decompressed, is_compressed
from hir_transforms.files.s3 import SharedS3FileSystem

_SPOOL_BYTES = 32 << 20
_COPY_BYTES = 1 << 20

# What marks a file that `atomic_write` has begun as this project's.
_TEMPORARY = ".hir.tmp-"
_IS_TEMPORARY = re.compile(rf"{re.escape(_TEMPORARY)}[0-9a-f]{{32}}$")
_beginning = threading.Lock()


def join(folder: str, *names: str) -> str:
    """Path of a file in a folder."""
    if is_local(folder):  # as in `open_raw`
        return os.path.join(folder, *names)
    return FileSystems.join(folder, *names)


def is_local(path: str) -> bool:
    """Whether the path is on the local disk."""
    return FileSystems.get_scheme(path) is None


def open_raw(path: str) -> BinaryIO:
    """Opens a file for reading its stored bytes; raises `UserError` if it cannot be opened."""
    with object_stores.user_errors("read", path):
        if is_local(path):  # what Beam does, after a search among its file systems
            return open(path, "rb")
        return object_stores.filesystem(path).open(path, compression_type=CompressionTypes.UNCOMPRESSED)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A file under its name on the local disk, where it is copied to if it is elsewhere; raises `UserError`."""
    if is_local(path):
        yield path
        return
    with tempfile.NamedTemporaryFile() as copied:
        with object_stores.space_errors(copied.name), object_stores.user_errors("read", path), open_raw(path) as raw:
            shutil.copyfileobj(raw, copied, _COPY_BYTES)
            copied.flush()
        yield copied.name


@contextlib.contextmanager
def open_blocks(path: str) -> Iterator[RandomAccess]:
    """The uncompressed content of a file by position; only forward where the file is compressed.

    Raises:
        UserError: also within the `with` block, if the file cannot be read or decompressed.
    """
    if not is_compressed(path):
        with object_stores.user_errors("read", path), open_raw(path) as raw:
            yield SeekableFile(raw)
        return
    try:
        with object_stores.user_errors("decompress", path), open_raw(path) as raw, decompressed(path, raw) as stream:
            yield ForwardStream(stream)
    except DECOMPRESSION_ERRORS as error:
        raise UserError(f"cannot decompress {path}: {error}") from None


class _Writer(io.BufferedWriter):
    """A file without a number: with that, numpy writes past Python and does not say why it fails."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation


@contextlib.contextmanager
def atomic_write(path: str, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends without an error, complete, or not at all.

    A task that runs twice, even at the same time, writes two temporary files and moves the same bytes to the same
    place twice. Object stores show an object when its upload ends, even by an error, so there the upload starts when
    the file is complete.

    Args:
        path: its final place.
        durable: whether it is safe from a loss of power, too, when the block has ended. Other files are made so
            together, by `sync_folder`.

    Raises:
        UserError: if it cannot be written, also for want of space within the block.
    """
    if not is_local(path):
        with object_stores.space_errors(tempfile.gettempdir()), tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spooled:
            yield cast(BinaryIO, spooled)
            with object_stores.user_errors("write", path):
                _upload(cast(BinaryIO, spooled), path)
        return
    folder = os.path.dirname(path)
    temporary = f"{path}{_TEMPORARY}{uuid.uuid4().hex}"
    with object_stores.user_errors("write", path):
        os.makedirs(folder, exist_ok=True)
        with _beginning:
            raw = io.FileIO(temporary, "wb")
        file = _Writer(raw)
    try:
        with object_stores.space_errors(folder), file:
            yield file
            if durable:
                file.flush()
                os.fsync(raw.fileno())
        with object_stores.user_errors("write", path):
            os.replace(temporary, path)
            if durable:
                sync(folder)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def stop_writing() -> None:
    """Lets no thread of this process begin another file: it is about to end, and to remove what is unfinished."""
    _beginning.acquire()


def sync(path: str) -> None:
    """Waits until the content of a local file, or the list of names in a folder, would survive a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sync_folder(folder: str) -> None:
    """Does as `sync` with all below a local folder, and with the folder's name; object stores need nothing."""
    if is_local(folder) and os.path.isdir(folder):
        with object_stores.user_errors("write", folder):
            for parent, _, names in os.walk(folder):
                for name in names:
                    sync(os.path.join(parent, name))
                sync(parent)
            sync(os.path.dirname(folder))


def _upload(file: BinaryIO, path: str) -> None:
    file.seek(0)
    filesystem = object_stores.filesystem(path)
    if isinstance(filesystem, SharedS3FileSystem):
        filesystem.upload(file, path)
        return
    uploaded = filesystem.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        shutil.copyfileobj(file, uploaded, _COPY_BYTES)
        uploaded.close()
    except BaseException:
        # Closing makes an object of what was sent so far: better none than half of one.
        with contextlib.suppress(Exception):
            uploaded.close()
        with contextlib.suppress(Exception):
            filesystem.delete([path])
        raise


def write_bytes(path: str, data: bytes, *, durable: bool = False) -> None:
    """Writes a whole small file at once, as `atomic_write` does."""
    with atomic_write(path, durable=durable) as file:
        file.write(data)


def read_bytes(path: str) -> bytes:
    """Content of a small file; raises `UserError` if it cannot be read."""
    with object_stores.user_errors("read", path), open_raw(path) as file:
        return file.read()


def exists(path: str) -> bool:
    """Whether there is a file of that name, or any file in a folder of that name."""
    if is_local(path) and os.path.isdir(path):
        return bool(list_folder(path))
    with object_stores.user_errors("look for", path):
        return object_stores.filesystem(path).exists(path) or bool(list_folder(path))


def size_and_time(path: str) -> tuple[int, float]:
    """Stored bytes and modification time (seconds since the epoch; 0 where the store has none) of a file.

    Raises:
        UserError: if there is no such file.
    """
    with object_stores.user_errors("read", path):
        if is_local(path):
            status = os.stat(path)
            return status.st_size, status.st_mtime
        found = object_stores.filesystem(path).metadata(path)
    return found.size_in_bytes, found.last_updated_in_seconds or 0.0


def list_folder(folder: str) -> list[str]:
    """Paths of all files below a folder, sorted; a link to a folder counts as a file."""
    with object_stores.user_errors("list", folder):
        if is_local(folder):  # not by a pattern: the folder's name may hold wildcards
            return sorted(_walk(folder, _raise_unless_gone))
        found = object_stores.filesystem(folder).match([join(folder, "**")])[0].metadata_list
    # Consoles show a folder by an empty object whose name ends in a slash.
    return sorted(metadata.path for metadata in found if not metadata.path.endswith("/"))


def _walk(folder: str, onerror: Callable[[OSError], None] | None = None) -> Iterator[str]:
    for parent, folders, names in os.walk(folder, onerror=onerror):
        yield from (os.path.join(parent, name) for name in names)
        yield from filter(os.path.islink, (os.path.join(parent, name) for name in folders))


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def remove_folder(folder: str) -> None:
    """Deletes a folder and all below it; no error if there is none."""
    with object_stores.user_errors("delete", folder):
        if is_local(folder):
            if os.path.isdir(folder):
                shutil.rmtree(folder)
        elif files := list_folder(folder):
            object_stores.filesystem(folder).delete([join(folder, "")])
            _check_gone(folder, files)


def remove_files(folder: str, paths: Sequence[str]) -> None:
    """Deletes files of a folder that `list_folder` found there."""
    with object_stores.user_errors("delete files of", folder):
        if is_local(folder):
            for path in paths:
                os.remove(path)
        elif paths:
            object_stores.filesystem(folder).delete(list(paths))
            _check_gone(folder, paths)


def _check_gone(folder: str, paths: Sequence[str]) -> None:
    """Beam's GCS file system does not raise what goes wrong."""
    if left := sorted({*paths} & {*list_folder(folder)}):
        raise OSError(f"{len(left)} files are still there, the first of them {left[0]}")


def remove_temporary_files(folder: str) -> None:
    """Deletes what `atomic_write` leaves below a folder when its process is killed.

    Folders below that may not be entered are not this project's, and are passed over.
    """
    if is_local(folder):  # elsewhere it leaves nothing
        remove_files(folder, [path for path in _walk(folder) if _IS_TEMPORARY.search(path)])


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()
