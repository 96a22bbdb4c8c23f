"""The ids that lines have in a JSON field of their own."""

import json
from typing import Any

import msgspec

from hir_transforms.common.errors import UserError

# Numbers stay as they are written.
_parse_json = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).decode


class IdParser:
    """Takes the id out of JSON lines that hold a document: a string, or a number as it is written."""

    def __init__(self, id_field: str) -> None:
        self._field = id_field
        fields = [("id", msgspec.Raw, msgspec.Raw(b"null"))]
        try:
            line_type: Any = msgspec.defstruct("Line", fields, rename={"id": id_field}, gc=False)
        except ValueError:
            raise UserError(f"--id_field: {id_field!r} holds a quote, a backslash or a control character") from None
        self._decode = msgspec.json.Decoder(line_type).decode

    def parse(self, line: bytes) -> str | None:
        """The id of a line; None where it has none, or one that is neither a number nor a string of Unicode."""
        try:
            value = _parse_json(bytes(self._decode(line).id).decode())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # what only `json` takes
            value = _parse_json(line.decode("utf-8-sig")).get(self._field)
        if not isinstance(value, str):
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
        return value
