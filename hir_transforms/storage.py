"""Files on any Beam file system, written so that a reader never sees half of one."""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from typing import BinaryIO, cast

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from hir_transforms import stores
from hir_transforms.blocks import ForwardStream, RandomAccess, SeekableFile
from hir_transforms.compression import DECOMPRESSION_ERRORS, decompressed, is_compressed
from hir_transforms.errors import UserError

_SPOOL_BYTES = 32 << 20
_COPY_BYTES = 1 << 20

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{32}$")
_INCOMPLETE, _REPLACED = ".incomplete", ".replaced"
_beginning = threading.Lock()


def join(folder: str, *names: str) -> str:
    """Path of a file in a folder."""
    return FileSystems.join(folder, *names)


def is_local(path: str) -> bool:
    """Whether the path is on the local disk."""
    return FileSystems.get_scheme(path) is None


def open_raw(path: str) -> BinaryIO:
    """Opens a file for reading its stored bytes; raises `UserError` if it cannot be opened."""
    with stores.user_errors("read", path):
        if is_local(path):  # what Beam does, after a search among its file systems
            return open(path, "rb")
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


@contextlib.contextmanager
def open_blocks(path: str) -> Iterator[RandomAccess]:
    """The uncompressed content of a file by position; only forward where the file is compressed.

    Raises:
        UserError: also within the `with` block, if the file cannot be read or decompressed.
    """
    if not is_compressed(path):
        with stores.user_errors("read", path), open_raw(path) as raw:
            yield SeekableFile(raw)
        return
    try:
        with stores.user_errors("decompress", path), open_raw(path) as raw, decompressed(path, raw) as stream:
            yield ForwardStream(stream)
    except DECOMPRESSION_ERRORS as error:
        raise UserError(f"cannot decompress {path}: {error}") from None


@contextlib.contextmanager
def atomic_write(path: str) -> Iterator[BinaryIO]:
    """A file that appears under its name when the block ends without an error, complete, or not at all.

    A task that runs twice, even at the same time, writes two temporary files and moves the same bytes to the same
    place twice. Object stores show an object when its upload ends, even by an error, so there the upload starts when
    the file is complete.
    """
    if not is_local(path):
        with tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as spooled:
            yield cast(BinaryIO, spooled)
            with stores.user_errors("write", path):
                _upload(cast(BinaryIO, spooled), path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.tmp-{uuid.uuid4().hex}"
    try:
        with _beginning:
            file = open(temporary, "wb")  # noqa: SIM115 - closed below
        with file:
            yield file
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def stop_writing() -> None:
    """Lets no thread of this process begin another file: it is about to end, and to remove what is unfinished."""
    _beginning.acquire()


def _upload(file: BinaryIO, path: str) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0 and stores.put_empty(path):
        return
    uploaded = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
    try:
        shutil.copyfileobj(file, uploaded, _COPY_BYTES)
        uploaded.close()
    except BaseException:
        # Closing makes an object of what was sent so far: better none than half of one.
        with contextlib.suppress(Exception):
            uploaded.close()
        with contextlib.suppress(Exception):
            FileSystems.delete([path])
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Writes a whole small file at once."""
    with atomic_write(path) as file:
        file.write(data)


def read_bytes(path: str) -> bytes:
    """Content of a small file; raises `UserError` if it cannot be read."""
    with stores.user_errors("read", path), open_raw(path) as file:
        return file.read()


def exists(path: str) -> bool:
    """Whether there is a file of that name, or any file in a folder of that name."""
    if is_local(path) and os.path.isdir(path):
        return bool(list_folder(path))
    with stores.user_errors("look for", path):
        return FileSystems.exists(path) or bool(list_folder(path))


def size_and_time(path: str) -> tuple[int, float]:
    """Stored bytes and modification time (seconds since the epoch; 0 where the store has none) of a file.

    Raises:
        UserError: if there is no such file.
    """
    try:
        if is_local(path):
            status = os.stat(path)
            return status.st_size, status.st_mtime
        found = FileSystems.get_filesystem(path).metadata(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from None
    return found.size_in_bytes, found.last_updated_in_seconds or 0.0


def list_folder(folder: str) -> list[str]:
    """Paths of all files below a folder, sorted."""
    if is_local(folder):  # not by a pattern: the folder's name may hold wildcards
        return sorted(os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)
    with stores.user_errors("list", folder):
        found = FileSystems.match([join(folder, "**")])[0].metadata_list
    # Consoles show a folder by an empty object whose name ends in a slash.
    return sorted(metadata.path for metadata in found if not metadata.path.endswith("/"))


def remove_folder(folder: str) -> None:
    """Deletes a folder and all below it; no error if there is none."""
    if is_local(folder):
        if os.path.isdir(folder):
            shutil.rmtree(folder)
    elif list_folder(folder):
        with stores.user_errors("delete", folder):
            FileSystems.delete([join(folder, "")])
            if left := list_folder(folder):  # Beam's GCS file system does not raise what goes wrong
                raise OSError(f"{len(left)} files are still there, the first of them {left[0]}")


def remove_temporary_files(folder: str) -> None:
    """Deletes what `atomic_write` leaves below a folder when its process is killed."""
    if is_local(folder):  # elsewhere it leaves nothing
        for path in list_folder(folder):
            if _TEMPORARY.search(path):
                os.remove(path)


def temporary_folder(final: str) -> str:
    """Where a folder is put together: beside its final place, so that one rename moves it."""
    return f"{final}{_INCOMPLETE}"


def start_publishing(final: str) -> str:
    """The folder in which to put together what `publish_folder` moves; rid of what runs that were killed left."""
    temporary = temporary_folder(final)
    remove_folder(f"{final}{_REPLACED}")
    remove_folder(temporary)
    return temporary


def publish_folder(temporary: str, final: str, *, last: str) -> None:
    """Moves a complete folder to its final place, replacing what is there.

    On a local disk this is one rename. Object stores have none: each file is copied, and the file named `last` (the
    manifest, by which readers know that the rest is complete) comes last, after the old one has gone first. Two that
    do it at the same time copy the same bytes; none of them takes away what the other has completed.
    """
    if is_local(final):
        os.makedirs(os.path.dirname(final), exist_ok=True)
        replaced = f"{final}{_REPLACED}"
        remove_folder(replaced)
        if os.path.isdir(final):
            os.rename(final, replaced)
        os.rename(temporary, final)
        remove_folder(replaced)
        return
    with stores.user_errors("write", final):
        _copy_folder(temporary, final, join(final, last))
    remove_folder(temporary)


def _copy_folder(temporary: str, final: str, marker: str) -> None:
    copies = {path: join(final, path[len(temporary) :].lstrip("/")) for path in list_folder(temporary)}
    source = next(path for path, copy in copies.items() if copy == marker)
    if exists(marker):
        if read_bytes(marker) == read_bytes(source):
            return
        FileSystems.delete([marker])
    for path, copy in copies.items():
        if copy != marker:
            stores.copy(path, copy)
    if old := sorted(set(list_folder(final)) - set(copies.values())):
        FileSystems.delete(old)
    stores.copy(source, marker)


def discard_half_published(temporary: str, final: str, *, last: str) -> None:
    """Clears `final` where `publish_folder` was interrupted between the old manifest and the new one.

    What tells is a complete temporary folder, with its manifest, beside a final one without. On a local disk there is
    no such state.
    """
    if not is_local(final) and exists(join(temporary, last)) and not exists(join(final, last)):
        remove_folder(final)


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()
