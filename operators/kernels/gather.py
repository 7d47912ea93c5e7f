"""Pieces of one array in another order: what a shuffle of documents copies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@kernel
def gather(data: Bytes, starts: Ints, order: Ints, first: int, stop: int, out: Bytes) -> int:
    """Copy the pieces `order[first:stop]` of `data` one after the other to the front of `out`; returns the bytes copied.

    Piece `i` is `data[starts[i]:starts[i + 1]]`. `starts` must grow within `data`, `order` name pieces, and `out` have room.
    """
    at = 0
    for position in range(first, stop):
        piece = order[position]
        begin, end = starts[piece], starts[piece + 1]
        for source in range(begin, end):
            out[at] = data[source]
            at += 1
    return at
