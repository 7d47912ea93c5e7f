"""Units: stretches of the inventory, cut so that each is worth a task, known by what goes into them. Pure: no I/O.

A unit is whole row groups, and after a split a range of their rows. Owns the cutting, the keys, and what of its files a unit reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pipelines.commit import Digest, framed
from pipelines.documents import Slice
from pipelines.errors import InputError
from pipelines.inventory import Inventory

MAX_UNITS: Final = 200_000
AUTO_UNIT_BYTES: Final = 128 << 20
"""A unit's uncompressed bytes: about a second's work for fast operators, minutes for slow ones, and 200,000 of them are 25 TB."""
MIN_UNIT_BYTES: Final = 1 << 20
AUTO_UNITS: Final = 64
"""Units that a small input is cut into, so that a few cores are evenly busy."""
MAX_FILES: Final = 1 << 23
IDENTITY_FILES: Final = 1024


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of the inventory.

    Attributes:
        key: Digest of its inputs: uri, etag, row groups and rows of each file.
        first_group: First row group, counted over the inventory; `stop_group` is one past the last.
        skip: Rows of the stretch that are not in the unit, at its front: a split makes such units.
        rows: Rows in the unit.
        bytes: Uncompressed bytes, estimated.
    """

    key: str
    first_group: int
    stop_group: int
    skip: int
    rows: int
    bytes: int


def unit_bytes(setting: int | str, total_bytes: int) -> int:
    """Uncompressed bytes that a unit should have; `auto` keeps a run under 200,000 units."""
    if isinstance(setting, int):
        return setting
    evenly = min(AUTO_UNIT_BYTES, max(MIN_UNIT_BYTES, total_bytes // AUTO_UNITS))
    return max(evenly, -(-total_bytes // (MAX_UNITS // 2)))


def plan_units(inventory: Inventory, target_bytes: int, kept: Sequence[tuple[int, int]] = ()) -> list[Unit]:
    """Cut the inventory into units of about `target_bytes`: several row groups of big files, several small files, a giant row group alone.

    `kept`: stretches (first row group, stop) that are committed as units already and stay as they are; only the rest is cut anew.
    """
    if inventory.num_files > MAX_FILES:
        raise InputError(
            f"the input has {inventory.num_files} files; at most {MAX_FILES} can be planned in one run: pack them, or run in parts"
        )
    stretches: list[tuple[int, int]] = []
    position = 0
    for first, stop in sorted(kept):
        if first < position:
            continue
        stretches += _cut_range(inventory.group_bytes, position, first, target_bytes)
        stretches.append((first, stop))
        position = stop
    stretches += _cut_range(inventory.group_bytes, position, len(inventory.group_rows), target_bytes)
    return _units(inventory, stretches)


def _cut_range(sizes: np.ndarray[Any, Any], first: int, stop: int, target: int) -> Iterator[tuple[int, int]]:
    """Greedy cut of row groups [first, stop) into stretches of about `target` bytes."""
    if first >= stop:
        return
    before = np.concatenate([[0], np.cumsum(sizes[first:stop])])
    start = 0
    count = stop - first
    while start < count:
        end = int(before.searchsorted(before[start] + target, side="left"))
        end = min(max(end, start + 1), count)
        # A row group that overshoots by more than half of the target begins the next unit instead.
        if end - start > 1 and before[end] - before[start] > target * 3 // 2:
            end -= 1
        yield first + start, first + end
        start = end


def _units(inventory: Inventory, stretches: Sequence[tuple[int, int]]) -> list[Unit]:
    """The units that cover stretches of row groups; rows and bytes are summed for all of them at once."""
    if not stretches:
        return []
    bounds = np.array(stretches, np.int64)
    identities = Identities(inventory)
    sums = (np.concatenate([[0], np.cumsum(sizes)]) for sizes in (inventory.group_rows, inventory.group_bytes))
    rows, sizes = ((before[bounds[:, 1]] - before[bounds[:, 0]]).tolist() for before in sums)
    return [
        Unit(unit_key(identities, first, stop, 0, num_rows), first, stop, 0, num_rows, size)
        for (first, stop), num_rows, size in zip(stretches, rows, sizes, strict=True)
    ]


class Identities:
    """The identities of an inventory's files as they go into keys of units, made for many files at a time: units come in their order."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self._first = 0
        self._framed: list[bytes] = []

    def framed(self, ordinal: int) -> bytes:
        """Uri and etag of a file, ready for a digest."""
        if not 0 <= ordinal - self._first < len(self._framed):
            self._first = ordinal
            self._framed = [framed(uri, etag) for uri, etag in self.inventory.identities(ordinal, ordinal + IDENTITY_FILES)]
        return self._framed[ordinal - self._first]


def unit_key(identities: Identities, first: int, stop: int, skip: int, rows: int) -> str:
    """Identity of a unit by what goes into it; the same wherever its files stand in the inventory."""
    key = Digest("unit", skip, rows)
    for ordinal, group_first, group_stop in file_ranges(identities.inventory, first, stop):
        key.add_framed(identities.framed(ordinal))
        key.add(group_first, group_stop)
    return str(key)


def file_ranges(inventory: Inventory, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The files of a stretch: (ordinal, first row group in the file, stop)."""
    group = first
    while group < stop:
        ordinal = int(inventory.group_file[group])
        start = int(inventory.file_first_group[ordinal])
        end = min(int(inventory.file_first_group[ordinal + 1]), stop)
        yield ordinal, group - start, end - start
        group = end


def unit_ordinals(inventory: Inventory, unit: Unit) -> tuple[int, ...]:
    """Files that have rows in the unit, in order: what a unit counts from 0 on as its files.

    Not every file of its stretch: some are empty, and a split leaves files to the other half.
    """
    stretch = slice(unit.first_group, unit.stop_group)
    ends = np.cumsum(inventory.group_rows[stretch])
    starts = ends - inventory.group_rows[stretch]
    has_rows = (starts < ends) & (ends > unit.skip) & (starts < unit.skip + unit.rows)
    return tuple(np.unique(inventory.group_file[stretch][has_rows]).tolist())


def slices(inventory: Inventory, unit: Unit) -> tuple[Slice, ...]:
    """What a unit reads: its row groups, less the rows that a split gave to another unit."""
    found = []
    skip, left = unit.skip, unit.rows
    for ordinal, first, stop in file_ranges(inventory, unit.first_group, unit.stop_group):
        file = inventory.file(ordinal, first, stop)
        for group in range(first, stop):
            rows = file.row_groups[group].rows
            start = min(skip, rows)
            take = min(rows - start, left)
            skip -= start
            left -= take
            if take > 0:
                found.append(Slice(file, group, start, start + take))
    return tuple(found)


def split(inventory: Inventory, unit: Unit) -> tuple[Unit, Unit] | None:
    """Two halves of a unit that no worker could hold; None if it has one row."""
    if unit.rows < 2:
        return None
    half = unit.rows // 2
    halves = ((unit.skip, half), (unit.skip + half, unit.rows - half))
    made = [
        replace(
            unit,
            key=unit_key(Identities(inventory), unit.first_group, unit.stop_group, skip, rows),
            skip=skip,
            rows=rows,
            bytes=unit.bytes * rows // unit.rows,
        )
        for skip, rows in halves
    ]
    return made[0], made[1]


def with_splits(inventory: Inventory, units: Iterable[Unit], is_split: Mapping[str, object]) -> Iterator[Unit]:
    """The units, with those that a split record names replaced by their halves."""
    for unit in units:
        halves = split(inventory, unit) if unit.key in is_split else None
        if halves is None:
            yield unit
        else:
            yield from with_splits(inventory, halves, is_split)
