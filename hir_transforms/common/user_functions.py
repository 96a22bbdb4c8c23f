"""Functions of users, named or given by a program: sent to workers whole, and known by a digest of their code."""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from hir_transforms.common.code_digests import code_digest, is_installed
from hir_transforms.common.errors import UserError, one_line
from hir_transforms.common.fingerprints import NO_EFFECT

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_NAME = re.compile(f"({_DOTTED}):({_DOTTED})")


@dataclass(frozen=True)
class UserFunction:
    """A function of the user, that holds all that a worker needs of the module or notebook that it is of.

    Attributes:
        name: `module:function`; of one that a program gives and no module has, its name and the begin of the digest.
        digest: see `code_digest`.
        pickled: by `cloudpickle`.
    """

    name: str
    digest: str
    pickled: bytes = field(repr=False, metadata=NO_EFFECT)

    def load(self) -> Callable[[Any], Any]:
        """The function itself; raises `UserError` where something that it imports is missing."""
        try:
            return cloudpickle.loads(self.pickled)
        except Exception as error:
            raise UserError(f"{self.name} cannot be loaded by a worker: {describe_error(error)}") from error

    def __str__(self) -> str:
        return self.name


# What programs have given, by the names that stand for it in flags.
_given: dict[str, UserFunction] = {}


def user_function(value: str | Callable[[Any], Any] | UserFunction) -> UserFunction:
    """A function by its name, `module:function`, or one of the program itself; imports the module.

    Raises:
        ValueError: that says what it must be.
    """
    if isinstance(value, UserFunction):
        return value
    if isinstance(value, str) and value in _given:
        return _given[value]
    function = _import(value) if isinstance(value, str) else value
    if not callable(function):
        raise ValueError(f"a function (it is of type {type(function).__name__})")
    try:
        with _by_value(function):
            pickled, digest = cloudpickle.dumps(function), code_digest(function)
    except Exception as error:
        raise ValueError(f"a function that can be sent to workers ({describe_error(error)})") from error
    if isinstance(value, str):
        return UserFunction(value, digest, pickled)
    name = _name_of(function, digest)
    _given[name] = UserFunction(name, digest, pickled)
    return _given[name]


def describe_error(error: BaseException) -> str:
    """What was raised, in one line."""
    message = one_line(error)
    return message if message == type(error).__name__ else f"{type(error).__name__}: {message}"


def _import(name: str) -> Any:
    if not (found := _NAME.fullmatch(name)):
        raise ValueError("the name of a function, module:function")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `python -m` has it, and local workers get it from here
    try:
        function: Any = importlib.import_module(found[1])
        for part in found[2].split("."):
            function = getattr(function, part)
    except Exception as error:
        raise ValueError(f"a function that can be imported ({describe_error(error)})") from error
    return function


def _name_of(function: Callable[..., Any], digest: str) -> str:
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function and module != "__main__" else f"{name} {digest[:12]}"


@contextlib.contextmanager
def _by_value(function: Callable[..., Any]) -> Iterator[None]:
    """Has `cloudpickle` take along what the function uses of its own package, unless that is installed."""
    module = getattr(function, "__module__", None) or "__main__"
    package = sys.modules.get(module.partition(".")[0])
    if package is None or is_installed(module) or package.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(package)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(package)
