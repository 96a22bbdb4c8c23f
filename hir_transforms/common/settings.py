"""Settings, each declared once as a field of a frozen dataclass beside its concept, with all that is told of it.

From the declarations come the flags, their help and documentation, the templates' parameters, the checks, and, as the
fields' values are part of the settings that stages are computed with, the fingerprints.
"""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, replace
from typing import Any

from hir_transforms.common.errors import UserError

INT32_MAX, UINT32_MAX, INT64_MAX = 2**31 - 1, 2**32 - 1, 2**63 - 1
# The commands that read a setting. `resample` reads what decides the scores only where it is told of them by --raw.
FROM_RAW = "resample --raw"
SELECTING = ("select", "resample")
SCORING = ("select", "score", FROM_RAW)
FITTING = ("select", "fit", "score", FROM_RAW)
TRYING = (*FITTING, "tune")
READING = ("select", "fit", "embed", "score", FROM_RAW)
READING_TEXT = (*READING, "tune", "evaluate")
COUNTING = ("select", "fit", "score", "tune", "evaluate", FROM_RAW)
# All that need a work folder, and all.
KEEPING = ("select", "fit", "embed", "score", "tune", "resample")
ALL_COMMANDS = (*KEEPING, "evaluate")
# What leaves a value to be chosen by trial.
AUTO = "auto"
_DECLARATION = "setting"


@dataclass(frozen=True)
class Kind:
    """What values a setting takes.

    Attributes:
        convert: from the text of a flag, or a value of Python, to the setting's value; a `ValueError` says what it
            must be.
        metavar: stands for the value in the help; "" for a switch.
        pattern: regular expression of the texts that a template takes.
        choices: all texts, where they are few.
        is_patterns: whether the value is patterns that name files.
        is_repeatable: whether a flag that is given several times has the values of all, with commas between them.
    """

    convert: Callable[[Any], Any]
    metavar: str
    pattern: str
    choices: tuple[str, ...] = ()
    is_patterns: bool = False
    is_repeatable: bool = False


@dataclass(frozen=True)
class Declaration:
    """What is told of a setting beside its name and default; see `setting`."""

    help: str
    kind: Kind
    task: str
    commands: tuple[str, ...]
    check: Callable[[Any], str]
    metavar: str
    shown_default: str | None
    can_be_auto: bool
    no_default_in: tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """A declared setting.

    Attributes:
        name: of the flag and the field.
        default: its value where it is not given.
        declaration: the rest.
    """

    name: str
    default: Any
    declaration: Declaration

    @property
    def is_switch(self) -> bool:
        """Whether the flag takes no value."""
        return self.declaration.kind is SWITCH

    @property
    def shown_default(self) -> str:
        """The default as the help shows it; "" for none."""
        if self.declaration.shown_default is not None:
            return self.declaration.shown_default
        return "" if self.default is None or self.default is False or self.default in ((), "") else f"{self.default}"

    def has_default_in(self, command: str) -> bool:
        """Whether a command takes the default where the setting is not given."""
        return command not in self.declaration.no_default_in

    def is_auto(self, value: Any) -> bool:
        """Whether a value leaves the choice to trials."""
        return self.declaration.can_be_auto and value == AUTO

    def converted(self, value: Any) -> Any:
        """The setting's value from a text or a value of Python; raises `UserError` that names the setting."""
        if value is None and self.default is None:
            return None
        try:
            found = self.declaration.kind.convert(value)
            expected = self.declaration.check(found) if found is not None else ""
        except UserError:
            raise
        except (TypeError, ValueError) as error:
            expected = f"{error}"
        if expected:
            if self.declaration.can_be_auto and self.declaration.kind.choices:
                expected = f"{expected}, {AUTO}"
            raise UserError(f"--{self.name}: must be {expected}, not {value}")
        return found


def setting(
    default: Any,
    help: str,
    *,
    task: str,
    commands: tuple[str, ...],
    kind: Kind | None = None,
    check: Callable[[Any], str] = lambda _: "",
    metavar: str = "",
    shown_default: str | None = None,
    can_be_auto: bool = False,
    no_default_in: tuple[str, ...] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """A dataclass field that declares a setting.

    Args:
        default: where it is not given; None, (), "" or False for none.
        help: what it does, in a few words.
        task: the heading that it stands under.
        commands: which read it.
        kind: what values it takes, by default those of the default's type.
        check: the value -> what it must be if it is bad, else "".
        metavar: instead of the kind's.
        shown_default: instead of the default itself.
        can_be_auto: whether the value may be left to be chosen by trial, before anything else is planned.
        no_default_in: those of the commands that do without it unless it is given.
        metadata: more of the field's, such as `NO_EFFECT`.
    """
    kind = kind or _BY_TYPE[type(default)]
    metavar = metavar or kind.metavar
    if can_be_auto:
        metavar = f"{metavar}|{AUTO}"
        choices = (*kind.choices, AUTO) if kind.choices else ()
        kind = replace(kind, pattern=f"{kind.pattern}|{AUTO}", choices=choices)
    declaration = Declaration(help, kind, task, commands, check, metavar, shown_default, can_be_auto, no_default_in)
    return field(default=default, metadata={_DECLARATION: declaration, **(metadata or {})})


class Settings:
    """Base of the frozen dataclasses whose fields are settings: values are converted and checked."""

    def __post_init__(self) -> None:
        for one in declared(type(self)):
            object.__setattr__(self, one.name, one.converted(getattr(self, one.name)))


def declared(settings_class: type) -> list[Setting]:
    """The settings that a dataclass declares."""
    return [
        Setting(one.name, one.default, one.metadata[_DECLARATION])
        for one in dataclasses.fields(settings_class)
        if _DECLARATION in one.metadata and one.default is not MISSING
    ]


def in_range(lowest: int, highest: int = INT64_MAX, hint: str = "") -> Callable[[Any], str]:
    """A check of a number; `hint` says more of the range."""
    hint = f" ({hint})" if hint else ""

    def check(value: Any) -> str:
        if not value >= lowest:
            return f"at least {lowest}{hint}"
        return "" if value <= highest else f"at most {highest}{hint}"

    return check


def between(lowest: int, highest: int) -> Callable[[Any], str]:
    """A check of a number with a lowest and a highest value, of which neither is NaN's."""
    return lambda value: "" if lowest <= value <= highest else f"between {lowest} and {highest}"


def not_negative(value: float) -> str:
    """A check of a finite number."""
    return "" if 0.0 <= value < float("inf") else "a number of at least 0"


def choice(*names: str) -> Kind:
    """One of a few names."""

    def convert(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return str(value)

    return Kind(convert, "|".join(names), "|".join(names), choices=names)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _whole_number(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("a whole number")
    try:
        return int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        raise ValueError("a whole number") from None


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a number") from None


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _word_or_number(*words: str, highest: int = INT64_MAX) -> Kind:
    """One of a few words, or a number from 1; Python itself reads no number of any length."""

    def convert(value: Any) -> str:
        text = f"{value}"
        is_number = text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= highest
        if text not in words and not is_number:
            raise ValueError(f"{', '.join(words)} or a positive number up to {highest}")
        return text

    return Kind(convert, "|".join([*words, "N"]), "|".join([*words, "[1-9][0-9]*"]))


TEXT = Kind(_text, "TEXT", ".+")
WHOLE_NUMBER = Kind(_whole_number, "N", "[0-9]+")
SIGNED_NUMBER = Kind(_whole_number, "N", "-?[0-9]+")
NUMBER = Kind(_number, "X", r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?")
SWITCH = Kind(_switch, "", "true|false", choices=("true", "false"))
ALL_OR_SOME = _word_or_number("all", "auto")
AUTO_OR_NUMBER = _word_or_number("auto", highest=INT32_MAX)
_BY_TYPE = {str: TEXT, int: WHOLE_NUMBER, float: NUMBER, bool: SWITCH}
