"""Sums of rows of small integers in vectors, whatever the compiler's own vectorizer makes of a loop.

LLVM maps a vector onto those that the processor has. Products and sums are not fused, so that every processor gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE_BYTES: Final = 64
"""A cache line."""
TOGETHER: Final = 10
"""Rows that are added before their sum is widened: it must fit 16 bits."""


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index])


def _vector(builder: Any, pointer: Any, kind: Any, align: int) -> Any:
    found = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    found.align = align
    return found


def _accumulate(builder: Any, total: Any, shorts: Any, factor: Any) -> None:
    """Add factor * shorts to the total."""
    floats = total.type.pointee
    one = builder.insert_element(ir.Constant(floats, ir.Undefined), factor, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), floats.count), [0] * floats.count)
    product = builder.fmul(builder.uitofp(shorts, floats), builder.shuffle_vector(one, one, mask))
    builder.store(builder.fadd(builder.load(total), product), total)


def _sum_of_rows(context: Any, builder: Any, kinds: Any, arguments: Any, lanes: int, step: int) -> Any:
    """sums[out:out + lanes] += the sum over groups of `step` rows; the total stays in registers meanwhile."""
    weights, base, rows, begin, end, factors, sums, out = arguments
    bits = kinds[0].dtype.bitwidth
    shorts, floats = ir.VectorType(ir.IntType(16), lanes), ir.VectorType(ir.FloatType(), lanes)
    place = builder.bitcast(_address(context, builder, kinds[6], sums, out), floats.as_pointer())
    total = cgutils.alloca_once(builder, floats)
    before = builder.load(place)
    before.align = 4
    builder.store(before, total)
    width = ir.IntType(64)
    with cgutils.for_range_slice(builder, begin, end, ir.Constant(width, step), width) as (at, _):
        group = None
        for i in range(step):
            row = builder.load(_address(context, builder, kinds[2], rows, builder.add(at, ir.Constant(width, i))))
            index = builder.add(base, builder.mul(builder.zext(row, width), ir.Constant(width, lanes)))
            line = _vector(builder, _address(context, builder, kinds[0], weights, index), ir.VectorType(ir.IntType(bits), lanes), bits // 8)
            line = builder.zext(line, shorts) if bits < 16 else line
            group = line if group is None else builder.add(group, line)
        factor = factors if step > 1 else builder.load(_address(context, builder, kinds[5], factors, at))
        _accumulate(builder, total, group, factor)
    builder.store(builder.load(total), place).align = 4
    return context.get_dummy_value()


def row_adder(lanes: int, *, together: bool) -> Callable[..., None]:
    """The function that adds rows of `lanes` numbers: `add(weights, base, rows, begin, end, factor, sums, out)`.

    It does `sums[out:out + lanes] += factor * (the sum of the rows[begin:end] of weights from base on)`, with `together` for whole
    groups of `TOGETHER` rows with one factor, else with one of `factors[begin:end]` for each row. Weights are uint8 or uint16, rows uint32,
    factors and sums float32, places int64. Nothing is checked.
    """

    @intrinsic
    def add(typing_context: Any, weights: Any, base: Any, rows: Any, begin: Any, end: Any, factors: Any, sums: Any, out: Any) -> Any:  # noqa: ARG001
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _sum_of_rows(context, builder, signature.args, arguments, lanes, TOGETHER if together else 1)

        place = types.int64
        return types.void(weights, place, rows, place, place, types.float32 if together else factors, sums, place), code

    return add


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
