"""Pieces of one array in another order: what a shuffle of documents copies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


@kernel
def gather(data: Bytes, starts: Ints, width: int, order: Ints, first: int, out: Bytes) -> tuple[int, int]:
    """Copy the pieces that `order` names from `first` on, one after the other, to the front of `out`, as many as it has room for.

    Piece `i` is `data[starts[i] * width:starts[i + 1] * width]`. `starts` must grow within `data`, and `order` name pieces.

    Returns:
        The position in `order` of the first piece that was not copied, and the bytes that were.
    """
    at = 0
    for position in range(first, len(order)):
        piece = order[position]
        begin, end = starts[piece] * width, starts[piece + 1] * width
        if at + end - begin > len(out):
            return position, at
        for source in range(begin, end):
            out[at] = data[source]
            at += 1
    return len(order), at
