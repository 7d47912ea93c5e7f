"""Stop words: which of some words a text has, by a small hash table for each list of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel


class StopWords(NamedTuple):
    """The stop words of every profile, each in a small hash table of its own.

    Attributes:
        begin: int32, by profile: its first slot.
        mask: int32, by profile: the number of its slots, less one.
        sizes: uint64, by profile: bit n is set if a stop word has n bytes (63: or more).
        slots: int32: the number of a word in `bounds`, -1 where a slot is free.
        bounds: int32, one more than there are words: where each begins in `data`.
        data: uint8, the words' bytes.
    """

    begin: npt.NDArray[np.int32]
    mask: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.uint64]
    slots: npt.NDArray[np.int32]
    bounds: npt.NDArray[np.int32]
    data: npt.NDArray[np.uint8]


def stop_word_tables(profiles: Sequence[Iterable[str]]) -> StopWords:
    """The stop words of each profile, as the kernel looks them up. The empty string is no word."""
    begin: list[int] = []
    masks: list[int] = []
    sizes: list[int] = []
    slots: list[int] = []
    words: list[bytes] = []
    for profile in profiles:
        found = sorted({word.encode("utf-8", "surrogatepass") for word in profile} - {b""})
        mask = (1 << max(2, (4 * len(found) - 1).bit_length())) - 1
        table = [-1] * (mask + 1)
        for word in found:
            slot = _slot(word[0], word[-1], len(word), mask)
            while table[slot] >= 0:
                slot = (slot + 1) & mask
            table[slot] = len(words)
            words.append(word)
        begin.append(len(slots))
        masks.append(mask)
        sizes.append(sum({1 << min(len(word), 63) for word in found}))
        slots.extend(table)
    tables = StopWords(
        np.array(begin, np.int32),
        np.array(masks, np.int32),
        np.array(sizes, np.uint64),
        np.array(slots, np.int32),
        np.cumsum([0, *map(len, words)]).astype(np.int32),
        np.frombuffer(b"".join(words) or b"\0", np.uint8).copy(),
    )
    for array in tables:
        array.flags.writeable = False
    return tables


def _slot(first: Any, last: Any, size: Any, mask: Any) -> Any:
    """Where to begin looking for a word; small numbers, so that Python and the kernel agree."""
    return (first * 37 + last * 101 + size * 11) & mask


_slot_of = lean_kernel(_slot)


@lean_kernel
def num_stop_words(
    stop_words: Any,
    profile: Any,
    data: Any,
    start: Any,
    starts: Any,
    ends: Any,
    num_words: Any,
    enough: Any,
    seen: Any,
    row: Any,
) -> Any:
    """How many different stop words a text has; counting ends at `enough`."""
    found = np.int64(0)
    begin, mask, sizes = np.int64(stop_words.begin[profile]), np.int64(stop_words.mask[profile]), stop_words.sizes[profile]
    for word in range(num_words):
        if found >= enough:
            break
        first, size = start + np.int64(starts[word]), np.int64(ends[word]) - np.int64(starts[word])
        if not (sizes >> np.uint64(min(size, np.int64(63)))) & np.uint64(1):
            continue
        slot = _slot_of(np.int64(data[first]), np.int64(data[first + size - 1]), size, mask)
        while True:
            number = np.int64(stop_words.slots[begin + slot])
            if number < 0:
                break
            at = np.int64(stop_words.bounds[number])
            if stop_words.bounds[number + 1] - at == size and _same(stop_words.data, at, data, first, size):
                found += seen[number] != row
                seen[number] = row
                break
            slot = (slot + 1) & mask
    return found


@lean_kernel
def _same(left: Any, at: Any, right: Any, other: Any, size: Any) -> Any:
    place = np.int64(0)
    while place < size and left[at + place] == right[other + place]:
        place += 1
    return place == size
