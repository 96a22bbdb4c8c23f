"""Operations on bytes and words of the n-gram kernel, most of them in plain numba.

Three are LLVM IR (`@intrinsic`), with one meaning on every processor; LLVM picks the instructions (AVX-512, AVX2,
NEON, ...). `benchmarks.kernel` measures what each gains over plain numba. To read the kernel, read each as the numpy
or Python expression in its docstring, which test_intrinsics.py compares it with. An intrinsic returns the types of its
result and arguments, and a function that emits its instructions through `builder` when numba compiles a call.

No bounds are checked: a caller's buffer has `PADDING` readable bytes after its text.
"""

import sys
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 64
PADDING = BLOCK

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]
Constants = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]

_BYTES = ir.VectorType(ir.IntType(8), BLOCK)
_I64 = ir.IntType(64)


def element_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any, element: ir.Type) -> Any:
    """Pointer to `element` at `array[index]`, without bounds check or wrap-around."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), element.as_pointer())


def _splat(byte: int) -> ir.Constant:
    return ir.Constant(_BYTES, [byte] * BLOCK)


def _mask(builder: Any, lanes: Any) -> Any:
    """The comparison results of a vector as the bits of an integer, the first lowest."""
    count = lanes.type.count
    if sys.byteorder == "big":
        backwards = ir.Constant(ir.VectorType(ir.IntType(32), count), list(reversed(range(count))))
        lanes = builder.shuffle_vector(lanes, lanes, backwards)
    return builder.bitcast(lanes, ir.IntType(count))


def _in_range(builder: Any, lanes: Any, first: int, last: int) -> Any:
    """Which bytes are in [first, last], by one unsigned comparison."""
    return builder.icmp_unsigned("<=", builder.sub(lanes, _splat(first)), _splat(last - first))


@numba.njit
def load64(array: Bytes, index: int) -> np.uint64:
    """The eight bytes from `array[index]`, aligned or not: `array[index : index + 8].view("<u8")[0]`.

    LLVM makes one instruction of it.
    """
    place = np.uintp(index)  # an index that may be negative is looked at first
    word = np.uint64(0)
    for i in range(8):
        word |= np.uint64(array[place + np.uintp(i)]) << np.uint64(8 * i)
    return word


@numba.njit
def load_tail(array: Bytes, start: int, end: int) -> np.uint64:
    """The one to eight bytes array[start:end] as a little-endian uint64; reads eight."""
    unused = np.uint64(64) - (np.uint64(end - start) << np.uint64(3))
    return load64(array, start) << unused >> unused


@numba.njit
def store64(array: Bytes, index: int, word: np.uint64) -> None:
    """Writes eight bytes, aligned or not: `array[index : index + 8].view("<u8")[0] = word`."""
    place = np.uintp(index)
    for i in range(8):
        array[place + np.uintp(i)] = np.uint8(word >> np.uint64(8 * i) & np.uint64(255))


@intrinsic
def lower_and_classify64(typingctx: Any, array: Any, index: Any) -> Any:
    """Lower-cases the ASCII letters of 64 bytes in place; returns the masks (word, space, non-ASCII) as three uint64.

    With block = array[index : index + 64], each mask is `np.packbits(lanes, bitorder="little").view("<u8")[0]` of the
    booleans of such a class, as `block >= 0x80` is of the last; before it, `block[upper] += 32`.

    Word and space are those of Python's `re` on ASCII: letters, digits and the underscore; tab to carriage return, the
    four separators 0x1C to 0x1F and the blank.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], args[0], args[1], _BYTES)
        text = builder.load(pointer, align=1)
        upper = builder.zext(_in_range(builder, text, ord("A"), ord("Z")), _BYTES)
        text = builder.add(text, builder.shl(upper, _splat(5)))
        builder.store(text, pointer, align=1)
        letter = _in_range(builder, text, ord("a"), ord("z"))
        digit = _in_range(builder, text, ord("0"), ord("9"))
        underscore = builder.icmp_unsigned("==", text, _splat(ord("_")))
        word = builder.or_(builder.or_(letter, digit), underscore)
        blank = builder.icmp_unsigned("==", text, _splat(ord(" ")))
        control = builder.or_(_in_range(builder, text, 0x09, 0x0D), _in_range(builder, text, 0x1C, 0x1F))
        high = builder.icmp_unsigned(">=", text, _splat(0x80))
        masks = [_mask(builder, lanes) for lanes in (word, builder.or_(blank, control), high)]
        result = ir.Constant(ir.ArrayType(_I64, 3), ir.Undefined)
        for i, mask in enumerate(masks):
            result = builder.insert_value(result, mask, i)
        return result

    return types.UniTuple(types.uint64, 3)(array, types.intp), codegen


@intrinsic
def trailing_zeros(typingctx: Any, mask: Any) -> Any:
    """Index of the lowest bit set in a uint64 but zero, as intp: `(mask & -mask).bit_length() - 1` in Python."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.intp(types.uint64), codegen


@numba.njit
def multiply_high(a: np.uint64, b: np.uint64) -> np.uint64:
    """The high 64 bits of the 128-bit product of two uint64: `a * b >> 64` in Python; by products of 32 bits."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + (a0 * b0 >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


@numba.njit
def multiply_fold(a: np.uint64, b: np.uint64) -> np.uint64:
    """The two halves of the 128-bit product of two uint64, xor-ed: `a * b >> 64 ^ a * b % 2**64` in Python."""
    return multiply_high(a, b) ^ (a * b)


@intrinsic
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of `array[index]`, to be written soon; no value depends on it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte, i32 = ir.IntType(8), ir.IntType(32)
        pointer = element_pointer(context, builder, signature.args[0], args[0], args[1], byte)
        function_type = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch.p0", fnty=function_type)
        builder.call(function, [pointer, ir.Constant(i32, 1), ir.Constant(i32, 3), ir.Constant(i32, 1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen
