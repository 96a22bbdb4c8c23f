import importlib
import inspect
import subprocess
import sys

import pytest

from pipelines.__main__ import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_offered_exists(command):
    parameters = inspect.signature(importlib.import_module(f"pipelines.{command}").run).parameters
    assert [parameter.default for parameter in parameters.values()] == [None]


@pytest.mark.parametrize("option", ["-h", "--help"])
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
