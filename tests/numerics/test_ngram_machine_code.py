from typing import Any

import numba
from numba import types
from numba.core import caching

from hir_transforms.numerics import ngram_machine_code


def double(x):
    return 2 * x


def test_compiled_once_and_then_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    for hits in (0, 1):
        function: Any = ngram_machine_code.compile_cached(types.intp(types.intp), double)
        assert function(21) == 42
        assert sum(function.stats.cache_hits.values()) == hits


def test_compiled_where_nothing_can_be_written(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/dev/null/nowhere")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [caching.UserProvidedCacheLocator])
    assert ngram_machine_code.compile_cached(types.intp(types.intp), double)(21) == 42


def test_the_functions_close_over_the_sources():
    # numba's key on disk has the values that a function closes over: without the digest it would keep stale code.
    function: Any
    for function in ngram_machine_code.machine_code():
        assert any(isinstance(cell.cell_contents, int) for cell in function.py_func.__closure__)
