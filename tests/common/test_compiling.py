import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
from numba import types

import hir_transforms
from hir_transforms.common.compiling import compile_cached

PACKAGE = Path(hir_transforms.__file__).parent


def double(x: int) -> int:
    return 2 * x


def test_compiled_once_and_then_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    for hits in (0, 1):
        function = compile_cached(types.intp(types.intp), double)
        assert function(21) == 42
        assert sum(function.stats.cache_hits.values()) == hits


def test_compiled_where_nothing_can_be_written(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    # A file where a folder would have to be made keeps root off too.
    (tmp_path / PACKAGE.name / "mixtures" / "__pycache__").touch()
    nowhere = dict.fromkeys(("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"), "/dev/null/nowhere")
    code = "from hir_transforms.mixtures import estep; print(estep.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(tmp_path)


def test_nothing_else_keeps_machine_code():
    sources = [path.name for path in PACKAGE.rglob("*.py") if "cache=True" in path.read_text()]
    assert sources == ["compiling.py"]
