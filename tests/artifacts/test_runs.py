import importlib.metadata
import platform

from hir_transforms.artifacts import runs
from hir_transforms.artifacts.runs import RUNS, Run, add_run, read_runs, versions


def run(number):
    return Run(f"2026-01-01T00:00:{number:02}+00:00", "DirectRunner", {"ngram": number / 4}, versions())


def test_runs_are_kept_in_their_order(tmp_path):
    assert read_runs(str(tmp_path)) == []
    for number in range(3):
        add_run(str(tmp_path), run(number))
    assert read_runs(str(tmp_path)) == [run(0), run(1), run(2)]


def test_of_many_runs_the_last_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_MOST_RUNS", 2)
    for number in range(3):
        add_run(str(tmp_path), run(number))
    assert read_runs(str(tmp_path)) == [run(1), run(2)]


def test_a_file_of_something_else_tells_of_none(tmp_path):
    for content in ("{", '{"ended": 1}\n', "\xff"):
        (tmp_path / RUNS).write_text(content)
        assert read_runs(str(tmp_path)) == []


def test_the_versions_are_those_installed():
    found = versions()
    assert found["apache-beam"] == importlib.metadata.version("apache-beam")
    assert found["numpy"] == importlib.metadata.version("numpy")
    assert found["python"] == platform.python_version()
