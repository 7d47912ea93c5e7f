"""128-bit hashes of Arrow columns: MurmurHash3 x64_128 over offsets and bytes, and one key from several columns.

The encoding is canonical: equal values give equal hashes whatever the width of their type, the slicing of the array or the batch that
they came in. It is part of what runs leave for each other (`history`), so it never changes without a new name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from operators.kernels.buffers import text_buffers
from operators.kernels.jit import kernel
from operators.kernels.lines import load64

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

C1, C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
ADD1, ADD2 = np.uint64(0x52DCE729), np.uint64(0x38495AB5)
MIX1, MIX2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
FIVE = np.uint64(5)

# What kind of value a digest stands for, so that 1, 1.0, true, "1" and null are five different values.
TAG_NULL, TAG_INTEGER, TAG_FLOAT, TAG_BOOLEAN, TAG_STRING, TAG_BINARY = (np.uint64(tag) for tag in range(6))


class UnhashableError(TypeError):
    """A column of this type has no canonical encoding here."""


@dataclass(frozen=True, slots=True)
class Digest:
    """128 bits that stand for each value of a column: fixed-width values themselves, the hash of longer ones; zero where null."""

    tag: np.uint64
    hi: U64
    lo: U64
    valid: Bools


@njit(nogil=True, inline="always")
def _rotl(x: np.uint64, bits: int) -> np.uint64:
    return np.uint64((x << np.uint64(bits)) | (x >> np.uint64(64 - bits)))


@njit(nogil=True, inline="always")
def _mix(x: np.uint64) -> np.uint64:
    x ^= x >> np.uint64(33)
    x *= MIX1
    x ^= x >> np.uint64(33)
    x *= MIX2
    return np.uint64(x ^ (x >> np.uint64(33)))


@njit(nogil=True, inline="always")
def _block(h1: np.uint64, h2: np.uint64, k1: np.uint64, k2: np.uint64) -> tuple[np.uint64, np.uint64]:
    h1 ^= _rotl(k1 * C1, 31) * C2
    h1 = (_rotl(h1, 27) + h2) * FIVE + ADD1
    h2 ^= _rotl(k2 * C2, 33) * C1
    h2 = (_rotl(h2, 31) + h1) * FIVE + ADD2
    return h1, h2


@njit(nogil=True, inline="always")
def _finish(h1: np.uint64, h2: np.uint64, num_bytes: np.uint64) -> tuple[np.uint64, np.uint64]:
    h1 ^= num_bytes
    h2 ^= num_bytes
    h1 += h2
    h2 += h1
    h1 = _mix(h1)
    h2 = _mix(h2)
    h1 += h2
    h2 += h1
    return h1, h2


@kernel
def murmur128(data: npt.NDArray[np.uint8], start: int, stop: int) -> Any:
    """MurmurHash3 x64_128 with seed 0 of `data[start:stop]`, as two 64-bit words in the reference's order."""
    h1, h2 = np.uint64(0), np.uint64(0)
    at = start
    while at + 16 <= stop:
        h1, h2 = _block(h1, h2, load64(data, at), load64(data, at + 8))
        at += 16
    k1, k2 = np.uint64(0), np.uint64(0)
    for i in range(stop - 1, at - 1, -1):
        byte = np.uint64(data[i])
        if i - at >= 8:
            k2 = (k2 << np.uint64(8)) | byte
        else:
            k1 = (k1 << np.uint64(8)) | byte
    h2 ^= _rotl(k2 * C2, 33) * C1
    h1 ^= _rotl(k1 * C1, 31) * C2
    return _finish(h1, h2, np.uint64(stop - start))


@kernel
def _hash_slices(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8], valid: Bools) -> tuple[U64, U64]:
    num_rows = len(offsets) - 1
    first = np.zeros(num_rows, np.uint64)
    second = np.zeros(num_rows, np.uint64)
    for row in range(num_rows):
        if valid[row]:
            first[row], second[row] = murmur128(data, offsets[row], offsets[row + 1])
    return first, second


@kernel
def _fold(first: U64, second: U64, tag: np.uint64, hi: U64, lo: U64, valid: Bools) -> None:
    """Replace each row's state by the hash of (state, tag, value): six words, so that no two sequences of values read alike."""
    for row in range(len(first)):
        h1, h2 = np.uint64(0), np.uint64(0)
        h1, h2 = _block(h1, h2, first[row], second[row])
        h1, h2 = _block(h1, h2, tag if valid[row] else np.uint64(0), hi[row])
        h1, h2 = _block(h1, h2, lo[row], np.uint64(0))
        first[row], second[row] = _finish(h1, h2, np.uint64(48))


def hash_bytes(values: pa.Array) -> tuple[U64, U64]:
    """MurmurHash3 x64_128 (seed 0) of each string or binary value, zero where null; the two words in the reference's order."""
    values = _large(values)
    hashes: tuple[U64, U64] = _hash_slices(*text_buffers(values), _valid(values))
    return hashes


def digest(values: pa.Array) -> Digest:
    """128 bits for each value of a column, and the tag of its kind.

    Integers of any width are the same values, as are strings of any Arrow layout, floats of any width (-0.0 is 0.0, every NaN the same)
    and dictionary-encoded values. Dates, times and decimals are told apart by their full type.

    Raises:
        UnhashableError: The column is nested.
    """
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    kind = values.type
    valid = _valid(values)
    if pa.types.is_null(kind):
        return Digest(TAG_NULL, np.zeros(len(values), np.uint64), np.zeros(len(values), np.uint64), valid)
    if _is_bytes(kind):
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        return Digest(TAG_STRING if is_text else TAG_BINARY, *hash_bytes(values), valid)
    if pa.types.is_decimal(kind):
        return Digest(_tag_of(kind), *hash_bytes(pc.cast(values, pa.large_string())), valid)
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        ticks = pc.cast(values, pa.int32() if kind.bit_width == 32 else pa.int64())
        return Digest(_tag_of(kind), *_words(ticks), valid)
    return _fixed_width(values, valid)


def combine(columns: list[pa.Array]) -> tuple[U64, U64]:
    """One 128-bit key for each row, from the values of one or more columns in their order; a null is a value unlike any other.

    Raises:
        UnhashableError: A column is nested.
    """
    num_rows = len(columns[0])
    first, second = np.zeros(num_rows, np.uint64), np.zeros(num_rows, np.uint64)
    for column in columns:
        part = digest(column)
        _fold(first, second, part.tag, part.hi, part.lo, part.valid)
    return first, second


def _fixed_width(values: pa.Array, valid: Bools) -> Digest:
    kind = values.type
    if pa.types.is_floating(kind):
        numbers = pc.fill_null(pc.cast(values, pa.float64()), 0.0).to_numpy(zero_copy_only=False) + 0.0  # -0.0 becomes 0.0
        bits = np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)
        return Digest(TAG_FLOAT, np.zeros(len(bits), np.uint64), bits, valid)
    if pa.types.is_boolean(kind):
        bits = pc.fill_null(values, False).to_numpy(zero_copy_only=False).astype(np.uint64)
        return Digest(TAG_BOOLEAN, np.zeros(len(bits), np.uint64), bits, valid)
    if pa.types.is_integer(kind):
        return Digest(TAG_INTEGER, *_words(values), valid)
    raise UnhashableError(f"values of type {kind} cannot be compared by hash")


def _words(integers: pa.Array) -> tuple[U64, U64]:
    """Two's complement in 128 bits: the upper word tells -1 from 2**64 - 1."""
    numbers = pc.fill_null(integers, pa.scalar(0, integers.type)).to_numpy(zero_copy_only=False)
    if integers.type == pa.uint64():
        return np.zeros(len(numbers), np.uint64), numbers
    wide = numbers.astype(np.int64)
    return (wide >> 63).view(np.uint64), wide.view(np.uint64)


def _tag_of(kind: pa.DataType) -> np.uint64:
    """A tag of its own for a type that is not one of the plain ones, from the type's name; above all the fixed tags."""
    return np.uint64(hash_bytes(pa.array([str(kind)]))[0][0] | np.uint64(1 << 63))


def _large(values: pa.Array) -> pa.Array:
    kind = values.type
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return values
    if pa.types.is_fixed_size_binary(kind):
        values = pc.cast(values, pa.binary())  # there is no direct cast to large_binary
    is_text = pa.types.is_string(kind) or pa.types.is_string_view(kind)
    return pc.cast(values, pa.large_string() if is_text else pa.large_binary())


def _is_bytes(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(test(kind) for test in tests)


def _valid(values: pa.Array) -> Bools:
    if values.null_count == 0:
        return np.ones(len(values), np.bool_)
    valid: Bools = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return valid
