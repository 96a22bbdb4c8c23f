"""Examples: the records that functions of users load, and the texts that they take out of records."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from hir_transforms.common.errors import UserError
from hir_transforms.common.user_functions import UserFunction, describe_error
from hir_transforms.documents.datasets import Dataset
from hir_transforms.documents.jsonl import (
    MAX_NESTING,
    BadLineError,
    LineParser,
    TextParser,
    is_nested_too_deep,
    parse_object,
    require_unicode,
    text_of_fields,
)
from hir_transforms.documents.text_fields import field_names

_MOST_CHARACTERS = 200
_END = object()
_Example = dict[str, Any]


class ExampleParser:
    """Takes the text out of records: by the function of a dataset, or else its fields."""

    def __init__(self, dataset: Dataset) -> None:
        self._names = field_names(dataset.text_field)
        self._name = str(dataset.parse_example_fn)
        self._function = dataset.parse_example_fn.load() if dataset.parse_example_fn else None

    def parse(self, example: _Example) -> str:
        """The text; raises `BadLineError` with the reason where there is none."""
        if self._function is None:
            return text_of_fields(example, self._names)
        try:
            text = self._function(example)
        except Exception as error:
            raise BadLineError(f"{self._name} raised {describe_error(error)}"[:_MOST_CHARACTERS]) from None
        if not isinstance(text, str):
            raise BadLineError(f"{self._name} gave no text but {type(text).__name__}")
        require_unicode(text, f"the text that {self._name} gave")
        return text


class ExampleLineParser:
    """Parses lines one by one, by the function of a dataset; see `TextParser`."""

    def __init__(self, dataset: Dataset) -> None:
        self._examples = ExampleParser(dataset)

    def parse_all(self, lines: bytes, num_lines: int) -> list[str] | None:
        """See `LineParser`."""
        return None

    def parse(self, line: bytes) -> str:
        """See `TextParser`."""
        if is_nested_too_deep(line):
            raise BadLineError(f"nested deeper than {MAX_NESTING} levels")
        return self._examples.parse(parse_object(line))


def line_parser(dataset: Dataset) -> LineParser:
    """What parses the lines of a dataset."""
    return ExampleLineParser(dataset) if dataset.parse_example_fn else TextParser(dataset.text_field)


class ExampleLoader:
    """Gives the records of files, by a user's function.

    Args:
        function: path -> its records.
        role: of the dataset, for messages.
    """

    def __init__(self, function: UserFunction, role: str) -> None:
        self._name = f"--{role}: {function}"
        self._load: Callable[[str], Any] = function.load()

    def load(self, path: str) -> Iterator[_Example]:
        """The records of a file; raises `UserError` where the function does not give any, or anything else."""
        try:
            examples = iter(self._load(path))
        except Exception as error:
            raise UserError(f"{self._name} raised {describe_error(error)}, for {path}") from error
        number = 0
        while True:
            try:
                example = next(examples, _END)
            except Exception as error:
                raise UserError(
                    f"{self._name} raised {describe_error(error)}, at record {number} of {path}"
                ) from error
            if example is _END:
                return
            if not isinstance(example, dict):
                kind = type(example).__name__
                raise UserError(f"{self._name} gave no dict but {kind} as record {number} of {path}")
            yield example
            number += 1


class LoadedLines:
    """The records of a file as JSON lines, by their numbers; quickest where each call goes on from the last."""

    def __init__(self, loader: ExampleLoader, path: str) -> None:
        self._loader = loader
        self._path = path
        self._restart()

    def _restart(self) -> None:
        self._examples = self._loader.load(self._path)
        self._next = 0

    def example(self, number: int) -> _Example:
        """A record; raises `UserError` where the function gives fewer."""
        if number < self._next:
            self._restart()
        for example in self._examples:
            self._next += 1
            if self._next > number:
                return example
        raise UserError(f"{self._path} gives {self._next} records, fewer than when it was scored; score it again")

    def line(self, number: int, length: int) -> bytes:
        """A record as a line without its newline; raises `UserError` where it has not so many bytes."""
        try:
            line = to_line(self.example(number))
        except BadLineError:
            line = b""
        if len(line) != length:
            raise UserError(f"{self._path} gives another record {number} than when it was scored; score it again")
        return line


def to_line(example: _Example) -> bytes:
    """A record as a JSON object in one line; raises `BadLineError` for values that JSON has none of.

    Dates, times and UUIDs become texts, decimals numbers of all their digits, bytes Base64, sets and tuples lists,
    arrays and numbers of numpy lists and numbers, and numbers that JSON has none of (NaN, infinities) null.
    """
    try:
        return _encode(example)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadLineError(f"no JSON can be made of the record: {describe_error(error)}"[:_MOST_CHARACTERS]) from None


def _to_plain(value: Any) -> Any:
    if not hasattr(value, "tolist"):
        raise TypeError(f"it holds a value of type {type(value).__name__}")
    return value.tolist()


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_to_plain).encode
