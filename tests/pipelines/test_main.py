import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import pipelines
from hir_transforms import __version__
from pipelines.__main__ import COMMANDS, main


def test_every_module_with_a_run_is_a_command_and_the_reverse():
    names = [module.name for module in pkgutil.iter_modules(pipelines.__path__)]
    modules = {name: importlib.import_module(f"pipelines.{name}") for name in names}
    assert {name for name, module in modules.items() if hasattr(module, "run")} == {*COMMANDS}
    for command in COMMANDS:
        parameters = inspect.signature(modules[command].run).parameters
        assert [parameter.default for parameter in parameters.values()] == [None]


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hir {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_its_own(command, capsys):
    with pytest.raises(SystemExit) as asked:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: hir {command} ")
    with pytest.raises(SystemExit) as helped:
        main(["help", command])
    assert (asked.value.code, helped.value.code) == (0, 0)
    assert capsys.readouterr().out == text


def test_help_of_an_unknown_command(capsys):
    assert main(["help", "resampel"]) == 2
    assert "'resampel'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-h", "--help", "help"])
def test_help_lists_the_commands(option, capsys):
    assert main([option]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(COMMANDS)


def test_no_command_is_bad_usage(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: hir")


def test_an_unknown_command_is_named_in_one_line(capsys):
    assert main(["resampel", "--seed=1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'resampel'" in line


def test_options_go_to_the_command(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["demo", "--help"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("usage: hir demo")


def test_help_is_quick_since_no_pipeline_is_imported():
    code = "import sys; from pipelines.__main__ import main; main(['--help']); sys.exit('apache_beam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_commands_load_nothing_heavy_before_they_need_it():
    imports = "import sys, pipelines.evaluate, pipelines.plan, pipelines.select, pipelines.tune"
    heavy = {"numba", "scipy.stats", "sklearn", "sentence_transformers", "torch"}
    code = f"{imports}; print({heavy} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
