"""The n-gram kernel as machine code, see `compiling`."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from numba import types

from hir_transforms.common.compiling import compile_cached
from hir_transforms.ngrams.kernel import distinct, loop, tokens

_BYTES = types.Array(types.uint8, 1, "C")
_OFFSETS = types.Array(types.intp, 1, "C")
_HASHES = types.Array(types.uint64, 1, "C")
_COUNTS = types.Array(types.int64, 1, "C")
_FIND_CASED = types.void(_BYTES, _OFFSETS, _BYTES, types.Array(types.boolean, 1, "C"))
_TEXTS = types.NamedTuple((_BYTES, _OFFSETS, types.boolean, _BYTES), loop.Texts)
_HASHING = types.NamedTuple((types.intp, types.intp, _HASHES, _HASHES, _BYTES), loop.Hashing)
_LOG_RATIO = types.Array(types.float64, 2, "C", readonly=True)
_FLOATS = types.Array(types.float64, 1, "C")
_TABLE = types.Array(types.float64, 2, "C")
_DISTINCT = types.NamedTuple(
    (
        *(_COUNTS, _COUNTS, _FLOATS, _FLOATS),
        *(types.Array(types.float64, 3, "C", readonly=True), _TABLE, _COUNTS, _TABLE),
        *(_COUNTS, types.Array(types.int64, 2, "C")),
    ),
    distinct.Distinct,
)
_FEATURIZE = types.void(_TEXTS, _HASHING, _COUNTS, _LOG_RATIO, _TABLE, _COUNTS, _DISTINCT)


class MachineCode(NamedTuple):
    """The compiled functions; see `tokens.find_cased` and `loop.featurize`."""

    find_cased: Callable[..., None]
    featurize: Callable[..., None]


@functools.cache
def machine_code() -> MachineCode:
    """Returns the compiled functions, loaded from disk where an earlier process has compiled them."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    # numba looks for changes in a compiled function's own file and in the values it closes over, not in the functions
    # that it calls: with the digest among these values, a change in any module of the kernel compiles it anew.
    sources = int.from_bytes(digest.digest()[:7])

    def find_cased(buffer, offsets, classes, cased):  # type: ignore[no-untyped-def]
        _ = sources
        tokens.find_cased(buffer, offsets, classes, cased)

    def featurize(texts, hashing, counts, log_ratio, weights, num_ngrams, of_text):  # type: ignore[no-untyped-def]
        _ = sources
        loop.featurize(texts, hashing, counts, log_ratio, weights, num_ngrams, of_text)

    return MachineCode(compile_cached(_FIND_CASED, find_cased), compile_cached(_FEATURIZE, featurize))
