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
LINE_BYTES: Final = 64
TOGETHER: Final = 10
"""Rows that `add_tens` adds before their sum is widened: it must fit 16 bits."""

_SHORTS = ir.VectorType(ir.IntType(16), LINE)
_FLOATS = ir.VectorType(ir.FloatType(), LINE)


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def _vector(builder: Any, pointer: Any, kind: Any, align: int) -> Any:
    found = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    found.align = align
    return found


def _accumulate(builder: Any, total: Any, shorts: Any, factor: Any) -> None:
    """Add factor * shorts to the total."""
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), LINE), [0] * LINE)
    product = builder.fmul(builder.uitofp(shorts, _FLOATS), builder.shuffle_vector(one, one, mask))
    builder.store(builder.fadd(builder.load(total), product), total)


def _sum_of_lines(context: Any, builder: Any, kinds: Any, arguments: Any, step: int) -> Any:
    """sums[out:out + LINE] += the sum over groups of `step` rows; the total stays in registers meanwhile."""
    weights, base, rows, begin, end, factors, sums, out = arguments
    place = builder.bitcast(_address(context, builder, kinds[6], sums, out), _FLOATS.as_pointer())
    total = cgutils.alloca_once(builder, _FLOATS)
    before = builder.load(place)
    before.align = 4
    builder.store(before, total)
    width = ir.IntType(64)
    with cgutils.for_range_slice(builder, begin, end, ir.Constant(width, step), width) as (at, _):
        group = None
        for i in range(step):
            row = builder.load(_address(context, builder, kinds[2], rows, builder.add(at, ir.Constant(width, i))))
            index = builder.add(base, builder.mul(builder.zext(row, width), ir.Constant(width, LINE)))
            line = _vector(builder, _address(context, builder, kinds[0], weights, index), _SHORTS, 2)
            group = line if group is None else builder.add(group, line)
        factor = factors if step > 1 else builder.load(_address(context, builder, kinds[5], factors, at))
        _accumulate(builder, total, group, factor)
    builder.store(builder.load(total), place).align = 4
    return context.get_dummy_value()


@intrinsic
def add_tens(typing_context: Any, weights: Any, base: Any, rows: Any, begin: Any, end: Any, factor: Any, sums: Any, out: Any) -> Any:  # noqa: ARG001
    """`sums[out:out + LINE] += factor * (the sum of the lines rows[begin:end] of weights from base on)`, `TOGETHER` lines at a time.

    Needs uint16 weights and uint32 rows, a float32 factor and sums, int64 places; whole groups. Nothing is checked.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _sum_of_lines(context, builder, signature.args, arguments, TOGETHER)

    place = types.int64
    return types.void(weights, place, rows, place, place, types.float32, sums, place), code


@intrinsic
def add_lines(typing_context: Any, weights: Any, base: Any, rows: Any, begin: Any, end: Any, factors: Any, sums: Any, out: Any) -> Any:  # noqa: ARG001
    """`add_tens` with a factor for each line: `factors[begin:end]`, float32."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _sum_of_lines(context, builder, signature.args, arguments, 1)

    place = types.int64
    return types.void(weights, place, rows, place, place, factors, sums, place), code


@intrinsic
def two_bytes(typing_context: Any, data: Any, index: Any) -> Any:  # noqa: ARG001
    """Two bytes of a uint8 array as one uint64, the second one shifted. Nothing is checked."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.bitcast(_address(context, builder, signature.args[0], *arguments), ir.IntType(16).as_pointer())
        found = builder.load(pointer)
        found.align = 1
        return builder.zext(found, ir.IntType(64))

    return types.uint64(data, types.int64), code


@intrinsic
def line_is_ascii(typing_context: Any, data: Any, index: Any) -> Any:  # noqa: ARG001
    """Whether the 64 bytes of a uint8 array from a place on are below 0x80. Nothing is checked."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), LINE_BYTES)
        line = _vector(builder, _address(context, builder, signature.args[0], *arguments), kind, 1)
        high = builder.icmp_signed("<", line, ir.Constant(kind, [0] * LINE_BYTES))
        bits = builder.bitcast(high, ir.IntType(LINE_BYTES))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 0))

    return types.boolean(data, types.int64), code
