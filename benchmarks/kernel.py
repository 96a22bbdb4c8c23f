"""What each part of the n-gram kernel that is written in LLVM IR gains over plain numba.

    python -m benchmarks.kernel --raw corpus.jsonl

The kernel is compiled once as it is, and once for each row with one operation replaced by what numba would have
instead, or by LLVM IR that was tried. All take turns on the same texts in this process; what counts is its processor
time.
"""

import argparse
import hashlib
import importlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic
from rich.console import Console
from rich.table import Table

from hir_transforms.ngrams.kernel.bucket_cache import ABSENT, set_start
from hir_transforms.ngrams.kernel.intrinsics import trailing_zeros

KERNEL = "hir_transforms.ngrams.kernel"
MB = 1_000_000
HASHES = ("sha256", "fast")
BUCKET_BITS = np.uint64(2**24 - 1)
_U8, _U32, _U64 = np.uint8, np.uint32, np.uint64


@numba.njit
def no_prefetch(array, index):  # type: ignore[no-untyped-def]
    pass


@numba.njit
def classify_bytes(array, index):  # type: ignore[no-untyped-def]
    word, space, high = _U64(0), _U64(0), _U64(0)
    for i in range(64):
        place = np.uintp(index + i)
        byte = array[place]
        if 65 <= byte <= 90:
            byte += _U8(32)
            array[place] = byte
        bit = _U64(1) << _U64(i)
        if byte >= 0x80:
            high |= bit
        elif 97 <= byte <= 122 or 48 <= byte <= 57 or byte == 95:
            word |= bit
        elif byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31:
            space |= bit
    return word, space, high


@intrinsic
def load_word(typingctx, array, index):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        intrinsics = importlib.import_module(f"{KERNEL}.intrinsics")
        pointer = intrinsics.element_pointer(context, builder, signature.args[0], *args, ir.IntType(64))
        word = builder.load(pointer, align=1)
        return builder.bswap(word) if sys.byteorder == "big" else word

    return numba.types.uint64(array, numba.types.intp), codegen


@intrinsic
def store_word(typingctx, array, index, word):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        intrinsics = importlib.import_module(f"{KERNEL}.intrinsics")
        pointer = intrinsics.element_pointer(context, builder, signature.args[0], args[0], args[1], ir.IntType(64))
        builder.store(builder.bswap(args[2]) if sys.byteorder == "big" else args[2], pointer, align=1)
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.intp, numba.types.uint64), codegen


@numba.njit
def count_zeros(mask):  # type: ignore[no-untyped-def]
    """By halves: what numba offers nobody."""
    count = 0
    for bits in (32, 16, 8, 4, 2, 1):
        if mask & ((_U64(1) << _U64(bits)) - _U64(1)) == 0:
            mask >>= _U64(bits)
            count += bits
    return count


@intrinsic
def match_pairs(typingctx, array, index, first, second, ignored):  # type: ignore[no-untyped-def]
    """A bit for each of four pairs of uint64, set where it is (first, second) but for the bits `ignored`."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        intrinsics = importlib.import_module(f"{KERNEL}.intrinsics")
        i64, words = ir.IntType(64), ir.VectorType(ir.IntType(64), 8)
        pointer = intrinsics.element_pointer(context, builder, signature.args[0], args[0], args[1], words)
        none = ir.Constant(words, [0] * 8)
        wanted, free = none, none
        for lane in range(8):
            position = ir.Constant(ir.IntType(32), lane)
            wanted = builder.insert_element(wanted, args[3] if lane % 2 else args[2], position)
            free = builder.insert_element(free, args[4] if lane % 2 else ir.Constant(i64, 0), position)
        difference = builder.and_(builder.xor(builder.load(pointer, align=8), wanted), builder.not_(free))
        equal = builder.bitcast(builder.icmp_unsigned("==", difference, none), ir.IntType(8))
        both = builder.and_(equal, builder.lshr(equal, ir.Constant(ir.IntType(8), 1)))
        return builder.zext(builder.and_(both, ir.Constant(ir.IntType(8), 0b01010101)), i64)

    uint64 = numba.types.uint64
    return uint64(array, numba.types.intp, uint64, uint64, uint64), codegen


@numba.njit
def look_up_by_vector(cache, key, check):  # type: ignore[no-untyped-def]
    """`bucket_cache.look_up`, which compares the four entries at once."""
    start = set_start(cache, key)
    matches = match_pairs(cache, start, key, check, BUCKET_BITS)
    if matches == 0:
        return ABSENT
    return cache[start + trailing_zeros(matches) + 1] & BUCKET_BITS


@intrinsic
def wide_product_high(typingctx, a, b):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return product_halves(builder, args)[0]

    return numba.types.uint64(numba.types.uint64, numba.types.uint64), codegen


@intrinsic
def wide_product_fold(typingctx, a, b):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.xor(*product_halves(builder, args))

    return numba.types.uint64(numba.types.uint64, numba.types.uint64), codegen


def product_halves(builder: Any, args: Any) -> tuple[Any, Any]:
    """The high and the low half of a product of 128 bits, in LLVM IR."""
    i64, i128 = ir.IntType(64), ir.IntType(128)
    product = builder.mul(builder.zext(args[0], i128), builder.zext(args[1], i128))
    return builder.trunc(builder.lshr(product, ir.Constant(i128, 64)), i64), builder.trunc(product, i64)


def _round_constants() -> tuple[Any, Any]:
    sha256 = importlib.import_module(f"{KERNEL}.sha256")
    return np.array(sha256.START, _U32), np.array(sha256.ROUND, _U32)


START, ROUND = _round_constants()


@numba.njit
def rotate(word, bits):  # type: ignore[no-untyped-def]
    return word >> _U32(bits) | word << _U32(32 - bits)


@numba.njit
def lanes_one_by_one(blocks, digests):  # type: ignore[no-untyped-def]
    """Sixteen messages one after the other."""
    w = np.empty(64, _U32)
    for lane in range(16):
        for i in range(16):
            w[i] = blocks[i, lane]
        for i in range(16, 64):
            s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> _U32(3)
            s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> _U32(10)
            w[i] = w[i - 16] + s0 + w[i - 7] + s1
        a, b, c, d, e, f, g, h = START
        for i in range(64):
            t1 = h + ROUND[i] + w[i] + (g ^ e & (f ^ g)) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25))
            t2 = (a & b | c & (a | b)) + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22))
            a, b, c, d, e, f, g, h = _U32(t1 + t2), a, b, c, _U32(d + t1), e, f, g
        for i, word in enumerate((a, b, c, d, e, f, g, h)):
            digests[i, lane] = START[i] + word


@numba.njit
def lanes_by_loops(blocks, digests):  # type: ignore[no-untyped-def]
    """Sixteen messages side by side, a loop over them in each round, which LLVM makes vectors of."""
    w = np.empty((64, 16), _U32)
    s = np.empty((72, 16), _U32)  # a ... h of round i are rows i + 3 ... i and, for e ... h, of `t`
    t = np.empty((72, 16), _U32)
    for i in range(16):
        for lane in range(16):
            w[i, lane] = blocks[i, lane]
    for i in range(16, 64):
        for lane in range(16):
            x, y = w[i - 15, lane], w[i - 2, lane]
            s0 = rotate(x, 7) ^ rotate(x, 18) ^ x >> _U32(3)
            s1 = rotate(y, 17) ^ rotate(y, 19) ^ y >> _U32(10)
            w[i, lane] = w[i - 16, lane] + s0 + w[i - 7, lane] + s1
    for i in range(4):
        for lane in range(16):
            s[i, lane] = START[3 - i]
            t[i, lane] = START[7 - i]
    for i in range(64):
        constant = ROUND[i]
        for lane in range(16):
            a, b, c, d = s[i + 3, lane], s[i + 2, lane], s[i + 1, lane], s[i, lane]
            e, f, g, h = t[i + 3, lane], t[i + 2, lane], t[i + 1, lane], t[i, lane]
            t1 = h + constant + w[i, lane] + (g ^ e & (f ^ g)) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25))
            t2 = (a & b | c & (a | b)) + (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22))
            s[i + 4, lane] = t1 + t2
            t[i + 4, lane] = d + t1
    for i in range(4):
        for lane in range(16):
            digests[i, lane] = START[i] + s[67 - i, lane]
            digests[i + 4, lane] = START[i + 4] + t[67 - i, lane]


# What is replaced, by row: (module, name) and the replacement.
ROWS: dict[str, dict[tuple[str, str], Any]] = {
    "as it is": {},
    "no prefetch": {("bucket_cache", "prefetch"): no_prefetch},
    "cache entries compared as a vector": {("bucket_cache", "look_up"): look_up_by_vector},
    "products of 128 bits by LLVM IR": {
        **{(module, "multiply_high"): wide_product_high for module in ("bucket_cache", "hashes")},
        ("hashes", "multiply_fold"): wide_product_fold,
    },
    "words loaded by LLVM IR": {
        (module, "load64"): load_word for module in ("intrinsics", "hashes", "loop", "tokens")
    },
    "words stored by LLVM IR": {("loop", "store64"): store_word, ("sha256", "store64"): store_word},
    "bytes classified one by one": {("tokens", "lower_and_classify64"): classify_bytes},
    "zeros counted by halves": {("tokens", "trailing_zeros"): count_zeros},
    "SHA-256 by loops over lanes": {("sha256", "compress_lanes"): lanes_by_loops},
    "SHA-256 one by one": {("sha256", "compress_lanes"): lanes_one_by_one},
}


class Kernel(NamedTuple):
    """A kernel with some operation replaced; compiled at its first call."""

    modules: dict[str, ModuleType]
    featurize: Callable[..., None]


def make_kernel(replaced: dict[tuple[str, str], Any]) -> Kernel:
    """The kernel's modules anew, so that what numba has compiled for another row is not taken for this one."""
    before = {name: sys.modules.pop(name) for name in [*sys.modules] if name.startswith(f"{KERNEL}.")}
    try:
        names = ("intrinsics", "hashes", "tokens", "bucket_cache", "sha256", "distinct", "loop")
        modules = {}
        for name in names:  # in the order of their imports
            modules[name] = importlib.import_module(f"{KERNEL}.{name}")
            for (module, function), replacement in replaced.items():
                if module == name:
                    assert hasattr(modules[name], function), (module, function)
                    setattr(modules[name], function, replacement)
        return Kernel(modules, modules["loop"].featurize)
    finally:
        sys.modules.update(before)


def run(kernel: Kernel, texts: Sequence[bytes], hash_name: str) -> tuple[float, Any]:
    """Seconds of processor time to count the bigrams of the texts, beginning with an empty cache; and the counts."""
    tokens, loop, hashes = (kernel.modules[name] for name in ("tokens", "loop", "hashes"))
    cache_module = kernel.modules["bucket_cache"]
    buffer, offsets = tokens.join_encoded(texts)
    cache = cache_module.new_cache(cache_module.NUM_SETS if hash_name == "sha256" else 0)
    cache[:] = 0
    long_message = np.empty(loop.long_message_size(offsets, 2), np.uint8)
    counts, num_ngrams = np.zeros(10_000, np.int64), np.zeros(len(texts), np.int64)
    texts_argument = loop.Texts(buffer, offsets, False, tokens.character_classes())
    hashing = loop.Hashing(2, counts.size, hashes.sha256_powers(counts.size), cache, long_message)
    log_ratio = np.empty((0, 0))
    log_ratio.flags.writeable = False
    nothing = kernel.modules["distinct"].new_distinct(0)
    start = time.process_time()
    kernel.featurize(texts_argument, hashing, counts, log_ratio, np.empty((len(texts), 0)), num_ngrams, nothing)
    return time.process_time() - start, counts


def hashlib_seconds(texts: Sequence[bytes]) -> tuple[float, int]:
    """Seconds that Python's hashlib takes for each different n-gram once, and how many there are."""
    tokens = [text.lower().split() for text in texts]
    ngrams = {*itertools.chain.from_iterable(tokens)}
    ngrams |= {b" ".join(pair) for one in tokens for pair in itertools.pairwise(one)}
    start = time.process_time()
    for ngram in ngrams:
        int.from_bytes(hashlib.sha256(ngram).digest()) % 10_000
    return time.process_time() - start, len(ngrams)


def read_texts(path: Path, size: float) -> list[bytes]:
    """The first texts of a file of JSON lines, `size` bytes of them at most."""
    texts, total = [], 0
    with path.open("rb") as lines:
        for line in lines:
            texts.append(msgspec.json.decode(line)["text"].encode())
            total += len(texts[-1])
            if total >= size:
                break
    return texts


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table for each hash."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--raw", type=Path, required=True, help="an uncompressed jsonl file with the field `text`")
    parser.add_argument("--mb", type=float, default=8, help="MB of its text to take [8]")
    parser.add_argument("--repetitions", type=int, default=11, help="turns [11]")
    parser.add_argument("--rows", default=",".join(ROWS), help="which rows, with commas between them [all]")
    arguments = parser.parse_args(argv)
    texts = read_texts(arguments.raw, arguments.mb * MB)
    size = sum(map(len, texts)) / MB
    kernels = {row: make_kernel(ROWS[row]) for row in arguments.rows.split(",")}
    console = Console(width=120)
    for hash_name in HASHES:
        counts = [run(kernel, texts, hash_name)[1] for kernel in kernels.values()]  # compiles
        assert all((one == counts[0]).all() for one in counts)
        seconds: dict[str, list[float]] = {row: [] for row in kernels}
        for _ in range(arguments.repetitions):
            for row, kernel in kernels.items():
                seconds[row].append(run(kernel, texts, hash_name)[0])
        table = Table("", "min ms", "median ms", "MB/s", "min", "median", title=f"{hash_name}, {size:.1f} MB")
        first = next(iter(seconds.values()))
        for row, found in seconds.items():
            least, middle = min(found), float(np.median(found))
            changes = (f"{least / min(first) - 1:+.0%}", f"{middle / float(np.median(first)) - 1:+.0%}")
            table.add_row(row, f"{least * 1000:.1f}", f"{middle * 1000:.1f}", f"{size / middle:.0f}", *changes)
        console.print(table)
    taken, number = hashlib_seconds(texts)
    console.print(f"hashlib, for each of {number} different n-grams once: {taken * 1000:.0f} ms")


if __name__ == "__main__":
    main()
