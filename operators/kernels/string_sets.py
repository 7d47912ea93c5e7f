"""Sets of millions of byte strings in 21 bytes each: 128-bit fingerprints in an open hash table, no string kept.

Strings of several kinds may lie in one table: the second half of a fingerprint is combined with the kind by exclusive or.

Two strings that differ are taken for the same with a chance of 2**-128 a pair: for 10**7 entries and 10**12 questions, below 10**-19.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.hashing import murmur128
from operators.kernels.jit import kernel

U64 = npt.NDArray[np.uint64]

LOAD = 0.75
"""Share of the slots that is filled: 16 / 0.75 bytes an entry, and about 8.5 probes for a string that is absent."""


class StringSet(NamedTuple):
    """The table: the two halves of a fingerprint by slot, both zero where a slot is free. Read only, and never full."""

    first: U64
    second: U64


@kernel
def slot_of(strings: Any, first: Any, second: Any) -> Any:
    """The slot of a fingerprint, or -1 where it is absent."""
    size = np.uint64(len(strings.first))
    at = np.int64(((first >> np.uint64(32)) * size) >> np.uint64(32))
    while strings.first[at] != 0 or strings.second[at] != 0:
        if strings.first[at] == first and strings.second[at] == second:
            return at
        at += 1
        if at == np.int64(size):
            at = np.int64(0)
    return -1


@kernel
def find(strings: Any, data: Any, start: Any, stop: Any, kind: Any) -> Any:
    """The slot of `data[start:stop]` among the strings of a kind, or -1 where it is absent; so is the empty string always."""
    if stop <= start:
        return -1
    first, second = murmur128(data, start, stop)
    return slot_of(strings, first, second ^ np.uint64(kind))


@kernel
def _fill(table_first: Any, table_second: Any, first: Any, second: Any) -> None:
    size = np.uint64(len(table_first))
    for each in range(len(first)):
        at = np.int64(((first[each] >> np.uint64(32)) * size) >> np.uint64(32))
        while table_first[at] != 0 or table_second[at] != 0:
            if table_first[at] == first[each] and table_second[at] == second[each]:
                break
            at += 1
            if at == np.int64(size):
                at = np.int64(0)
        table_first[at] = first[each]
        table_second[at] = second[each]


@kernel
def _slots(strings: Any, first: Any, second: Any, found: Any) -> None:
    for each in range(len(first)):
        found[each] = slot_of(strings, first[each], second[each])


def slots_of(strings: StringSet, first: U64, second: U64) -> npt.NDArray[np.int64]:
    """The slot of each fingerprint, or -1 where it is absent."""
    found = np.empty(len(first), np.int64)
    _slots(strings, first, second, found)
    return found


def string_set(first: U64, second: U64) -> StringSet:
    """The set of some fingerprints (the words of `murmur128`, the second one with the kind), of which some may be equal."""
    size = int(len(first) / LOAD) + 1
    table = StringSet(np.zeros(size, np.uint64), np.zeros(size, np.uint64))
    if len(first):
        _fill(table.first, table.second, first, second)
    for half in table:
        half.flags.writeable = False
    return table
