"""What fastText's sums are made of: sixteen floats at a time from any address, remainders without a division, bits counted.

Numba itself would check at each call whether the rows overlap, and vectorizes no loop as short as these.
"""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from operators.kernels.lean import lean_kernel

LANES: Final = 16
LINE_BYTES: Final = 64
AHEAD: Final = 6
"""Rows that are on their way from memory at once."""

_LINE = ir.VectorType(ir.FloatType(), LANES)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any, target: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), target.as_pointer())


def _accumulate(context: Any, builder: Any, kinds: Any, arguments: Any, target: Any) -> Any:
    """sums[out] += the floats at an address, as many as the target type has."""
    sums, out, source, begin = arguments
    place = _pointer(context, builder, kinds[0], sums, out, target)
    other = builder.load(_pointer(context, builder, kinds[2], source, begin, target))
    before = builder.load(place)
    other.align = before.align = 4 if kinds[2].dtype == types.float32 else 1
    before.align = 4
    builder.store(builder.fadd(before, other), place).align = 4
    return context.get_dummy_value()


@intrinsic
def _add_line(typing_context: Any, sums: Any, out: Any, source: Any, begin: Any) -> Any:  # noqa: ARG001
    """Add sixteen floats of `source`, which begin at its element `begin`, whatever its type, to float32 `sums[out:]`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _accumulate(context, builder, signature.args, arguments, _LINE)

    return types.void(sums, types.int64, source, types.int64), code


@intrinsic
def _add_one(typing_context: Any, sums: Any, out: Any, source: Any, begin: Any) -> Any:  # noqa: ARG001
    """Add one float."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _accumulate(context, builder, signature.args, arguments, ir.FloatType())

    return types.void(sums, types.int64, source, types.int64), code


@lean_kernel
def add_bytes(sums: Any, out: Any, rows: Any, begin: Any, dim: Any) -> None:
    """`sums[out:out + dim] +=` the floats in the bytes of `rows` from `begin` on, which may lie anywhere. Nothing is checked."""
    i = 0
    while i + LANES <= dim:
        _add_line(sums, out + i, rows, begin + i * 4)
        i += LANES
    while i < dim:
        _add_one(sums, out + i, rows, begin + i * 4)
        i += 1


@lean_kernel
def add_floats(sums: Any, out: Any, other: Any, begin: Any, dim: Any) -> None:
    """`sums[out:out + dim] += other[begin:begin + dim]`, float32."""
    i = 0
    while i + LANES <= dim:
        _add_line(sums, out + i, other, begin + i)
        i += LANES
    while i < dim:
        _add_one(sums, out + i, other, begin + i)
        i += 1


@intrinsic
def _fetch(typing_context: Any, rows: Any, begin: Any) -> Any:  # noqa: ARG001
    """Ask for the cache line of a byte, which will be read soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, flag = ir.IntType(8), ir.IntType(32)
        rows, begin = arguments
        place = _pointer(context, builder, signature.args[0], rows, begin, byte)
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, *(ir.Constant(flag, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(rows, types.int64), code


@lean_kernel
def add_rows(sums: Any, rows: Any, at: Any, dim: Any, numbers: Any, num: Any) -> None:
    """Add rows by their `numbers[:num]` to `sums[:dim]`; row 0 begins at byte `at`. Each is asked for some rows before its turn."""
    size = dim * 4
    for i in range(min(num, AHEAD)):
        for line in range(0, size, LINE_BYTES):
            _fetch(rows, at + numbers[i] * size + line)
    for i in range(num):
        if i + AHEAD < num:
            for line in range(0, size, LINE_BYTES):
                _fetch(rows, at + numbers[i + AHEAD] * size + line)
        add_bytes(sums, 0, rows, at + numbers[i] * size, dim)


@intrinsic
def remainder(typing_context: Any, number: Any, divisor: Any, magic: Any) -> Any:  # noqa: ARG001
    """`number % divisor` of numbers below 2**32; `magic` is 2**64 // divisor, rounded up (Lemire and others, arXiv:1902.01961)."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        number, divisor, magic = arguments
        wide = ir.IntType(128)
        low = builder.zext(builder.mul(magic, number), wide)
        product = builder.mul(low, builder.zext(divisor, wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64, types.uint64), code


@intrinsic
def count_bits(typing_context: Any, number: Any) -> Any:  # noqa: ARG001
    """How many bits of a uint64 are set."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code
