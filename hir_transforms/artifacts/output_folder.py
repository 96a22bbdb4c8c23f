"""The output folder: put together beside its place, moved there when it is complete, recovered after interruptions."""

import os
from dataclasses import dataclass
from typing import Literal

import msgspec

from hir_transforms.artifacts.stages import read_json
from hir_transforms.common.errors import UserError
from hir_transforms.common.fingerprints import to_json
from hir_transforms.files import object_stores, storage

MANIFEST = "manifest.json"
KIND = "hir output"
FORMAT_VERSION = 1
_MARK = "_started.json"


class _Shard(msgspec.Struct):
    name: str


class Result(msgspec.Struct):
    """What the manifest of every output holds.

    Attributes:
        kind: what tells that the output is this tool's.
        fingerprint: of everything that the output depends on.
        shards: the files of selected lines.
        files: the names of all other files but the manifest.
    """

    kind: Literal["hir output"]
    fingerprint: str
    shards: list[_Shard]
    files: list[str]

    @property
    def names(self) -> set[str]:
        """All files of the output, relative to its folder."""
        return {MANIFEST, *self.files, *(shard.name for shard in self.shards)}


@dataclass(frozen=True)
class OutputFolder:
    """A folder that is replaced whole, and the one beside it that a run uses meanwhile.

    Attributes:
        path: the final place.
    """

    path: str

    @property
    def incomplete(self) -> str:
        """All that a run keeps until the output is in place; on the same file system, so that one rename moves it."""
        return f"{self.path}.incomplete"

    @property
    def picked(self) -> str:
        """Where the rows of the selected documents are kept meanwhile."""
        return storage.join(self.incomplete, "picked")

    @property
    def tasks(self) -> str:
        """Where it is kept meanwhile what each writer has to write."""
        return storage.join(self.incomplete, "tasks")

    @property
    def new(self) -> str:
        """Where the output is put together."""
        return storage.join(self.incomplete, "output")

    @property
    def replaced(self) -> str:
        """Where the old output is while the new one takes its place; of one in an object store, the manifest alone."""
        return storage.join(self.incomplete, "replaced")

    def start(self) -> None:
        """Makes ready to put an output together; raises `UserError` as `recover` does."""
        self.recover()
        mark = to_json({"kind": KIND, "format_version": FORMAT_VERSION})
        storage.write_bytes(storage.join(self.incomplete, _MARK), mark, durable=True)

    def recover(self) -> bool:
        """Ends what an interrupted run has begun: puts a complete output in place, or the old one back.

        Returns:
            Whether there was such a run.

        Raises:
            UserError: if there are files, in the final place or beside it, that are not ours.
        """
        storage.remove_temporary_files(self.incomplete)
        if not (files := storage.list_folder(self.incomplete)):
            return False
        if not self._is_marked():
            raise UserError(
                f"--output: {self.incomplete} is where an output is put together, but holds {files[0]} and no mark of "
                "this tool; move it away, or choose another --output"
            )
        if is_complete(self.new):
            self.publish()
        elif is_complete(self.replaced) and not storage.exists(self.path):
            os.rename(self.replaced, self.path)
        self.discard()
        return True

    def complete(self, manifest: bytes) -> None:
        """Declares what was put together complete: from here on it is published, by this run or by the next."""
        storage.sync_folder(self.new)
        storage.write_bytes(storage.join(self.new, MANIFEST), manifest, durable=True)

    def publish(self) -> None:
        """Moves the complete output to its final place, replacing an old one.

        On a local disk these are two renames, of the old output and of the new one. Object stores have none: each file
        is copied, the manifest last, after the old manifest has gone first. Two that do it at the same time copy the
        same bytes; none takes away what the other has completed.

        Raises:
            UserError: for a file in the final place that is not ours, and if it cannot be written.
        """
        with object_stores.user_errors("write", self.path):
            if storage.is_local(self.path):
                self._rename()
            else:
                self._copy()

    def _rename(self) -> None:
        folder = os.path.dirname(self.path)
        os.makedirs(folder, exist_ok=True)
        if os.path.isdir(self.path):
            own_files(self.path)
            self._discard_replaced()
            os.rename(self.path, self.replaced)
        os.rename(self.new, self.path)
        for changed in (folder, self.incomplete):
            storage.sync(changed)

    def _copy(self) -> None:
        source, target, saved = (storage.join(folder, MANIFEST) for folder in (self.new, self.path, self.replaced))
        copies = {path: storage.join(self.path, path[len(self.new) + 1 :]) for path in storage.list_folder(self.new)}
        if storage.exists(target):
            content = storage.read_bytes(target)
            if content == storage.read_bytes(source):
                return
            own_files(self.path)
            storage.write_bytes(saved, content)
            object_stores.filesystem(target).delete([target])
        old = own_files(self.path, self.replaced, self.new)
        for path, copy in copies.items():
            if path != source:
                object_stores.copy(path, copy)
        storage.remove_files(self.path, sorted({*old} - {*copies.values()}))
        object_stores.copy(source, target)

    def discard(self) -> None:
        """Deletes what is beside the final place; at no point is what is left taken for complete or for others'."""
        _discard_result(self.new)
        self._discard_replaced()
        storage.remove_folder(self.picked)
        storage.remove_folder(self.tasks)
        storage.remove_folder(self.incomplete)

    def _discard_replaced(self) -> None:
        if read_result(self.replaced):
            own_files(self.replaced)
        _discard_result(self.replaced)

    def discard_unfinished(self) -> None:
        """Deletes what a run that failed has put together so far."""
        if self._is_marked() and not is_complete(self.new) and not is_complete(self.replaced):
            self.discard()

    def _is_marked(self) -> bool:
        mark = read_json(storage.join(self.incomplete, _MARK))
        return isinstance(mark, dict) and mark.get("kind") == KIND


def _discard_result(folder: str) -> None:
    """Deletes an output, first the manifest, without which the rest does not count."""
    manifest = storage.join(folder, MANIFEST)
    if storage.exists(manifest):
        storage.remove_files(folder, [manifest])
    storage.remove_folder(folder)


def read_result(folder: str) -> Result | None:
    """The manifest of an output; None for a folder of something else."""
    try:
        return msgspec.convert(read_json(storage.join(folder, MANIFEST)), Result)
    except msgspec.ValidationError:
        return None


def is_complete(folder: str) -> bool:
    """Whether a folder holds all files of an output."""
    result = read_result(folder)
    return result is not None and result.names <= _names(folder)


def own_files(folder: str, *more: str) -> list[str]:
    """Paths of all files in a folder of an output, to be replaced.

    Args:
        folder: to list.
        more: folders of outputs whose files may be there as well.

    Raises:
        UserError: for a file that the output's manifest does not name.
    """
    ours = {name for result in map(read_result, (folder, *more)) if result for name in result.names}
    names = sorted(_names(folder))
    for name in names:
        if name not in ours:
            raise UserError(
                f"--output: {folder} holds other files than an output of this tool, such as {name}; --overwrite keeps "
                "off them: move them away, or choose another --output"
            )
    return [storage.join(folder, name) for name in names]


def _names(folder: str) -> set[str]:
    return {path[len(folder) + 1 :] for path in storage.list_folder(folder)}
