"""The door between Arrow and kernels: offsets and bytes of a text column, checked, and columns made of them. Imports no compiler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


class InvalidOffsetsError(ValueError):
    """A text column's offsets go backwards or beyond its data: it was not made by Arrow, and nothing may look into it."""


def check_offsets(values: pa.Array, name: str) -> None:
    """Refuse a column of strings or binaries whose offsets go backwards; Arrow's own functions would read and write anywhere.

    Raises:
        InvalidOffsetsError: Offsets go backwards or beyond the data.
    """
    if pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type):
        _bounds(values, np.int64, repr(name))
    elif pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        _bounds(values, np.int32, repr(name))


def text_buffers(values: pa.LargeStringArray) -> tuple[Offsets, Bytes]:
    """The offsets and bytes of a column of large strings or large binaries, read only and without a copy.

    Row `i` is `data[offsets[i]:offsets[i + 1]]`. Of a slice the offsets do not begin at zero. A null row may have any extent.

    Raises:
        InvalidOffsetsError: Offsets go backwards or beyond the data.
    """
    offsets, data = _bounds(values, np.int64, "of texts")
    # One type for the compiler, whoever made the buffers.
    data.flags.writeable = False
    offsets.flags.writeable = False
    return offsets, data


def _bounds(values: pa.Array, kind: type[np.integer[Any]], name: str) -> tuple[npt.NDArray[Any], Bytes]:
    """The offsets, of a kind of integer, and bytes of a column, if the ones grow within the others."""
    num_rows, width = len(values), np.dtype(kind).itemsize
    _, offset_buffer, data_buffer = values.buffers()
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None and data_buffer.size else np.zeros(0, np.uint8)
    offsets = np.frombuffer(offset_buffer, kind, num_rows + 1, values.offset * width) if num_rows else np.zeros(1, kind)
    if offsets[0] < 0 or offsets[-1] > len(data) or (offsets[1:] < offsets[:-1]).any():
        raise InvalidOffsetsError(
            f"column {name}: the offsets of its {num_rows} rows do not grow from 0 to at most {len(data)}; expected what Arrow's own "
            "functions make; make the column, or write the file, again"
        )
    return offsets, data


def stretches(text: pa.LargeStringArray, size: int) -> Iterator[tuple[int, int]]:
    """The rows of a column without nulls in stretches of at most so many bytes, a longer text by itself: first row, one past the last."""
    ends = np.cumsum(pc.binary_length(text).to_numpy(zero_copy_only=False))
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
        yield start, stop
        start = stop


def text_array(offsets: Offsets, data: Bytes, like: pa.LargeStringArray) -> pa.LargeStringArray:
    """A text column of offsets that begin at zero and their bytes, null where `like` is."""
    found = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data[: int(offsets[-1])]))
    if like.null_count == 0:
        return found
    mask = like.is_null()
    return pa.LargeStringArray.from_buffers(
        len(found), *found.buffers()[1:], pa.array(np.logical_not(mask.to_numpy(zero_copy_only=False))).buffers()[1]
    )
