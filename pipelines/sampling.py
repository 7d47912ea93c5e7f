"""Which documents of an inventory a dry run looks at: a plan of row groups and of rows in them, drawn by a seed.

Pure: knows the inventory's columns, reads nothing.

The frame is the inventory in its own order, so that every source, dump and folder has its share: row groups are drawn systematically with a
probability in proportion to their rows (Madow 1949: one random start, equal steps along the running sum of rows), and as many documents
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


@dataclass(frozen=True, slots=True)
class Cluster:
    """A row group that is read.

    Attributes:
        file: Ordinal in the inventory.
        rows: Rows of the row group.
        stop: Rows of it that are read, from its first.
        documents: How many of these are drawn.
        stratum: Its place among the strata.
        weight: Rows of the input that each of its documents stands for.
    """

    file: int
    row_group: int
    rows: int
    stop: int
    documents: int
    stratum: int
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
        rows: Of the whole input.
        num_groups: Row groups of the whole input that have rows.
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
class _Frame:
    """The row groups that have rows, in columns.

    Attributes:
        file: Ordinal of the file; `row_group`: number in it.
        stop: How many of its `rows` may be read, and what that costs: `cost`.
        memory: Bytes of all its rows in memory.
    """

    file: Int64s
    row_group: Int64s
    rows: Int64s
    stop: Int64s
    cost: Int64s
    memory: Int64s

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class _Picks:
    """Row groups that are drawn: for certain, and by equal steps of so many rows."""

    certain: Int64s
    stepped: Int64s
    step: float

    @property
    def all(self) -> Int64s:
        return np.sort(np.concatenate([self.certain, self.stepped]))


def draw(inventory: Inventory, documents: int = DOCUMENTS, seed: int = 0, bounds: Bounds = Bounds()) -> Design:
    """Draw about so many documents; the same seed and inventory give the same ones.

    Fewer come out where the bounds allow no more, all where the input has no more. Files that cannot be read have no rows.
    """
    frame = _framed(inventory)
    if not len(frame):
        return Design((), (), 0, 0, seed, 0, 1.0, is_census=True, bounds=bounds)
    rows = int(frame.rows.sum())
    wanted = min(max(documents, 1), rows)
    frame, picks = _affordable(frame, wanted, seed, bounds)
    clusters, strata = _clusters(frame, picks, wanted, seed)
    chosen = picks.all
    memory = float((frame.memory[chosen] * (frame.stop[chosen] / frame.rows[chosen])).sum())
    drawn = sum(cluster.documents for cluster in clusters)
    return Design(
        clusters,
        strata,
        rows,
        len(frame),
        seed,
        int(frame.cost[chosen].sum()),
        min(1.0, bounds.wide_bytes / max(memory, 1.0)),
        is_census=drawn == rows,
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


def _framed(inventory: Inventory) -> _Frame:
    """Every row group with rows. A small file is read whole whichever row group is wanted, of a large one its footer comes on top."""
    groups = np.flatnonzero(inventory.group_rows > 0)
    file = inventory.group_file[groups].astype(np.int64)
    size = inventory.file_sizes[file]
    with_footer = np.minimum(inventory.group_lengths[groups] + TAIL_BYTES, size)
    cost = np.maximum(np.where(size <= BLOCK_BYTES, size, with_footer), 1).astype(np.int64)
    rows = inventory.group_rows[groups]
    return _Frame(file, groups - inventory.file_first_group[file], rows, rows, cost, np.maximum(inventory.group_bytes[groups], 1))


def _affordable(frame: _Frame, documents: int, seed: int, bounds: Bounds) -> tuple[_Frame, _Picks]:
    """As many row groups as the bounds allow.

    At best within `max_fraction` of the input; within `max_bytes` where that allows too few to tell anything, or holds too few documents;
    and only the first rows of each where even these are more.
    """
    most, least = min(len(frame), bounds.max_clusters), min(len(frame), bounds.min_clusters)
    fraction = min(bounds.max_bytes, int(bounds.max_fraction * frame.cost.sum()))
    tries = ((_falling(most, least), fraction), (_falling(most, least), bounds.max_bytes), (_rising(most, len(frame)), bounds.max_bytes))
    for counts, allowed in tries:
        for count in counts:
            picks = _picked(frame, count, seed)
            if frame.cost[picks.all].sum() <= allowed and _available(frame, picks, documents) >= ENOUGH * documents:
                return frame, picks
    return _shortened(frame, least, seed, bounds.max_bytes)


def _falling(most: int, least: int) -> Iterator[int]:
    count = most
    while count >= least:
        yield count
        count = min(count - 1, int(count * 0.97))


def _rising(least: int, most: int) -> Iterator[int]:
    count = least
    while count < most:
        yield count
        count = max(count + 1, int(count * 1.1))
    yield most


def _picked(frame: _Frame, count: int, seed: int) -> _Picks:
    """So many row groups: those longer than a step for certain, the others where the steps fall."""
    is_certain = np.zeros(len(frame), np.bool_)
    step = 0.0
    while (left := count - int(is_certain.sum())) > 0:
        step = float(frame.rows[~is_certain].sum()) / left
        longer = ~is_certain & (frame.rows >= step * (1 - 1e-12))
        if not longer.any():
            break
        is_certain |= longer
    certain, rest = np.flatnonzero(is_certain), np.flatnonzero(~is_certain)
    if left <= 0 or not len(rest):
        return _Picks(certain, rest[:0], 0.0)
    start = float(np.random.Generator(np.random.PCG64([seed & (1 << 64) - 1, count])).random())
    ends = np.cumsum(frame.rows[rest])
    at = np.minimum(np.searchsorted(ends, (np.arange(left) + start) * step, side="right"), len(rest) - 1)
    return _Picks(certain, rest[np.unique(at)], step)


def _quotas(frame: _Frame, picks: _Picks, documents: int) -> tuple[float, float]:
    """Documents that are drawn from all row groups that are certain, and from each of the others."""
    certain = documents * float(frame.rows[picks.certain].sum()) / float(frame.rows.sum())
    return certain, (documents - certain) / max(len(picks.stepped), 1)


def _available(frame: _Frame, picks: _Picks, documents: int) -> float:
    """Documents that such picks give; row groups with fewer rows than their share give what they have."""
    certain, each = _quotas(frame, picks, documents)
    return certain + float(np.minimum(frame.stop[picks.stepped], each).sum())


def _shortened(frame: _Frame, count: int, seed: int, max_bytes: int) -> tuple[_Frame, _Picks]:
    """So many row groups, of each at most an equal part of the bytes."""
    picks = _picked(frame, count, seed)
    part = max_bytes / len(picks.all)
    stop = np.where(frame.cost <= part, frame.rows, np.maximum(frame.rows * (part / frame.cost), 1)).astype(np.int64)
    return replace(frame, stop=stop, cost=np.minimum(frame.cost, int(part))), picks


# Which documents


def _clusters(frame: _Frame, picks: _Picks, documents: int, seed: int) -> tuple[tuple[Cluster, ...], tuple[Stratum, ...]]:
    """The row groups with the number of documents from each, and the strata that they make."""
    from_certain, _ = _quotas(frame, picks, documents)
    random = np.random.Generator(np.random.PCG64([seed & (1 << 64) - 1, 1 << 32]))
    clusters, strata = _of_certain(frame, picks.certain, round(from_certain), random)
    left = documents - sum(cluster.documents for cluster in clusters) if len(picks.certain) else documents
    stepped, more = _of_stepped(frame, picks, _shares(np.ones(len(picks.stepped)), left, random), len(strata))
    ordered = sorted([*clusters, *stepped], key=lambda cluster: (cluster.file, cluster.row_group))
    return tuple(ordered), (*strata, *more)


def _shares(sizes: Floats | Int64s, documents: int, random: np.random.Generator) -> Int64s:
    """Whole numbers in proportion to sizes, that sum up to `documents`: systematic, so that nobody's share is off by one."""
    if not len(sizes):
        return np.zeros(0, np.int64)
    ends = np.cumsum(sizes) * (documents / float(np.sum(sizes)))
    ends[-1] = documents
    shares: Int64s = np.diff(np.floor(ends + random.random() * (1 - 1e-9)), prepend=0.0).astype(np.int64)
    return shares


def _of_certain(frame: _Frame, certain: Int64s, documents: int, random: np.random.Generator) -> tuple[list[Cluster], list[Stratum]]:
    """Neighbouring row groups that are all read make a stratum, with some documents in each at least."""
    if not len(certain):
        return [], []
    num_strata = max(1, min(len(certain), documents // STRATUM_DOCUMENTS))
    rows = frame.rows[certain]
    shares = np.minimum(_shares(rows, documents, random), frame.stop[certain])
    middles = (np.cumsum(rows) - rows / 2) / float(rows.sum())
    _, numbers = np.unique(np.minimum((middles * num_strata).astype(np.int64), num_strata - 1), return_inverse=True)
    stratum_rows = np.bincount(numbers, weights=rows)
    drawn = np.bincount(numbers, weights=shares)
    weights = stratum_rows / np.maximum(drawn, 1)
    clusters = [
        _cluster(frame, int(group), int(share), int(number), float(weights[number]))
        for group, share, number in zip(certain, shares, numbers, strict=True)
    ]
    return clusters, [Stratum(float(size), int(picks), is_certain=True) for size, picks in zip(stratum_rows, drawn, strict=True)]


def _of_stepped(frame: _Frame, picks: _Picks, shares: Int64s, first: int) -> tuple[list[Cluster], list[Stratum]]:
    """Row groups that were drawn next to each other make a stratum."""
    num_picks = len(picks.stepped)
    num_strata = max(1, num_picks // STRATUM_PICKS) if num_picks else 0
    numbers = np.arange(num_picks) * num_strata // max(num_picks, 1)
    shares = np.minimum(shares, frame.stop[picks.stepped])
    clusters = [
        _cluster(frame, int(group), int(share), first + int(number), picks.step / max(int(share), 1))
        for group, share, number in zip(picks.stepped, shares, numbers, strict=True)
    ]
    counts = np.bincount(numbers, minlength=num_strata)
    return clusters, [Stratum(picks.step * int(count), int(count), is_certain=False) for count in counts]


def _cluster(frame: _Frame, group: int, documents: int, stratum: int, weight: float) -> Cluster:
    return Cluster(
        int(frame.file[group]), int(frame.row_group[group]), int(frame.rows[group]), int(frame.stop[group]), documents, stratum, weight
    )


def _notes(frame: _Frame, chosen: Int64s, drawn: int, wanted: int) -> Iterator[str]:
    cut = int((frame.stop[chosen] < frame.rows[chosen]).sum())
    if cut:
        yield (
            f"{cut} of {len(chosen)} row groups are so large that only their first rows were read: "
            "what differs between the beginning and the end of a row group is not seen"
        )
    if drawn < wanted:
        yield f"{drawn} documents were drawn where {wanted} were asked for: more would have meant to read more of the input"
