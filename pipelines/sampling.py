"""Which documents of an inventory a dry run looks at: a plan of row groups and of rows in them, drawn by a seed.

Pure: knows the inventory's columns, reads nothing.

The frame is the inventory in its own order, so that every source, dump and folder has its share: row groups are drawn with a
probability in proportion to their rows (one in each of equal steps along the running sum of rows, after Madow 1949), and as many documents
from each. Every document of the input then has the same chance (the sample weighs itself), whatever the sizes of row groups. A row group
longer than a step would be drawn for certain: it is a stratum of its own, and its documents are drawn one by one. Where all row groups are
read, all are of that kind, and the sample is a stratified simple random one of documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipelines.inventory import Inventory
from pipelines.readahead import BLOCK_BYTES

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
UInt64s = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

DOCUMENTS: Final = 2000
MAX_FRACTION: Final = 0.025
"""Of the input's bytes that may be read, unless too few row groups or documents would be left."""
MAX_BYTES: Final = 256 << 20
"""That may be read of any input, as they are stored."""
MIN_CLUSTERS: Final = 60
"""Row groups below which a variance between row groups means little."""
MAX_CLUSTERS: Final = 400
"""Row groups beyond which each holds so few of the documents that more cost requests and gain nothing."""
WIDE_BYTES: Final = 64 << 20
"""Of documents, in memory, that are looked at for duplicates."""
ENOUGH: Final = 0.95
"""Of the documents asked for, that a sample of row groups must give for no other to be looked for."""
MARGIN: Final = 0.05
"""Of a bound: so much less is planned on average, so much more may come out."""
TAIL_BYTES: Final = 64 << 10
"""That are read for a footer of a large file."""
STRATUM_PICKS: Final = 4
"""Neighbouring row groups whose spread tells the variance: fewer would leave it few degrees of freedom, more would count the trend in."""
STRATUM_DOCUMENTS: Final = 25
"""Documents of a stratum out of which they are drawn one by one, at least where there are so many."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be read; see the constants of the same names."""

    max_fraction: float = MAX_FRACTION
    max_bytes: int = MAX_BYTES
    min_clusters: int = MIN_CLUSTERS
    max_clusters: int = MAX_CLUSTERS
    wide_bytes: int = WIDE_BYTES


BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A row group that is read.

    Attributes:
        file: Ordinal in the inventory.
        rows: Rows of the row group.
        stop: Rows of it that are read, from its first.
        documents: How many of these are drawn.
        stratum: Its place among the strata.
        unit: What was drawn independently, unless its documents were: itself, or its file.
        weight: Rows of the input that each of its documents stands for.
    """

    file: int
    row_group: int
    rows: int
    stop: int
    documents: int
    stratum: int
    unit: int
    weight: float


@dataclass(frozen=True, slots=True)
class Stratum:
    """Rows of the input of which a part of the sample tells.

    Attributes:
        rows: Of the input.
        picks: How many units were drawn in it independently: row groups, or documents where `is_certain`.
        is_certain: True if documents are drawn from it one by one: all its row groups are read.
    """

    rows: float
    picks: int
    is_certain: bool


@dataclass(frozen=True, slots=True)
class Design:
    """A sample that was drawn and not yet read.

    Attributes:
        clusters: In the inventory's order.
        strata: By number.
        rows: Of the whole input; an estimate where not all its files were looked into.
        num_groups: Row groups that could be drawn.
        planned_bytes: That reading it will ask for.
        wide_rate: The fraction of the rows read that duplicates are looked for in, as far as sizes are known.
        is_census: True if every document of the input is drawn.
        notes: What a reader of the results should know.
    """

    clusters: tuple[Cluster, ...]
    strata: tuple[Stratum, ...]
    rows: int
    num_groups: int
    seed: int
    planned_bytes: int
    wide_rate: float
    is_census: bool
    bounds: Bounds
    notes: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        """How many documents are drawn."""
        return sum(cluster.documents for cluster in self.clusters)

    @property
    def rows_read(self) -> int:
        """Rows that are read for them."""
        return sum(cluster.stop for cluster in self.clusters)


@dataclass(frozen=True, slots=True)
class Files:
    """What the files of an inventory stand for where they are a sample of the input's.

    Attributes:
        num_bytes: Of the whole input.
        looked_bytes: That were read to look into files.
        rows_for: Rows of the input for each row of a file.
        is_certain: Files that would be there in any sample.
        is_clipped: Files of which only the beginning is known; their last row is cut.
    """

    num_bytes: int
    looked_bytes: int
    rows_for: Floats
    is_certain: Mask
    is_clipped: Mask


@dataclass(frozen=True, slots=True)
class _Frame:
    """The row groups that have rows, in columns.

    Attributes:
        file: Ordinal of the file; `row_group`: number in it.
        mass: Rows of the input that it stands for before it is drawn.
        stop: How many of its `rows` may be read, and what that costs: `cost`.
        memory: Bytes of all its rows in memory.
        of_sampled_file: Whether its file was drawn, and not certain.
    """

    file: Int64s
    row_group: Int64s
    mass: Floats
    rows: Int64s
    stop: Int64s
    cost: Int64s
    memory: Int64s
    of_sampled_file: Mask

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class _Picks:
    """Row groups that are drawn, ascending.

    Attributes:
        is_certain: Those longer than a step.
        mass: Rows of the input that each stands for: its own where it is certain, else a step or two.
    """

    groups: Int64s
    is_certain: Mask
    mass: Floats


def draw(inventory: Inventory, documents: int = DOCUMENTS, seed: int = 0, bounds: Bounds = BOUNDS, files: Files | None = None) -> Design:
    """Draw about so many documents; the same seed and inventory give the same ones.

    Fewer come out where the bounds allow no more, all where the input has no more. Files that cannot be read have no rows.

    `files` tells what they stand for where the inventory is of a sample of the input's files.
    """
    frame = _framed(inventory, files)
    if not len(frame):
        return Design((), (), 0, 0, seed, 0, 1.0, is_census=True, bounds=bounds)
    wanted = min(max(documents, 1), int(frame.rows.sum()))
    frame, picks = _affordable(frame, wanted, seed, bounds, files)
    clusters, strata = _clusters(frame, picks, wanted, seed)
    chosen = picks.groups
    memory = float((frame.memory[chosen] * (frame.stop[chosen] / frame.rows[chosen])).sum())
    rows = round(float(frame.mass.sum()))
    drawn = sum(cluster.documents for cluster in clusters)
    return Design(
        clusters,
        strata,
        rows,
        len(frame),
        seed,
        _cost(frame, chosen),
        min(1.0, bounds.wide_bytes / max(memory, 1.0)),
        is_census=drawn == rows and (files is None or bool(files.is_certain.all() and not files.is_clipped.any())),
        bounds=bounds,
        notes=tuple(_notes(frame, chosen, drawn, wanted)),
    )


def row_hashes(seed: int, name: str, rows: Int64s) -> UInt64s:
    """A random number for each of some rows of what has a name, by seed, name and row alone."""
    start = hashlib.blake2b(f"{seed}\n{name}".encode(errors="surrogatepass"), digest_size=8).digest()
    return _mixed(np.uint64(int.from_bytes(start, "little")) + rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _mixed(values: UInt64s) -> UInt64s:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


# Which row groups


def _framed(inventory: Inventory, files: Files | None) -> _Frame:
    """Every row group with rows. A small file is read whole whichever row group is wanted, of a large one its footer comes on top."""
    groups = np.flatnonzero(inventory.group_rows > 0)
    file = inventory.group_file[groups].astype(np.int64)
    size = inventory.file_sizes[file]
    with_footer = np.minimum(inventory.group_lengths[groups] + TAIL_BYTES, size)
    cost = np.maximum(np.where(size <= BLOCK_BYTES, size, with_footer), 1).astype(np.int64)
    rows = inventory.group_rows[groups]
    stop = rows.copy()
    rows_for = np.ones(len(groups))
    sampled = np.zeros(len(groups), np.bool_)
    if files is not None:
        rows_for, sampled = files.rows_for[file], ~files.is_certain[file]
        last = groups == inventory.file_first_group[file + 1] - 1
        stop = np.maximum(stop - (last & files.is_clipped[file]), 1)
    number = groups - inventory.file_first_group[file]
    return _Frame(file, number, rows * rows_for, rows, stop, cost, np.maximum(inventory.group_bytes[groups], 1), sampled)


def _cost(frame: _Frame, groups: Int64s) -> int:
    """Bytes that are read for some row groups; a small file is read once."""
    file, cost = frame.file[groups], frame.cost[groups]
    again = np.concatenate([[False], (file[1:] == file[:-1]) & (cost[1:] == cost[:-1]) & (cost[1:] <= BLOCK_BYTES)])
    return int(cost[~again].sum())


def _affordable(frame: _Frame, documents: int, seed: int, bounds: Bounds, files: Files | None) -> tuple[_Frame, _Picks]:
    """As many row groups as the bounds allow.

    At best within `max_fraction` of the input; within `max_bytes` where that allows too few to tell anything, or holds too few documents;
    and only the first rows of each where even these are more.
    """
    most, least = min(len(frame), bounds.max_clusters), min(len(frame), bounds.min_clusters)
    num_bytes = files.num_bytes if files is not None else _cost(frame, np.arange(len(frame)))
    spent = files.looked_bytes if files is not None else 0
    fraction = min(bounds.max_bytes, int(bounds.max_fraction * num_bytes) - spent)
    tries = ((falling(most, least), fraction), (falling(most, least), bounds.max_bytes), (_rising(most, len(frame)), bounds.max_bytes))
    for counts, allowed in tries:
        for count in counts:
            cost, given = _expected(frame, count, documents)
            if cost <= allowed * (1 - MARGIN) and given >= ENOUGH * documents:
                picks = _picked(frame, count, seed)
                if _cost(frame, picks.groups) <= allowed * (1 + MARGIN):
                    return frame, picks
    return _shortened(frame, least, seed, bounds.max_bytes)


def _expected(frame: _Frame, count: int, documents: int) -> tuple[float, float]:
    """The bytes that so many row groups cost, and the documents that they give, on average over all seeds.

    To look for a seed's own that suit would leave small row groups, and costly ones, without their chance.
    """
    is_certain, step = chances(frame.mass, count)
    chance = np.where(is_certain, 1.0, frame.mass / max(step, 1e-300))
    share = documents * np.where(is_certain, frame.mass, step) / float(frame.mass.sum())
    given = float((chance * np.minimum(frame.stop, share)).sum())
    is_small = frame.cost <= BLOCK_BYTES
    together = np.bincount(frame.file[is_small], weights=chance[is_small])
    file_cost = np.zeros(len(together))
    file_cost[frame.file[is_small]] = frame.cost[is_small]
    return float((np.minimum(together, 1.0) * file_cost).sum() + (chance * frame.cost)[~is_small].sum()), given


def falling(most: int, least: int) -> Iterator[int]:
    """Numbers from one down to another, both among them, in steps of some per cent."""
    count = most
    while count >= least:
        yield count
        count = count - 1 if count == least else max(min(count - 1, int(count * 0.97)), least)


def _rising(least: int, most: int) -> Iterator[int]:
    count = least
    while count < most:
        yield count
        count = max(count + 1, int(count * 1.1))
    yield most


def _picked(frame: _Frame, count: int, seed: int) -> _Picks:
    """So many row groups: those longer than a step for certain, the others where the steps fall."""
    certain, stepped, mass = steps(frame.mass, count, seed)
    groups = np.concatenate([certain, stepped])
    order = np.argsort(groups, kind="stable")
    stands_for = np.concatenate([frame.mass[certain], mass])
    return _Picks(groups[order], (np.arange(len(groups)) < len(certain))[order], stands_for[order])


def steps(sizes: Floats | Int64s, count: int, seed: int) -> tuple[Int64s, Int64s, Floats]:
    """So many places out of a list, by size: the certain ones, those drawn, and what each of these stands for.

    In each step one place is drawn, at random in it, not at the same distance in all: lists that repeat themselves are not met at the same
    place each time. A place over which a step ends may be drawn in both; it then stands for two.
    """
    is_certain, step = chances(sizes, count)
    certain: Int64s = np.flatnonzero(is_certain)
    rest: Int64s = np.flatnonzero(~is_certain)
    left = count - len(certain)
    if left <= 0 or not len(rest):
        return certain, rest[:0], np.zeros(0)
    random = np.random.Generator(np.random.PCG64([seed & (1 << 64) - 1, count])).random(left)
    ends = np.cumsum(sizes[rest])
    at = np.minimum(np.searchsorted(ends, (np.arange(left) + random) * step, side="right"), len(rest) - 1)
    places, times = np.unique(at, return_counts=True)
    stands_for: Floats = times.astype(np.float64) * step
    return certain, rest[places], stands_for


def chances(sizes: Floats | Int64s, count: int) -> tuple[Mask, float]:
    """Which of some sizes are longer than a step, and the step: the others are drawn with a probability of size / step."""
    is_certain = np.zeros(len(sizes), np.bool_)
    step = 0.0
    while (left := count - int(is_certain.sum())) > 0 and not is_certain.all():
        step = float(sizes[~is_certain].sum()) / left
        longer = ~is_certain & (sizes >= step * (1 - 1e-12))
        if not longer.any():
            break
        is_certain |= longer
    return is_certain, step


def _shortened(frame: _Frame, count: int, seed: int, max_bytes: int) -> tuple[_Frame, _Picks]:
    """So many row groups, of each at most an equal part of the bytes."""
    picks = _picked(frame, count, seed)
    part = max_bytes / len(picks.groups)
    stop = np.where(frame.cost <= part, frame.stop, np.maximum(frame.stop * (part / frame.cost), 1)).astype(np.int64)
    return replace(frame, stop=stop, cost=np.minimum(frame.cost, int(part))), picks


# Which documents


def _clusters(frame: _Frame, picks: _Picks, documents: int, seed: int) -> tuple[tuple[Cluster, ...], tuple[Stratum, ...]]:
    """The row groups with the number of documents from each, and the strata that they make.

    Row groups that are all read make strata out of which documents are drawn; the others, and the files of a sample of files, make strata
    of neighbours.
    """
    random = np.random.Generator(np.random.PCG64([seed & (1 << 64) - 1, 1 << 32]))
    shares = np.minimum(_shares(picks.mass, documents, random), frame.stop[picks.groups])
    of_file = frame.of_sampled_file[picks.groups]
    unit = np.where(of_file, len(picks.groups) + frame.file[picks.groups], np.arange(len(picks.groups)))
    stratum = np.zeros(len(picks.groups), np.int64)
    weight = picks.mass / np.maximum(shares, 1)
    strata: list[Stratum] = []
    for members, is_certain in ((picks.is_certain & ~of_file, True), (~picks.is_certain & ~of_file, False), (of_file, False)):
        places = np.flatnonzero(members)
        numbers = _by_rows(picks.mass[places], int(shares[places].sum())) if is_certain else _neighbours(unit[places])
        stratum[places] = len(strata) + numbers
        mass = np.bincount(numbers, weights=picks.mass[places])
        drawn = np.bincount(numbers, weights=shares[places])
        units = [len(np.unique(unit[places][numbers == number])) for number in range(len(mass))]
        if is_certain:
            weight[places] = (mass / np.maximum(drawn, 1))[numbers]
        counts = drawn if is_certain else units
        strata += [Stratum(float(size), int(count), is_certain) for size, count in zip(mass, counts, strict=True)]
    clusters = (
        Cluster(*(int(column[group]) for column in (frame.file, frame.row_group, frame.rows, frame.stop)), *told)
        for group, *told in zip(picks.groups, shares.tolist(), stratum.tolist(), unit.tolist(), weight.tolist(), strict=True)
    )
    return tuple(clusters), tuple(strata)


def _by_rows(mass: Floats, documents: int) -> Int64s:
    """Numbers of strata of about the same size, with enough documents in each."""
    if not len(mass):
        return np.zeros(0, np.int64)
    count = max(1, min(len(mass), documents // STRATUM_DOCUMENTS))
    middles = (np.cumsum(mass) - mass / 2) / float(mass.sum())
    numbers: Int64s = np.unique(np.minimum((middles * count).astype(np.int64), count - 1), return_inverse=True)[1]
    return numbers


def _neighbours(units: Int64s) -> Int64s:
    """Numbers of strata of a few units each, that follow each other."""
    _, first, numbers = np.unique(units, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    count = max(1, len(first) // STRATUM_PICKS)
    of_unit: Int64s = rank[numbers] * count // max(len(first), 1)
    return of_unit


def _shares(sizes: Floats | Int64s, documents: int, random: np.random.Generator) -> Int64s:
    """Whole numbers in proportion to sizes, that sum up to `documents`: systematic, so that nobody's share is off by one."""
    if not len(sizes):
        return np.zeros(0, np.int64)
    ends = np.cumsum(sizes) * (documents / float(np.sum(sizes)))
    ends[-1] = documents
    shares: Int64s = np.diff(np.floor(ends + random.random() * (1 - 1e-9)), prepend=0.0).astype(np.int64)
    return shares


def _notes(frame: _Frame, chosen: Int64s, drawn: int, wanted: int) -> Iterator[str]:
    cut = int((frame.stop[chosen] < frame.rows[chosen]).sum())
    if cut:
        yield (
            f"{cut} of {len(chosen)} row groups are so large that only their first rows were read: "
            "what differs between the beginning and the end of a row group is not seen"
        )
    if drawn < wanted:
        yield f"{drawn} documents were drawn where {wanted} were asked for: more would have meant to read more of the input"
