"""Folders that `save_to_disk` of Hugging Face's `datasets` writes: which files they hold, and in which order."""

from typing import Any

import msgspec

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage

_STATE, _SPLITS = "state.json", "dataset_dict.json"


class _DataFile(msgspec.Struct):
    filename: str


class _State(msgspec.Struct):
    data_files: list[_DataFile] = msgspec.field(name="_data_files")


class _Splits(msgspec.Struct):
    splits: list[str]


def saved_files(folder: str) -> list[str] | None:
    """The Arrow files of a saved dataset, or of the only split of several, in order; None for another folder.

    Raises:
        UserError: for a folder of several splits, and one whose description is damaged.
    """
    folder = folder.rstrip("/")
    if (splits := _read(folder, _SPLITS, _Splits)) is not None:
        names = [_plain(folder, name) for name in splits.splits]
        if len(names) != 1:
            raise UserError(f"{folder} holds the splits {', '.join(names)}; name the folder of one of them")
        return saved_files(storage.join(folder, names[0]))
    state = _read(folder, _STATE, _State)
    return None if state is None else [storage.join(folder, _plain(folder, f.filename)) for f in state.data_files]


def _read(folder: str, name: str, type_: Any) -> Any:
    path = storage.join(folder, name)
    if not storage.exists(path):
        return None
    try:
        return msgspec.json.decode(storage.read_bytes(path), type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UserError(f"{path} is not what save_to_disk of datasets writes") from None


def _plain(folder: str, name: str) -> str:
    """A name in a folder; raises `UserError` for a path that may lead elsewhere."""
    if not name or "/" in name or name in (".", ".."):
        raise UserError(f"{folder} names {name!r}, which is not in it")
    return name
