"""Units: every row group once, in order, known by what goes into them, and the same around those that are committed already."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import units
from pipelines.commit import digest
from pipelines.inventory import Inventory
from pipelines.units import file_ranges, plan_units, split

FILES = pa.schema([(name, pa.string()) for name in ("uri", "etag", "format", "error", "message")])
sizes = st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=12), min_size=1, max_size=8)
"""Rows and bytes of the row groups of some files; some files have none."""


def inventory_of(files):
    """An inventory of files with these row groups."""
    number = len(files)
    names = [f"/in/ä{position}.parquet" for position in range(number)]
    columns = {
        "uri": names,
        "size": pa.array([1] * number, pa.int64()),
        "etag": [f"e{position}" for position in range(number)],
        "format": ["parquet"] * number,
        "schema": pa.array([0] * number, pa.int32()),
        "error": pa.array([None] * number, pa.string()),
        "message": pa.array([None] * number, pa.string()),
    }
    groups = [group for file in files for group in file]
    numbers = np.zeros((4, len(groups)), np.int64)
    numbers[0], numbers[3] = [rows for rows, _ in groups], [size for _, size in groups]
    bounds = np.cumsum([0, *map(len, files)], dtype=np.int64)
    return Inventory(pa.table(columns), numbers, bounds, [FILES], FILES)


def key_of(inventory, first, stop, skip, rows):
    """The identity of a unit as it is defined: a digest over the words of each of its files."""
    words = []
    for ordinal, start, end in file_ranges(inventory, first, stop):
        words += [*inventory.identity(ordinal), start, end]
    return digest("unit", skip, rows, *words)


@settings(deadline=None)
@given(files=sizes, target=st.integers(1, 120), window=st.sampled_from([1, 3, 1024]))
def test_units_cover_the_inventory_and_are_known_by_their_files(files, target, window):
    """Each row group is in one unit, in order; keys, rows and bytes are those of its groups, however many files are looked up at once."""
    inventory = inventory_of(files)
    before, units.IDENTITY_FILES = units.IDENTITY_FILES, window
    try:
        found = plan_units(inventory, target)
    finally:
        units.IDENTITY_FILES = before
    assert [unit.first_group for unit in found] == [0, *(unit.stop_group for unit in found)][: len(found)]
    assert sum(unit.stop_group - unit.first_group for unit in found) == len(inventory.group_rows)
    for unit in found:
        stretch = slice(unit.first_group, unit.stop_group)
        assert unit.rows == inventory.group_rows[stretch].sum()
        assert unit.bytes == inventory.group_bytes[stretch].sum()
        assert unit.key == key_of(inventory, unit.first_group, unit.stop_group, 0, unit.rows)
        for half in split(inventory, unit) or ():
            assert half.key == key_of(inventory, half.first_group, half.stop_group, half.skip, half.rows)


@settings(deadline=None)
@given(files=sizes, target=st.integers(1, 120), data=st.data())
def test_the_cut_around_units_of_the_same_cut_is_the_same(files, target, data):
    """A run that was only stopped need not look at what is committed to know its units: whichever they are, the cut does not change."""
    inventory = inventory_of(files)
    found = plan_units(inventory, target)
    kept = data.draw(st.lists(st.sampled_from(found), unique=True)) if found else []
    assert plan_units(inventory, target, [(unit.first_group, unit.stop_group) for unit in kept]) == found


@settings(deadline=None)
@given(files=sizes, target=st.integers(1, 120), data=st.data())
def test_stretches_that_are_kept_are_units(files, target, data):
    """Stretches of another cut stay as they are, and only the rest is cut."""
    inventory = inventory_of(files)
    total = len(inventory.group_rows)
    bounds = sorted(data.draw(st.sets(st.integers(0, total))))
    kept = [pair for pair in pairwise(bounds) if data.draw(st.booleans())]
    found = [(unit.first_group, unit.stop_group) for unit in plan_units(inventory, target, kept)]
    assert set(kept) <= set(found)
    assert [first for first, _ in found] == [0, *(stop for _, stop in found)][: len(found)]
    assert not found or found[-1][1] == total
