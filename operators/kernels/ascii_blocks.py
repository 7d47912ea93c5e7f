"""64 bytes at a time: what kind of character each byte is, as bits of a word, and the bits read out.

LLVM maps the vectors onto those that the processor has. Nothing here is checked: the caller knows that the bytes exist.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types as numba_types
from numba.extending import intrinsic

types: Any = numba_types
BLOCK_BYTES: Final = 64
_BYTES = ir.VectorType(ir.IntType(8), BLOCK_BYTES)
_BITS = ir.IntType(BLOCK_BYTES)


def _all(value: int) -> Any:
    return ir.Constant(_BYTES, [value] * BLOCK_BYTES)


def _within(builder: Any, block: Any, first: str, count: int) -> Any:
    """Which bytes are one of `count` characters from a first one on."""
    return builder.icmp_unsigned("<", builder.sub(block, _all(ord(first))), _all(count))


def _spread(builder: Any, byte: Any) -> Any:
    """The byte in every place of a vector."""
    one = builder.insert_element(ir.Constant(_BYTES, ir.Undefined), byte, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK_BYTES), [0] * BLOCK_BYTES))


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _BYTES.as_pointer())


@intrinsic
def fold_block(typing_context: Any, data: Any, at: Any, out: Any, place: Any, letter_bits: Any, digit_bits: Any) -> Any:  # noqa: ARG001
    """Copy 64 bytes to a place, with `letter_bits` set in letters of ASCII and `digit_bits` cleared in its digits.

    With 0x20 letters become lower case, with 0x0F digits become "0".

    Returns:
        Six uint64, a bit for each byte: letters, digits, underscores, white space (`str.isspace`), full stops and commas, bytes that
        are not ASCII.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = builder.load(_place(context, builder, signature.args[0], *arguments[:2]))
        block.align = 1
        letter = _within(builder, builder.or_(block, _all(0x20)), "a", 26)
        digit = _within(builder, block, "0", 10)
        folded = builder.or_(block, builder.and_(builder.sext(letter, _BYTES), _spread(builder, arguments[4])))
        folded = builder.and_(folded, builder.not_(builder.and_(builder.sext(digit, _BYTES), _spread(builder, arguments[5]))))
        builder.store(folded, _place(context, builder, signature.args[2], *arguments[2:4])).align = 1
        kinds = (
            letter,
            digit,
            builder.icmp_unsigned("==", block, _all(ord("_"))),
            builder.or_(_within(builder, block, "\t", 5), _within(builder, block, "\x1c", 5)),
            builder.or_(builder.icmp_unsigned("==", block, _all(ord("."))), builder.icmp_unsigned("==", block, _all(ord(",")))),
            builder.icmp_signed("<", block, _all(0)),
        )
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(kind, _BITS) for kind in kinds])

    return types.UniTuple(types.uint64, 6)(data, types.int64, out, types.int64, types.uint8, types.uint8), code


@intrinsic
def lowest_bit(typing_context: Any, bits: Any) -> Any:  # noqa: ARG001
    """Number of the lowest bit that is set, as int64; 64 if none is."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), code


@intrinsic
def above_highest_bit(typing_context: Any, bits: Any) -> Any:  # noqa: ARG001
    """One more than the number of the highest bit that is set, as int64; 0 if none is."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))
        return builder.sub(ir.Constant(_BITS, BLOCK_BYTES), zeros)

    return types.int64(types.uint64), code


@intrinsic
def num_bits(typing_context: Any, bits: Any) -> Any:  # noqa: ARG001
    """How many bits are set, as int64."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), code
