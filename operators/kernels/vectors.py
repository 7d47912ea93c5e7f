"""Sums of rows of 16-bit integers, a cache line at a time, in vectors whatever the compiler's own vectorizer makes of a loop.

LLVM maps a vector of 32 numbers onto those that the processor has. Products and sums are not fused, so that every processor gives the
same bits.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE: Final = 32
"""16-bit integers in a cache line of 64 bytes."""
TOGETHER: Final = 10
"""Rows that `add_ten` adds before their sum is widened: it must fit 16 bits."""

_SHORTS = ir.VectorType(ir.IntType(16), LINE)
_FLOATS = ir.VectorType(ir.FloatType(), LINE)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def _vector(builder: Any, pointer: Any, kind: Any, align: int) -> Any:
    found = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    found.align = align
    return found


def _accumulate(context: Any, builder: Any, kind: Any, sums: Any, out: Any, shorts: Any, factor: Any) -> None:
    """sums[out:out + LINE] += factor * shorts."""
    place = builder.bitcast(_address(context, builder, kind, sums, out), _FLOATS.as_pointer())
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LINE), [0] * LINE)
    product = builder.fmul(builder.uitofp(shorts, _FLOATS), builder.shuffle_vector(one, one, mask))
    before = builder.load(place)
    before.align = 4
    builder.store(builder.fadd(before, product), place).align = 4


@intrinsic
def add_ten(typing_context: Any, weights: Any, base: Any, rows: Any, at: Any, factor: Any, sums: Any, out: Any) -> Any:  # noqa: ARG001
    """`sums[out:out + LINE] += factor * (the sum of lines rows[at:at + TOGETHER] of weights from base on)`.

    Needs uint16 weights and uint32 rows, a float32 factor and sums, int64 places. Nothing is checked.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, base, rows, at, factor, sums, out = arguments
        kinds = signature.args
        total = None
        for i in range(TOGETHER):
            place = builder.add(at, ir.Constant(at.type, i))
            row = builder.zext(builder.load(_address(context, builder, kinds[2], rows, place)), ir.IntType(64))
            index = builder.add(base, builder.mul(row, ir.Constant(ir.IntType(64), LINE)))
            line = _vector(builder, _address(context, builder, kinds[0], weights, index), _SHORTS, 2)
            total = line if total is None else builder.add(total, line)
        _accumulate(context, builder, kinds[5], sums, out, total, factor)
        return context.get_dummy_value()

    return types.void(weights, types.int64, rows, types.int64, types.float32, sums, types.int64), code


@intrinsic
def add_line(typing_context: Any, weights: Any, index: Any, factor: Any, sums: Any, out: Any) -> Any:  # noqa: ARG001
    """`sums[out:out + LINE] += factor * weights[index:index + LINE]`, of the types of `add_ten`. Nothing is checked."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, index, factor, sums, out = arguments
        kinds = signature.args
        line = _vector(builder, _address(context, builder, kinds[0], weights, index), _SHORTS, 2)
        _accumulate(context, builder, kinds[3], sums, out, line, factor)
        return context.get_dummy_value()

    return types.void(weights, types.int64, types.float32, sums, types.int64), code


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:  # noqa: ARG001
    """Ask for the cache line of an item that will be needed soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments)
        byte = builder.bitcast(pointer, cgutils.voidptr_t)
        word = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, word, word, word]), "llvm.prefetch.p0"
        )
        builder.call(function, [byte, ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), code
