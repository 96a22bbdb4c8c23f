import subprocess
import sys
import threading

import pytest

from hir_transforms.common.errors import UserError
from hir_transforms.common.user_functions import UserFunction, user_function

LOCK = threading.Lock()


def helper(text):
    return text.upper()


def upper_of(example):
    return helper(example["text"])


def test_a_name_and_the_function_itself_are_the_same():
    named = user_function(f"{__name__}:upper_of")
    assert user_function(upper_of) == user_function(f"{named}") == user_function(named) == named
    assert named.load()({"text": "a"}) == "A"
    assert user_function("json:dumps").load()([1]) == "[1]"


def test_a_function_without_a_name_is_known_by_its_code():
    suffixed = lambda suffix: lambda example: example["text"] + suffix
    first, second, third = map(user_function, [suffixed("a"), suffixed("a"), suffixed("b")])
    assert f"{first}" == f"{second}" != f"{third}"
    assert f"{first}".startswith(("test_a_function", "<lambda>"))
    assert user_function(f"{third}").load()({"text": "x"}) == "xb"


def test_it_takes_along_what_a_worker_cannot_import(tmp_path, monkeypatch):
    package = tmp_path / "of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "cleaning.py").write_text("SUFFIX = '!'\ndef clean(text): return text.strip() + SUFFIX\n")
    (package / "loaders.py").write_text(
        "from .cleaning import clean\ndef text_of(example): return clean(example['t'])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    function = user_function("of_mine.loaders:text_of")
    program = "import sys, cloudpickle; print(cloudpickle.loads(sys.stdin.buffer.read())({'t': ' a '}))"
    command = [sys.executable, "-P", "-c", program]
    printed = subprocess.run(command, input=function.pickled, cwd="/", check=True, capture_output=True).stdout
    assert printed == b"a!\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json.loads", "^the name of a function, module:function$"),
        ("none_of_it:f", r"^a function that can be imported \(ModuleNotFoundError: No module named 'none_of_it'\)$"),
        ("json:none", r"^a function that can be imported \(AttributeError: module 'json' has no attribute 'none'\)$"),
        ("json:__name__", r"^a function \(it is of type str\)$"),
        (3, r"^a function \(it is of type int\)$"),
        (lambda example: LOCK, r"^a function that can be sent to workers \(TypeError: cannot pickle '_thread.lock' "),
    ],
)
def test_what_is_no_function_is_one_line(value, message):
    with pytest.raises(ValueError, match=message):
        user_function(value)


def test_what_a_worker_lacks_is_named():
    with pytest.raises(UserError, match=r"^of:it cannot be loaded by a worker: .*Error: No module named 'gone'$"):
        UserFunction("of:it", "", b"cgone\nit\n.").load()
