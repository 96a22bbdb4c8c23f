from typing import Any

from hir_transforms.ngrams.kernel import compiled


def test_the_functions_close_over_the_sources():
    # numba's key on disk has the values that a function closes over: without the digest it would keep stale code.
    function: Any
    for function in compiled.machine_code():
        assert any(isinstance(cell.cell_contents, int) for cell in function.py_func.__closure__)
