"""JSON lines to texts: a compiled parser for good lines, Python's own for the verdict on the others."""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from hir_transforms.documents.ids import IdParser
from hir_transforms.documents.records import DocumentBatch, Reject, SourceFile
from hir_transforms.documents.text_fields import SEPARATOR, field_names, look_up, record_type

EXCERPT_CHARACTERS = 200
# Parsers call themselves for each level; the interpreter lets a thread have 1,000 calls open, of which few are taken.
MAX_NESTING = 900
_NEWLINE, _OPEN, _CLOSE = b"\n{}"
_QUOTE = ord('"')
_BRACES = bytes.maketrans(b"[]", b"{}")
_NOT_OF_THE_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
# What a line that may be good for all that, or lacks a nested field, makes of the compiled parser.
_NOT_USUAL = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, TypeError)


def beginning_of(line: bytes) -> str:
    """The first `EXCERPT_CHARACTERS` of a line, with what is not UTF-8 replaced."""
    return line[: 4 * EXCERPT_CHARACTERS].decode(errors="replace")[:EXCERPT_CHARACTERS]


class BadLineError(ValueError):
    """A line that holds no usable text; the message is the reason."""


class LineParser(Protocol):
    """What takes the text out of lines."""

    def parse_all(self, lines: bytes, num_lines: int) -> list[str] | None:
        """See `TextParser`; None as well where each line is to be parsed by itself."""

    def parse(self, line: bytes) -> str:
        """See `TextParser`."""


class TextParser:
    """Takes the text fields out of JSON lines; accepts exactly the lines that Python's `json` accepts.

    `msgspec` decodes only the fields asked for, several times faster than a full parse. It is stricter than `json` in
    a few places (NaN, lone surrogates in other fields), so a line that it refuses is judged by `json`.

    Two things do not depend on the interpreter: lines may be nested `MAX_NESTING` deep, and integers have any number
    of digits.
    """

    def __init__(self, text_field: str) -> None:
        self._names = field_names(text_field)
        line_type, self._text_of = record_type(self._names)
        decoder = msgspec.json.Decoder(line_type)
        self._decode: Callable[[bytes], Any] = decoder.decode
        self._decode_lines: Callable[[bytes], list[Any]] = decoder.decode_lines

    def parse_all(self, lines: bytes, num_lines: int) -> list[str] | None:
        """Texts of valid UTF-8 of that many lines, each from its `{` to its `}`; None where one of them may be bad.

        No JSON value goes on from a line that ends in `}` to one that begins with `{`, so as many values as lines
        are one per line. Lines that are nested too deep may be among them.
        """
        try:
            texts = [*map(self._text_of, self._decode_lines(lines))]
        except _NOT_USUAL:
            return None
        return texts if len(texts) == num_lines else None

    def parse(self, line: bytes) -> str:
        """Text of one line of valid UTF-8; raises `BadLineError` with the reason."""
        if is_nested_too_deep(line):
            raise BadLineError(f"nested deeper than {MAX_NESTING} levels")
        try:
            return self._text_of(self._decode(line))
        except _NOT_USUAL:
            pass
        # Unlike int, float takes any number of digits.
        return text_of_fields(parse_object(line, parse_int=float), self._names)


def parse_object(line: bytes, **options: Any) -> dict[str, Any]:
    """The JSON object in a line that is not nested too deep, by Python's `json` with these options.

    Raises:
        BadLineError: where there is none.
    """
    try:
        return _parse_object(line, options)
    except RecursionError:
        # How much of its stack the interpreter has used must not decide: a thread has one of its own.
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(_parse_object, line, options).result()


def _parse_object(line: bytes, options: dict[str, Any]) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"), **options)
    except UnicodeDecodeError:
        raise BadLineError("invalid UTF-8") from None
    except ValueError:
        raise BadLineError("not JSON") from None
    if not isinstance(record, dict):
        raise BadLineError("not a JSON object")
    return record


def text_of_fields(record: dict[str, Any], names: Iterable[str]) -> str:
    """The text of the fields of these names in a record; raises `BadLineError` where one has none."""
    return SEPARATOR.join([_field_of(record, name) for name in names])


def _field_of(record: dict[str, Any], name: str) -> str:
    try:
        text = look_up(record, name)
    except KeyError:
        raise BadLineError(f"no field {name!r}") from None
    if not isinstance(text, str):
        raise BadLineError(f"field {name!r} is not a string")
    require_unicode(text, f"field {name!r}")
    return text


def require_unicode(text: str, name: str) -> None:
    """Raises `BadLineError` that names a text with a lone surrogate, which UTF-8 has none of."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadLineError(f"{name} has a lone surrogate") from None


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_nested_too_deep(line: bytes) -> bool:
    """Whether the arrays and objects of a line, JSON or not, are nested deeper than `MAX_NESTING`."""
    if _count_openings(np.frombuffer(line, np.uint8)) <= MAX_NESTING:
        return False
    if b"\\" in line:
        line = line.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = np.frombuffer(line.translate(_BRACES, _NOT_OF_THE_STRUCTURE), np.uint8)
    in_string = (structure == _QUOTE).cumsum(dtype=np.uint8) & 1
    steps = (structure == _OPEN).astype(np.int8) - (structure == _CLOSE)
    return bool((steps * (1 - in_string)).cumsum(dtype=np.int64).max() > MAX_NESTING)


def _count_openings(data: np.ndarray) -> int:
    """Number of brackets and braces that open among bytes, in strings or not."""
    return int(np.count_nonzero((data | (_OPEN ^ ord("["))) == _OPEN))


class BlockLines(NamedTuple):
    """The lines that start in a block of a file, and the place of the first in the uncompressed file."""

    file: SourceFile
    number: int
    base: int
    data: bytes


def parse_blocks(
    parser: LineParser, blocks: Sequence[BlockLines], *, max_document_bytes: int, id_parser: IdParser | None = None
) -> tuple[list[DocumentBatch], list[Reject]]:
    """The documents of each block, and the rejected lines of all.

    Many small blocks take as long as a large one. Blank lines are skipped. A line of more than `max_document_bytes`
    is rejected unread. With an `id_parser` the documents get their ids.
    """
    data = b"\n".join([block.data for block in blocks])
    starts, lengths = _find_lines(data)
    begins = np.cumsum([0, *(len(block.data) + 1 for block in blocks)])
    owners = np.searchsorted(begins, starts, side="right") - 1
    offsets = starts + (np.array([block.base for block in blocks]) - begins[:-1])[owners]
    rejects: list[Reject] = []
    all_valid = is_utf8(data)
    texts = _parse_at_once(parser, data, starts, lengths, max_document_bytes) if all_valid else None
    if texts is None:
        kept, texts, reasons = _parse_one_by_one(parser, data, starts, lengths, max_document_bytes, all_valid)
        for place, reason in reasons:
            line = data[starts[place] : starts[place] + min(lengths[place], 4 * EXCERPT_CHARACTERS)]
            rejects.append(Reject(blocks[owners[place]].file.path, int(offsets[place]), reason, beginning_of(line)))
        owners, offsets, starts, lengths = owners[kept], offsets[kept], starts[kept], lengths[kept]
    edges = np.searchsorted(owners, np.arange(len(blocks) + 1)).tolist()
    batches = [
        DocumentBatch(block.file, block.number, offsets[begin:end], lengths[begin:end], texts[begin:end])
        for block, (begin, end) in zip(blocks, itertools.pairwise(edges), strict=True)
    ]
    if id_parser:
        lines = zip(starts.tolist(), (starts + lengths).tolist(), strict=True)
        ids = [id_parser.parse(data[begin:end]) for begin, end in lines]
        for batch, (begin, end) in zip(batches, itertools.pairwise(edges), strict=True):
            batch.ids = ids[begin:end]
    return batches, rejects


def _find_lines(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Start and length of each line that is not empty, int64 [N] each."""
    ends = np.append(np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE), len(data))
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts
    return starts[lengths > 0], lengths[lengths > 0]


def _parse_at_once(
    parser: LineParser, data: bytes, starts: np.ndarray, lengths: np.ndarray, max_document_bytes: int
) -> list[str] | None:
    """The texts of valid UTF-8 in lines as nearly all corpora have them; None where there is any other among them."""
    view = np.frombuffer(data, np.uint8)
    usual = (view[starts] == _OPEN) & (view[starts + lengths - 1] == _CLOSE) & (lengths <= max_document_bytes)
    texts = parser.parse_all(data, len(starts)) if usual.all() else None
    if texts is None or _any_nested_too_deep(data, starts, lengths, texts):
        return None
    return texts


def _any_nested_too_deep(data: bytes, starts: np.ndarray, lengths: np.ndarray, texts: list[str]) -> bool:
    """Whether any of the good lines with these texts is; what can tell sooner that a line is not comes first."""
    least = 2 * MAX_NESTING  # each level takes two bytes, and none of the text
    if lengths.max(initial=0) <= least:
        return False
    view = np.frombuffer(data, np.uint8)
    besides = lengths - np.fromiter(map(len, texts), np.int64, len(texts))
    for place in np.flatnonzero(besides > least).tolist():
        span = slice(starts[place], starts[place] + lengths[place])
        openings = _count_openings(view[span])
        if openings > MAX_NESTING:
            line = data[span]
            in_text = _count_openings(np.frombuffer(texts[place].encode(), np.uint8))
            if openings - in_text + line.count(b"\\u00") > MAX_NESTING and is_nested_too_deep(line):
                return True
    return False


def _parse_one_by_one(
    parser: LineParser, data: bytes, starts: np.ndarray, lengths: np.ndarray, max_document_bytes: int, all_valid: bool
) -> tuple[list[int], list[str], list[tuple[int, str]]]:
    """Which lines are documents, their texts, and why which others are not; `all_valid` if all is valid UTF-8."""
    kept: list[int] = []
    texts: list[str] = []
    reasons: list[tuple[int, str]] = []
    for place, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        line = data[start : start + length]
        if line.isspace():
            continue
        try:
            if length > max_document_bytes:
                raise BadLineError(f"longer than {max_document_bytes} bytes")
            if not all_valid and not is_utf8(line):
                raise BadLineError("invalid UTF-8")
            texts.append(parser.parse(line))
            kept.append(place)
        except BadLineError as error:
            reasons.append((place, str(error)))
    return kept, texts, reasons
