"""The attributes of an object in a file: arrays and JSON, for loading a pickle may run anybody's code."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hir_transforms.common.errors import UserError
from hir_transforms.files import storage

_KIND = "hir compat parameters"
_DESCRIPTION, _PREFIX = "description", "array "


def save(path: str | os.PathLike[str], attributes: Mapping[str, Any], version: str) -> None:
    """Writes attributes, but for functions; raises `UserError` for a value that is neither array, path nor JSON."""
    arrays = {name: value for name, value in attributes.items() if isinstance(value, np.ndarray)}
    others = {name: value for name, value in attributes.items() if name not in arrays and not callable(value)}
    paths = [name for name, value in others.items() if isinstance(value, os.PathLike)]
    values = {name: os.fspath(value) if name in paths else value for name, value in others.items()}
    for name, value in values.items():
        try:
            json.dumps(value)
        except TypeError as error:
            raise UserError(f"save: the attribute {name} cannot be kept without pickle: {error}") from None
    description = json.dumps({"kind": _KIND, "version": version, "values": values, "paths": paths}, sort_keys=True)
    with storage.atomic_write(os.path.abspath(path)) as file:
        named: dict[str, Any] = {f"{_PREFIX}{name}": array for name, array in arrays.items()}
        np.savez(file, **{_DESCRIPTION: np.array(description), **named})


def load(path: str | os.PathLike[str], version: str) -> dict[str, Any]:
    """The attributes that `save` has written; raises `UserError` for a file of something else or another version."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            is_pickle = file.read(1) == b"\x80"
        reason = "a pickle, which may run any code when it is loaded" if is_pickle else "no file of saved parameters"
        raise UserError(f"{path} is {reason}; fit again, and save")
    with np.load(path, allow_pickle=False) as arrays:
        description = json.loads(str(arrays[_DESCRIPTION])) if _DESCRIPTION in arrays else {}
        if description.get("kind") != _KIND:
            raise UserError(f"{path} is no file of saved parameters; fit again, and save")
        if description["version"] != version:
            raise UserError(f"{path} is of version {description['version']}, not {version}; fit again, and save")
        values = description["values"] | {name: Path(description["values"][name]) for name in description["paths"]}
        return values | {name.removeprefix(_PREFIX): arrays[name] for name in arrays if name.startswith(_PREFIX)}
