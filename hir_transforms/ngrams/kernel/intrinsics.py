"""Machine operations of the n-gram kernel that numba has no spelling for.

Each is one short piece of LLVM IR on integers, with one meaning on every processor; LLVM picks the instructions
(AVX-512, AVX2, NEON, ...). No bounds are checked: a caller's buffer has `PADDING` readable bytes after its text.

To read the kernel, read each as the numpy or Python expression in its docstring, which test_intrinsics.py compares it
with. `benchmarks.kernel` measures what each gains over plain numba. An intrinsic returns the types of its result and
arguments, and a function that emits its instructions through `builder` when numba compiles a call.
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
_I128 = ir.IntType(128)


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


@intrinsic
def store64(typingctx: Any, array: Any, index: Any, word: Any) -> Any:
    """Writes eight bytes, aligned or not: `array[index : index + 8].view("<u8")[0] = word`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = element_pointer(context, builder, signature.args[0], args[0], args[1], _I64)
        builder.store(builder.bswap(args[2]) if sys.byteorder == "big" else args[2], pointer, align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.uint64), codegen


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


@intrinsic
def match_pairs(typingctx: Any, array: Any, index: Any, first: Any, second: Any, ignored: Any) -> Any:
    """Which of the four pairs of uint64 from `array[index]` are (first, second), the `ignored` bits of second aside.

    With pairs = array[index : index + 8].reshape(4, 2), it is where
    `(pairs[:, 0] == first) & ((pairs[:, 1] ^ second) & ~ignored == 0)`.

    Returns:
        uint64 with bit 2 i set where pair i matches.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_value, index_value, first_value, second_value, ignored_value = args
        words = ir.VectorType(_I64, 8)
        pointer = element_pointer(context, builder, signature.args[0], array_value, index_value, words)
        zero = ir.Constant(_I64, 0)
        wanted, free = ir.Constant(words, [0] * 8), ir.Constant(words, [0] * 8)
        for lane in range(8):
            position = ir.Constant(ir.IntType(32), lane)
            wanted = builder.insert_element(wanted, second_value if lane % 2 else first_value, position)
            free = builder.insert_element(free, ignored_value if lane % 2 else zero, position)
        difference = builder.and_(builder.xor(builder.load(pointer, align=8), wanted), builder.not_(free))
        equal = builder.icmp_unsigned("==", difference, ir.Constant(words, [0] * 8))
        mask = builder.zext(_mask(builder, equal), _I64)
        both = builder.and_(mask, builder.lshr(mask, ir.Constant(_I64, 1)))
        return builder.and_(both, ir.Constant(_I64, 0b01010101))

    return types.uint64(array, types.intp, types.uint64, types.uint64, types.uint64), codegen


def _product(builder: Any, args: Any) -> tuple[Any, Any]:
    """The high and the low 64 bits of the product of two uint64."""
    product = builder.mul(builder.zext(args[0], _I128), builder.zext(args[1], _I128))
    high = builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)
    return high, builder.trunc(product, _I64)


@intrinsic
def multiply_high(typingctx: Any, a: Any, b: Any) -> Any:
    """The high 64 bits of the 128-bit product of two uint64: `a * b >> 64` in Python."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _product(builder, args)[0]

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def multiply_fold(typingctx: Any, a: Any, b: Any) -> Any:
    """The two halves of the 128-bit product of two uint64, xor-ed: `a * b >> 64 ^ a * b % 2**64` in Python."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.xor(*_product(builder, args))

    return types.uint64(types.uint64, types.uint64), codegen


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
