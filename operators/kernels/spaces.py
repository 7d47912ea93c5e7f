"""White space over Arrow's offsets and bytes: every run of it one space, none at the ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.kernels.buffers import text_buffers
from operators.kernels.jit import kernel

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
SPACE = np.uint8(32)


def _kinds() -> Bytes:
    """What a byte says by itself: 1 is white space, 2 may begin some of several bytes, 0 neither."""
    kinds = np.zeros(256, np.uint8)
    kinds[[*range(9, 14), *range(28, 33)]] = 1
    kinds[[0xC2, 0xE1, 0xE2, 0xE3]] = 2
    return kinds


KINDS = _kinds()


@kernel
def _longer_space(data: Bytes, at: int, stop: int) -> int:
    """Length in bytes of the white-space character of several bytes at a place, 0 if there is another one."""
    first = data[at]
    if first == 0xC2:
        return 2 if at + 1 < stop and (data[at + 1] == 0x85 or data[at + 1] == 0xA0) else 0
    if at + 2 >= stop:
        return 0
    second, third = data[at + 1], data[at + 2]
    if first == 0xE2 and second == 0x80:
        return 3 if 0x80 <= third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
    is_other = (first == 0xE1 and second == 0x9A and third == 0x80) or (first == 0xE2 and second == 0x81 and third == 0x9F)
    return 3 if is_other or (first == 0xE3 and second == 0x80 and third == 0x80) else 0


@kernel
def _collapse(offsets: Offsets, data: Bytes, out_offsets: Offsets, out: Bytes) -> Any:
    """Copy word by word; the white space is what `str.split()` splits at."""
    end = 0
    for row in range(len(offsets) - 1):
        start, at, stop = end, offsets[row], offsets[row + 1]
        pending = False
        while at < stop:
            kind = KINDS[data[at]]
            size = 0 if kind == 0 else 1 if kind == 1 else _longer_space(data, at, stop)
            if size:
                pending = True
                at += size
                continue
            if pending and end > start:
                out[end] = SPACE
                end += 1
            pending = False
            out[end] = data[at]
            end += 1
            at += 1
            while at < stop and KINDS[data[at]] == 0:
                out[end] = data[at]
                end += 1
                at += 1
        out_offsets[row + 1] = end
    return end


def collapse_spaces(values: pa.LargeStringArray) -> pa.LargeStringArray:
    """Each text as `" ".join(text.split())` has it; nulls stay null."""
    num_rows = len(values)
    if num_rows == 0:
        return values
    offsets, data = text_buffers(values)
    out_offsets = np.zeros(num_rows + 1, np.int64)
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    size = _collapse(offsets, data, out_offsets, out)
    found = pa.LargeStringArray.from_buffers(num_rows, pa.py_buffer(out_offsets), pa.py_buffer(out[:size]))
    return found if values.null_count == 0 else pc.if_else(pc.is_valid(values), found, pa.scalar(None, pa.large_string()))
