"""SHA-256 (FIPS 180-4) for the n-gram kernel: one long message, or 16 messages of one block side by side.

The compression function is written twice: for one block in numba, and for blocks of 16 messages as LLVM IR on vectors
of 32-bit integers. That takes little more than the time of one block, on any processor with wide vectors, and needs no
SHA instructions.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hir_transforms.ngrams.kernel.intrinsics import Bytes, element_pointer, store64

Words = npt.NDArray[np.uint32]

LANES = 16
BLOCK_BYTES = 64
# A message of more bytes does not fit one block, with its end mark and its length.
MAX_LANE_BYTES = BLOCK_BYTES - 9
# A message is padded to whole blocks by at most 72 bytes.
MAX_PADDING = 72
# Room for one block, where bytes are written eight at a time.
LANE_STRIDE = BLOCK_BYTES + 8

_I32 = ir.IntType(32)
_LANES = ir.VectorType(_I32, LANES)


def _root_bits(degree: int, count: int) -> list[int]:
    """The first 32 fractional bits of the square or cube roots of the first `count` primes."""
    primes = [p for p in range(2, 312) if all(p % q for q in range(2, p))][:count]
    roots = []
    for prime in primes:
        root = 0
        for bit in reversed(range(32 + 5)):
            if (root | 1 << bit) ** degree <= prime << 32 * degree:
                root |= 1 << bit
        roots.append(root % 2**32)
    return roots


START = tuple(_root_bits(2, 8))
ROUND = _root_bits(3, 64)
_ROUNDS = np.array(ROUND, np.uint32)


def _emit_rounds(builder: Any, state: list[Any], schedule: list[Any]) -> list[Any]:
    """Emits `_compress_block` for vectors: the next state from the state (8 words) and a block (16 words)."""

    def constant(value: int) -> ir.Constant:
        return ir.Constant(_LANES, [value] * LANES)

    def rotate(word: Any, bits: int) -> Any:
        return builder.or_(builder.lshr(word, constant(bits)), builder.shl(word, constant(32 - bits)))

    def rotate_xor(word: Any, *rotations: int, shift: int | None = None) -> Any:
        terms = [rotate(word, bits) for bits in rotations]
        if shift is not None:
            terms.append(builder.lshr(word, constant(shift)))
        return builder.xor(builder.xor(terms[0], terms[1]), terms[2])

    def add(*terms: Any) -> Any:
        total = terms[0]
        for term in terms[1:]:
            total = builder.add(total, term)
        return total

    words = list(schedule)
    for i in range(16, 64):
        s0 = rotate_xor(words[i - 15], 7, 18, shift=3)
        s1 = rotate_xor(words[i - 2], 17, 19, shift=10)
        words.append(add(words[i - 16], s0, words[i - 7], s1))
    a, b, c, d, e, f, g, h = state
    for i in range(64):
        choice = builder.xor(g, builder.and_(e, builder.xor(f, g)))
        t1 = add(h, constant(ROUND[i]), words[i], choice, rotate_xor(e, 6, 11, 25))
        majority = builder.or_(builder.and_(a, b), builder.and_(c, builder.or_(a, b)))
        t2 = add(majority, rotate_xor(a, 2, 13, 22))
        a, b, c, d, e, f, g, h = add(t1, t2), a, b, c, add(d, t1), e, f, g
    return [builder.add(old, new) for old, new in zip(state, (a, b, c, d, e, f, g, h), strict=True)]


@intrinsic
def compress_lanes(typingctx: Any, blocks: Any, digests: Any) -> Any:
    """Hashes 16 one-block messages: `blocks` uint32 [16 words * 16 lanes] to `digests` uint32 [8 words * 16 lanes]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointers = [
            element_pointer(context, builder, kind, array, ir.Constant(ir.IntType(64), 0), _LANES)
            for kind, array in zip(signature.args, args, strict=True)
        ]
        schedule = [builder.load(builder.gep(pointers[0], [_I32(i)]), align=4) for i in range(16)]
        start = [ir.Constant(_LANES, [word] * LANES) for word in START]
        for i, word in enumerate(_emit_rounds(builder, start, schedule)):
            builder.store(word, builder.gep(pointers[1], [_I32(i)]), align=4)
        return context.get_dummy_value()

    return types.void(blocks, digests), codegen


@numba.njit
def _rotate(word: np.uint32, bits: int) -> np.uint32:
    return word >> np.uint32(bits) | word << np.uint32(32 - bits)


@numba.njit
def _compress_block(state: Words, schedule: Words) -> None:
    """Section 6.2.2 of FIPS 180-4: takes the first 16 words of `schedule`, uint32 [64], into `state`, uint32 [8]."""
    for i in range(16, 64):
        x, y = schedule[i - 15], schedule[i - 2]
        s0 = _rotate(x, 7) ^ _rotate(x, 18) ^ x >> np.uint32(3)
        s1 = _rotate(y, 17) ^ _rotate(y, 19) ^ y >> np.uint32(10)
        schedule[i] = schedule[i - 16] + s0 + schedule[i - 7] + s1
    a, b, c, d, e, f, g, h = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    for i in range(64):
        s1 = _rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)
        t1 = np.uint32(h + s1 + (g ^ e & (f ^ g)) + _ROUNDS[i] + schedule[i])
        s0 = _rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)
        t2 = np.uint32(s0 + (a & b | c & (a | b)))
        a, b, c, d, e, f, g, h = np.uint32(t1 + t2), a, b, c, np.uint32(d + t1), e, f, g
    for i, word in enumerate((a, b, c, d, e, f, g, h)):
        state[i] += word


@numba.njit
def _big_endian(message: Bytes, position: int) -> np.uint32:
    return (
        np.uint32(message[position]) << np.uint32(24)
        | np.uint32(message[position + 1]) << np.uint32(16)
        | np.uint32(message[position + 2]) << np.uint32(8)
        | np.uint32(message[position + 3])
    )


@numba.njit
def clear_lane(messages: Bytes, lane: int) -> None:
    """Zeros lane `lane` of `messages`, uint8 [LANES * LANE_STRIDE], before its message is written at its start."""
    for i in range(0, LANE_STRIDE, 8):
        store64(messages, lane * LANE_STRIDE + i, np.uint64(0))


@numba.njit
def finish_lane(messages: Bytes, lane: int, size: int) -> None:
    """Pads the message of `size` <= MAX_LANE_BYTES bytes, with zeros after it."""
    start = lane * LANE_STRIDE
    messages[start + size] = 0x80
    messages[start + BLOCK_BYTES - 2] = np.uint8(size >> 5)
    messages[start + BLOCK_BYTES - 1] = np.uint8((size & 31) << 3)


@numba.njit
def sha256_lanes(messages: Bytes, blocks: Words, digests: Words) -> None:
    """Hashes the 16 padded messages.

    Args:
        messages: uint8 [LANES * LANE_STRIDE].
        blocks: uint32 [16, LANES], scratch.
        digests: uint32 [8, LANES], the result: in each column a digest's words, the most significant first.
    """
    for i in range(16):
        for lane in range(LANES):
            blocks[i, lane] = _big_endian(messages, lane * LANE_STRIDE + 4 * i)
    compress_lanes(blocks, digests)


@numba.njit
def sha256(message: Bytes, size: int, digests: Words) -> None:
    """Writes the digest of message[:size], of any size, to column 0 of `digests`, uint32 [8, LANES].

    `message` is uint8 with room for MAX_PADDING bytes more, which are overwritten.
    """
    padded = (size + 72) // BLOCK_BYTES * BLOCK_BYTES
    message[size] = 0x80
    for i in range(size + 1, padded):
        message[i] = 0
    for i in range(8):
        message[padded - 1 - i] = np.uint8((size << 3 >> (8 * i)) & 0xFF)
    state = np.empty(8, np.uint32)
    schedule = np.empty(64, np.uint32)
    for i in range(8):
        state[i] = START[i]
    for position in range(0, padded, BLOCK_BYTES):
        for i in range(16):
            schedule[i] = _big_endian(message, position + 4 * i)
        _compress_block(state, schedule)
    for i in range(8):
        digests[i, 0] = state[i]
