"""Tokens by their bytes, compared byte by byte: for tokenizers that take a piece which is a token as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel

NO_ID: Final = -1
_SPREAD: Final = np.uint64(0x100_0000_01B3)
_SEED: Final = np.uint64(0xCBF2_9CE4_8422_2325)


class Vocabulary(NamedTuple):
    """Tokens in an open hash table.

    Attributes:
        table: int32: number of the token that stands at a place, -1 where there is none. Never full.
        begins: int64: where the bytes of each token begin, and one past the last.
        data: uint8: the bytes.
        ids: int32: of each token.
    """

    table: npt.NDArray[np.int32]
    begins: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int32]


def vocabulary_of(tokens: Mapping[bytes, int]) -> Vocabulary:
    """The table of some tokens with their ids."""
    begins = np.zeros(len(tokens) + 1, np.int64)
    np.cumsum([len(token) for token in tokens], out=begins[1:])
    data = np.frombuffer(b"".join(tokens), np.uint8) if tokens else np.zeros(0, np.uint8)
    data.flags.writeable = False  # one type for the compiler, whether there are tokens or not
    table = np.full(1 << (2 * len(tokens) + 1).bit_length(), -1, np.int32)
    _fill(table, begins, data)
    return Vocabulary(table, begins, data, np.array(list(tokens.values()), np.int32))


@lean_kernel
def _hash(data: Any, at: Any, stop: Any) -> Any:
    """FNV-1a, folded."""
    found = _SEED
    for place in range(at, stop):
        found = (found ^ np.uint64(data[place])) * _SPREAD
    return np.int64((found ^ (found >> np.uint64(29))) >> np.uint64(1))


@kernel
def _fill(table: Any, begins: Any, data: Any) -> None:
    last = len(table) - 1
    for number in range(len(begins) - 1):
        at = _hash(data, begins[number], begins[number + 1]) & last
        while table[at] >= 0:
            at = (at + 1) & last
        table[at] = number


@lean_kernel
def id_of(vocabulary: Any, data: Any, at: Any, size: Any) -> Any:
    """The id of the token that is a stretch of bytes, or `NO_ID`."""
    last = len(vocabulary.table) - 1
    slot = _hash(data, at, at + size) & last
    while vocabulary.table[slot] >= 0:
        number = vocabulary.table[slot]
        begin = vocabulary.begins[number]
        if vocabulary.begins[number + 1] - begin == size:
            same = 0
            while same < size and vocabulary.data[begin + same] == data[at + same]:
                same += 1
            if same == size:
                return np.int64(vocabulary.ids[number])
        slot = (slot + 1) & last
    return np.int64(NO_ID)
