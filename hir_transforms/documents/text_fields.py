"""Text fields: which fields of a record hold its text, nested ones among them, and how several make one text."""

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, Union

import msgspec

# Between the texts of several fields. White space, so that no n-gram of words depends on which it is.
SEPARATOR = "\n"
_Path = tuple[str, ...]


def field_names(text_field: str) -> tuple[str, ...]:
    """The names of the fields in a list with commas; raises `ValueError` that says what it must be."""
    if not isinstance(text_field, str):
        raise ValueError("a text")
    names = [text_field] if "," not in text_field else [name.strip() for name in text_field.split(",")]
    if len({*names}) < len(names) or (len(names) > 1 and "" in names):
        raise ValueError("different names of fields, with commas between them")
    try:
        record_type(names)
    except ValueError:
        raise ValueError("names of fields without a quote, a backslash or a control character") from None
    return tuple(names)


def checked_names(text_field: str) -> str:
    """The same list of names; raises `ValueError` that says what it must be."""
    field_names(text_field)
    return text_field


def look_up(record: Mapping[str, Any], name: str) -> Any:
    """The value of a field; raises `KeyError` where there is none.

    `a.b` is the field of just this name where the record has one, else the field `b` of the object `a`.
    """
    if name in record or "." not in name:
        return record[name]
    value: Any = record
    for part in name.split("."):
        if not isinstance(value, Mapping):
            raise KeyError(name)
        value = value[part]
    return value


def record_type(names: Iterable[str]) -> tuple[Any, Callable[[Any], str]]:
    """A type that `msgspec` decodes records to, and what takes the text out of one.

    The function raises `AttributeError` or `TypeError` where a field is missing; that of a single plain field cannot.

    Raises:
        ValueError: for a name that `msgspec` cannot ask for.
    """
    first, *others = names
    if not others and "." not in first:
        plain = msgspec.defstruct("Record", [("text", str)], rename={"text": first}, gc=False)
        return plain, attrgetter("text")
    paths = [path for name in (first, *others) for path in {(name,), tuple(name.split("."))}]
    nested, attributes = _nested_type(paths)
    getters = [
        (attrgetter(attributes[name,]), attrgetter(attributes[tuple(name.split("."))])) for name in (first, *others)
    ]

    def text(record: Any) -> str:
        # `join` takes nothing but strings.
        return SEPARATOR.join(
            [inner(record) if (value := own(record)) is msgspec.UNSET else value for own, inner in getters]
        )

    return nested, text


def _nested_type(paths: Iterable[_Path]) -> tuple[Any, dict[_Path, str]]:
    """A type with a field for each path of keys, and the dotted attribute that it is."""
    below: dict[str, list[_Path]] = {}
    for key, *rest in paths:
        below.setdefault(key, []).append(tuple(rest))
    fields: list[Any] = []
    attributes: dict[_Path, str] = {}
    for number, (key, rests) in enumerate(below.items()):
        types: list[Any] = [msgspec.UnsetType]
        if () in rests:
            types.append(str)
            attributes[key,] = f"f{number}"
        if deeper := [rest for rest in rests if rest]:
            inner, inner_attributes = _nested_type(deeper)
            types.append(inner)
            attributes |= {(key, *path): f"f{number}.{name}" for path, name in inner_attributes.items()}
        fields.append((f"f{number}", Union[tuple(types)], msgspec.UNSET))  # noqa: UP007
    rename = {f"f{number}": key for number, key in enumerate(below)}
    return msgspec.defstruct("Record", fields, rename=rename, gc=False), attributes
