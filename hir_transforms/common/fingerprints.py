"""Fingerprints: digests of everything that a result depends on, made of the very objects that it is computed with."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

# Metadata of a dataclass field that no result depends on. All other fields count, also those that are added later.
NO_EFFECT: Mapping[str, Any] = {"no_effect": True}
# Metadata of a field that counts where it is not None: results from before there was such a field stay valid.
IF_GIVEN: Mapping[str, Any] = {"if_given": True}


@runtime_checkable
class Dependent(Protocol):
    """Settings that results depend on by more than their fields, such as the version of what a field names."""

    def dependencies(self) -> Mapping[str, Any]:
        """All that results depend on."""


def describe(value: Any) -> Any:
    """What results depend on of a settings object, as JSON values.

    These are its `dependencies` where it tells them itself, else its fields but for those marked
    `NO_EFFECT`, and for those marked `IF_GIVEN` that are None.
    """
    if isinstance(value, Dependent):
        return describe(value.dependencies())
    if dataclasses.is_dataclass(value):
        counting = [field for field in dataclasses.fields(value) if not field.metadata.keys() & NO_EFFECT.keys()]
        described = {field.name: describe(getattr(value, field.name)) for field in counting}
        optional = {field.name for field in counting if field.metadata.keys() & IF_GIVEN.keys()}
        return {name: one for name, one in described.items() if one is not None or name not in optional}
    if isinstance(value, Mapping):
        return {name: describe(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


def to_json(content: Any) -> bytes:
    """Readable JSON, the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2) + b"\n"


def digest(description: Any) -> str:
    """SHA-256 of JSON values, in hexadecimal digits."""
    return hashlib.sha256(to_json(description)).hexdigest()
