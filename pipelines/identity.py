"""Who a document is: its doc_key, 128 bits from (source uri, row).

80 bits of SHA-256 of the uri, then the row in 48 bits: no two rows of a file ever share a key, and two of 10,000,000 files share a prefix
with probability below 1e-10. Keys of one file sort by row and compress to almost nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

DOC_KEY = pa.binary(16)
PREFIX_BYTES = 10


def uri_prefix(uri: str) -> bytes:
    """The first `PREFIX_BYTES` of the keys of a file's documents."""
    return hashlib.sha256(uri.encode()).digest()[:PREFIX_BYTES]


def doc_keys(prefixes: Sequence[bytes], files: npt.NDArray[np.integer], rows: npt.NDArray[np.integer]) -> pa.FixedSizeBinaryArray:
    """Keys of documents: `files` index into `prefixes`, `rows` are rows in the file."""
    table = np.frombuffer(b"".join(prefixes), np.uint8).reshape(len(prefixes), 10) if prefixes else np.zeros((0, 10), np.uint8)
    keys = np.empty((len(rows), 16), np.uint8)
    keys[:, :10] = table[files]
    keys[:, 10:] = rows.astype(">u8").view(np.uint8).reshape(len(rows), 8)[:, 2:]
    return pa.FixedSizeBinaryArray.from_buffers(DOC_KEY, len(rows), [None, pa.py_buffer(keys)])


def hexadecimal(keys: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Keys as 32 lower-case hexadecimal digits."""
    raw = np.frombuffer(keys.buffers()[1], np.uint8)[keys.offset * 16 : (keys.offset + len(keys)) * 16]
    text = _digits(raw)
    offsets = np.arange(0, len(text) + 1, 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(keys), pa.py_buffer(offsets), pa.py_buffer(text))


def _digits(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty(len(raw) * 2, np.uint8)
    text[0::2] = digits[raw >> 4]
    text[1::2] = digits[raw & 15]
    return text


def ids(column: pa.Array | None, keys: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """The users' ids as strings, those of bytes in hexadecimal; where there is none, the key in hexadecimal.

    A list or a struct is no id: an operator may have put one into the column.
    """
    if column is None or pa.types.is_nested(column.type):
        return hexadecimal(keys)
    text = _text(column)
    return pc.coalesce(text, hexadecimal(keys)) if text.null_count else text


def plain_ids(column: pa.Array) -> pa.StringArray:
    """The users' ids of a column that is neither a list nor a struct, as `ids` gives them; null where there is none."""
    return _text(column)


def _text(column: pa.Array) -> pa.StringArray:
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _bytes_text(pc.cast(column, pa.large_binary()))
    return pc.cast(column, pa.string(), safe=False)


def _bytes_text(column: pa.LargeBinaryArray) -> pa.StringArray:
    """Bytes in hexadecimal: as text they need not be UTF-8."""
    _, places, values = column.buffers()
    offsets = np.frombuffer(places, np.int64)[column.offset : column.offset + len(column) + 1] if len(column) else np.zeros(1, np.int64)
    raw = np.frombuffer(values or b"", np.uint8)[offsets[0] : offsets[-1]]
    doubled = pa.py_buffer(np.ascontiguousarray((offsets - offsets[0]) * 2))
    text = pa.LargeStringArray.from_buffers(len(column), doubled, pa.py_buffer(_digits(raw)))
    return pc.cast(pc.if_else(column.is_valid(), text, pa.scalar(None, pa.large_string())), pa.string())
