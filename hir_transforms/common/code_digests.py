"""Digests of functions: of their code and of what it uses, wherever in a file or a notebook it stands."""

import dis
import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle

_STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
_PACKAGES = {"site-packages", "dist-packages"}
# Of a class, what Python keeps for itself.
_OF_PYTHON = {"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__", "_abc_impl"}
_Slot = types.GetSetDescriptorType | types.MemberDescriptorType


def is_installed(module: str) -> bool:
    """Whether a module is part of Python or of an installed package, and so the same wherever this is installed."""
    if module == "__main__":
        return False
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None:
        return module in sys.builtin_module_names
    return _STANDARD_LIBRARY in Path(path).parents or not _PACKAGES.isdisjoint(Path(path).parts)


def code_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of a function: of its code, not of comments, and of the values, functions and classes that it uses.

    What is of installed packages counts by its name alone, and of other modules what is used by its name. The digest
    is the same in every process of one version of Python, unless a value that is neither plain nor a collection of
    such has another pickle in each.
    """
    return hashlib.sha256(repr(_Description().of(function)).encode("utf-8", "surrogatepass")).hexdigest()


class _Description:
    """Describes values by what is the same in another process; each function, class and code once."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def of(self, value: Any) -> Any:
        if isinstance(value, types.ModuleType):
            return "module", value.__name__
        if isinstance(value, set | frozenset):
            return type(value).__name__, sorted(repr(self.of(item)) for item in value)
        if isinstance(value, list | tuple):
            return type(value).__name__, [self.of(item) for item in value]
        if isinstance(value, dict):
            return "dict", [(self.of(key), self.of(item)) for key, item in value.items()]
        if value is None or value is ... or isinstance(value, str | bytes | int | float | complex):
            return type(value).__name__, repr(value)
        if isinstance(value, types.FunctionType | types.CodeType | type):
            return self._of_code(value)
        if hasattr(value, "__wrapped__"):  # such as by functools.cache
            return type(value).__name__, self.of(value.__wrapped__)
        if isinstance(value, functools.partial):
            return "partial", self.of((value.func, value.args, value.keywords))
        if isinstance(value, _Slot):
            return "slot", value.__name__
        if isinstance(value, staticmethod | classmethod | types.MethodType):
            return type(value).__name__, self.of(value.__func__), self.of(getattr(value, "__self__", None))
        if isinstance(value, property):
            return "property", [self.of(one) for one in (value.fget, value.fset, value.fdel)]
        if not is_installed(type(value).__module__) and hasattr(value, "__dict__"):
            return self._once(value, lambda: ("instance", self.of(type(value)), self.of(vars(value))))
        return type(value).__name__, hashlib.sha256(cloudpickle.dumps(value)).hexdigest()

    def _of_code(self, value: Any) -> Any:
        if not isinstance(value, types.CodeType) and is_installed(value.__module__):
            return "installed", value.__module__, value.__qualname__
        return self._once(value, lambda: self._of_own_code(value))

    def _once(self, value: Any, describe: Callable[[], Any]) -> Any:
        if id(value) in self._numbers:
            return "above", self._numbers[id(value)]
        self._numbers[id(value)] = len(self._numbers)
        return describe()

    def _of_own_code(self, value: Any) -> Any:
        if isinstance(value, types.CodeType):
            names = value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
            return "code", value.co_code.hex(), names, self.of(value.co_consts)
        if isinstance(value, types.FunctionType):
            code, own, arguments = dis.Bytecode(value).codeobj, value.__globals__, inspect.getfullargspec(value)
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            parts = code, arguments.defaults, arguments.kwonlydefaults, cells
            return "function", [self.of(part) for part in parts], self._used(sorted(_names(code)), own, ())
        members = {name: member for name, member in vars(value).items() if name not in _OF_PYTHON}
        return "class", value.__qualname__, self.of(value.__bases__), self.of(members)

    def _used(self, names: Sequence[str], own: Mapping[str, Any], within: tuple[types.ModuleType, ...]) -> Any:
        """What has one of these names in a module, or in a module that is not installed and has one of them there."""
        used = []
        for name in names:
            value = own.get(name)
            if not isinstance(value, types.ModuleType) or is_installed(value.__name__):
                used.append((name, self.of(value) if name in own else None))
            elif value not in within:
                used.append((name, self._used(names, vars(value), (*within, value))))
        return used


def _names(code: types.CodeType) -> set[str]:
    """The names of globals, and of attributes, that code uses, and the functions in it."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)
