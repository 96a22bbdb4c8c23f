"""JSON lines to texts: a compiled parser for good lines, Python's own for the verdict on the others."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from hir_transforms.errors import UserError
from hir_transforms.records import DocumentBatch, Reject, SourceFile

EXCERPT_CHARACTERS = 200


class BadLineError(ValueError):
    """A line that holds no usable text; the message is the reason."""


class TextParser:
    """Takes the text field out of JSON lines; accepts exactly the lines that Python's `json` accepts.

    `msgspec` decodes only the field asked for, several times faster than a full parse. It is stricter than `json` in
    a few places (NaN, lone surrogates in other fields), so a line that it refuses is judged by `json`.
    """

    def __init__(self, text_field: str) -> None:
        self._field = text_field
        try:
            line_type = msgspec.defstruct("Line", [("text", str)], rename={"text": text_field})
        except ValueError:
            raise UserError(
                f"--text_field: {text_field!r} holds a quote, a backslash or a control character"
            ) from None
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(line_type).decode

    def parse(self, line: bytes) -> str:
        """Text of one line of valid UTF-8; raises `BadLineError` with the reason."""
        try:
            text: str = self._decode(line).text
            return text
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._parse_slowly(line)

    def _parse_slowly(self, line: bytes) -> str:
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise BadLineError("invalid UTF-8") from None
        except (ValueError, RecursionError):
            raise BadLineError("not JSON") from None
        if not isinstance(record, dict):
            raise BadLineError("not a JSON object")
        if self._field not in record:
            raise BadLineError(f"no field {self._field!r}")
        text = record[self._field]
        if not isinstance(text, str):
            raise BadLineError(f"field {self._field!r} is not a string")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BadLineError(f"field {self._field!r} has a lone surrogate") from None
        return text


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def parse_block(
    parser: TextParser, file: SourceFile, block: int, data: bytes, base: int, *, max_document_bytes: int
) -> tuple[DocumentBatch, list[Reject]]:
    """Documents and rejects of the complete lines in `data`, which starts at byte `base` of the uncompressed file.

    Blank lines are skipped. A line of more than `max_document_bytes` is rejected unread.
    """
    all_valid = is_utf8(data)
    kept: list[tuple[int, int]] = []
    texts: list[str] = []
    rejects: list[Reject] = []
    end = base - 1
    for line in data.split(b"\n"):
        start = end + 1
        end = start + len(line)
        if not line or line.isspace():
            continue
        try:
            if len(line) > max_document_bytes:
                raise BadLineError(f"longer than {max_document_bytes} bytes")
            if not all_valid and not is_utf8(line):
                raise BadLineError("invalid UTF-8")
            texts.append(parser.parse(line))
            kept.append((start, len(line)))
        except BadLineError as error:
            excerpt = line[: 4 * EXCERPT_CHARACTERS].decode(errors="replace")[:EXCERPT_CHARACTERS]
            rejects.append(Reject(file.path, start, str(error), excerpt))
    places = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return DocumentBatch(file, block, places[:, 0], places[:, 1], texts), rejects
