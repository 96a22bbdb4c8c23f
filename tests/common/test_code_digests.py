import subprocess
import sys
import types

import numpy as np
import pytest

from hir_transforms.common.code_digests import code_digest, is_installed

SOURCE = """
import functools
import re

WORD = re.compile("a+")
KEPT = {"b", "a", "c"}

class Base:
    def clean(self, text):
        return text.strip()

class Cleaner(Base):
    __slots__ = ("mark",)

    def __init__(self):
        self.mark = "!"

    def clean(self, text):
        return super().clean(text) + self.mark

    @property
    def name(self):
        return type(self).__name__

@functools.cache
def cleaner():
    return Cleaner()

def helper(text):
    return cleaner().clean(WORD.sub("", text)) if text in {"x", "y"} else text

def make(limit):
    def text_of(example, *, name="text"):
        return helper(example[name])[:limit] if example[name] not in KEPT else ""
    return text_of

text_of = make(10)
"""


def function_of(source, name="text_of"):
    module = types.ModuleType("of_a_user")
    exec(compile(source, "/of_a_user.py", "exec"), vars(module))
    return vars(module)[name]


def test_the_digest_is_the_same_wherever_the_code_stands_and_in_every_process(tmp_path):
    moved = SOURCE.replace("\ndef make", "\n# Makes it.\n\n\ndef make")
    assert code_digest(function_of(SOURCE)) == code_digest(function_of(SOURCE)) == code_digest(function_of(moved))
    (tmp_path / "of_a_user.py").write_text(SOURCE)
    program = "from of_a_user import text_of; from hir_transforms.common.code_digests import code_digest as d; "
    digests = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.append({str(tmp_path)!r}); {program} print(d(text_of))"],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"a+"', '"b+"'),
        ('"c"}', '"d"}'),
        (".strip()", ".lstrip()"),
        ('"!"', '"?"'),
        ("class Base:", "class Base(dict):"),
        ('{"x", "y"}', '{"x", "z"}'),
        ('name="text"', 'name="body"'),
        ("make(10)", "make(11)"),
        ("__name__", "__qualname__"),
        ("@functools.cache\n", ""),
    ],
)
def test_what_the_function_uses_counts(old, new):
    assert SOURCE.count(old) == 1
    assert code_digest(function_of(SOURCE)) != code_digest(function_of(SOURCE.replace(old, new)))


def test_what_is_used_of_a_module_that_is_not_installed_counts():
    def digest(source):
        outer = function_of("def text_of(example): return package.tools.clean(json.dumps(example))")
        vars_of = outer.__globals__
        vars_of["json"] = __import__("json")
        vars_of["package"] = types.ModuleType("package_of_a_user")
        vars_of["package"].tools = types.ModuleType("package_of_a_user.tools")
        vars_of["package"].tools.package = vars_of["package"]
        exec(source, vars(vars_of["package"].tools))
        return code_digest(outer)

    assert digest("def clean(text): return text[1:]") != digest("def clean(text): return text[2:]")
    assert digest("def clean(text): return text[1:]") == digest("def clean(text): return text[1:]\nother = 1")


def test_values_that_are_neither_code_nor_plain_count():
    by = lambda array: lambda text: array
    assert code_digest(by(np.arange(3))) == code_digest(by(np.arange(3))) != code_digest(by(np.arange(4)))


def test_of_installed_packages_the_name_counts():
    assert is_installed("json")
    assert is_installed("numpy")
    assert is_installed("builtins")
    assert not is_installed("__main__")
    assert not is_installed(__name__)
    assert code_digest(np.sort) != code_digest(np.median)
