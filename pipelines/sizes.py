"""How large a row is: uncompressed Arrow bytes, counted so that they depend on the row's values alone.

Shards are cut by these sizes. Buffers cannot be asked: their padding and their share of a batch depend on how rows were batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Sizes = npt.NDArray[np.int64]
_OFFSETS: dict[pa.DataType, type[np.signedinteger[Any]]] = {
    pa.string(): np.int32,
    pa.binary(): np.int32,
    pa.large_string(): np.int64,
    pa.large_binary(): np.int64,
}


def row_sizes(batch: pa.RecordBatch, columns: Sequence[str]) -> Sizes:
    """Bytes of each row in the columns named: fixed widths, and for variable ones the values and one offset.

    At least 1, so that every row counts.
    """
    total = np.zeros(batch.num_rows, np.int64)
    for name in columns:
        total += array_sizes(batch.column(name))
    return np.maximum(total, 1)


def array_sizes(array: pa.Array) -> Sizes:
    """Bytes of each value of an array; a null costs what its fixed part costs."""
    kind = array.type
    if pa.types.is_null(kind):
        return np.zeros(len(array), np.int64)
    if pa.types.is_dictionary(kind):
        return array_sizes(array.dictionary_decode())
    if isinstance(array, pa.ExtensionArray):
        return array_sizes(array.storage)
    if _is_binary(kind):
        return _lengths(array) + _offset_bytes(kind)
    if _is_list(kind):
        return _list_sizes(array)
    if pa.types.is_fixed_size_list(kind):
        return _fixed_list_sizes(array)
    if pa.types.is_struct(kind):
        fields = [array_sizes(child) for child in array.flatten()]
        return sum(fields, np.zeros(len(array), np.int64))
    return np.full(len(array), max(kind.bit_width // 8, 1), np.int64)


def _is_binary(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(test(kind) for test in (*tests, pa.types.is_string_view, pa.types.is_binary_view))


def _is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_map))


def _offset_bytes(kind: pa.DataType) -> int:
    if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) or pa.types.is_large_list(kind):
        return 8
    return 16 if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind) else 4


def _lengths(array: pa.Array) -> Sizes:
    """Bytes of each value; of offsets the differences, which a small batch has a tenth as soon as from Arrow."""
    width = _OFFSETS.get(array.type)
    if width is None or array.null_count or not len(array):
        lengths = pc.fill_null(pc.binary_length(array), 0)
        return np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)
    offsets = np.frombuffer(array.buffers()[1], width, len(array) + 1, array.offset * np.dtype(width).itemsize)
    return np.diff(offsets).astype(np.int64)


def _list_sizes(array: pa.Array) -> Sizes:
    offsets = np.asarray(array.offsets.to_numpy(zero_copy_only=False), np.int64)
    values = array.values if not pa.types.is_map(array.type) else pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])
    values = values.slice(offsets[0], offsets[-1] - offsets[0])
    fixed = _fixed_width(values.type)
    if fixed is not None:
        inner = np.diff(offsets) * fixed
    else:
        before = np.concatenate([[0], np.cumsum(array_sizes(values))])
        inner = before[offsets[1:] - offsets[0]] - before[offsets[:-1] - offsets[0]]
    if array.null_count:
        inner[np.asarray(pc.is_null(array).to_numpy(zero_copy_only=False))] = 0
    return np.asarray(inner + _offset_bytes(array.type), np.int64)


def _fixed_list_sizes(array: pa.Array) -> Sizes:
    width = array.type.list_size
    values = array.values.slice(array.offset * width, len(array) * width)
    if width == 0:
        return np.zeros(len(array), np.int64)
    return np.asarray(array_sizes(values).reshape(len(array), width).sum(axis=1), np.int64)


def _fixed_width(kind: pa.DataType) -> int | None:
    if pa.types.is_primitive(kind):
        return max(int(kind.bit_width) // 8, 1)
    return None
