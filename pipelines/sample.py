"""Reading a sample: the documents that a design chose, and beside them as many of the rows read on the way as fit in memory.

Owns threads, bounds of memory and the accounts of what was read. Which rows come out depends on the design alone, never on the order in
which they arrive. Knows files through `pipelines.formats`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines import formats
from pipelines.documents import Damaged, Documents, InputFile, ReadOptions, Slice
from pipelines.intervals import Scheme
from pipelines.inventory import Inventory
from pipelines.readahead import BLOCK_BYTES
from pipelines.sampling import Cluster, Design, UInt64s, row_hashes
from pipelines.sizes import row_sizes
from pipelines.storage import Sources
from pipelines.storage_retry import StoreStats

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

NUM_THREADS: Final = 16
BATCH_BYTES: Final = 4 << 20
WINDOW_BYTES: Final = 8 << 20
"""Read ahead of each row group, of which several are read at once."""
JOB_CLUSTERS: Final = 8
"""Row groups of a large file that one thread reads."""
MAX_SAMPLE_BYTES: Final = 256 << 20
"""Of documents in memory; where they are larger, those with the smallest numbers that fit are the sample."""
MAX_WIDE_DOCUMENT_BYTES: Final = 4 << 20
"""A larger document takes no part in the search for duplicates: it would take the room of thousands."""


@dataclass(frozen=True, slots=True)
class Places:
    """Documents with what is known of each, in the inventory's order.

    Attributes:
        table: The input's columns; text as the inventory's schema has it.
        file: Ordinal in the inventory; `row`, in that file.
        cluster: Place among the design's clusters.
    """

    table: pa.Table
    file: Int64s
    row: Int64s
    cluster: Int32s

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def uris(self, inventory: Inventory) -> pa.Array:
        """Addresses of the files."""
        return inventory.uris.take(pa.array(self.file))


@dataclass(frozen=True, slots=True)
class Damage:
    """Rows of a cluster that are no documents: of all that were read and, of these, of the ones that were drawn."""

    cluster: int
    read: Mapping[str, int]
    drawn: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Sample:
    """A design that was read.

    Attributes:
        documents: Those that were drawn, but for the damaged ones.
        scheme: How they were drawn, for intervals; one entry a document.
        wide: Of the rows read, a part that the design's seed chose, for duplicates; of rows in a cluster each is there with `wide_rate`.
        wide_rate: Which part of the rows read; 1.0: all.
        wide_is_census: True if it holds every document of the input.
        damage: Of clusters that have any.
        rows_read: Rows that were looked at.
        memory_bytes: Of the rows read: all their columns.
        read_bytes: Asked of the store; for local files what the row groups hold.
        requests: Sent to a store.
    """

    design: Design
    documents: Places
    scheme: Scheme
    wide: Places
    wide_rate: float
    wide_is_census: bool
    damage: tuple[Damage, ...]
    rows_read: int
    memory_bytes: int
    read_bytes: int
    requests: int
    notes: tuple[str, ...]

    @property
    def damaged(self) -> Counter[str]:
        """Damaged rows among all that were read, by error."""
        return sum((Counter(one.read) for one in self.damage), Counter())


def below(hashes: UInt64s, limit: int) -> Mask:
    """Which numbers are below a limit, which may be one more than the largest there is."""
    return hashes < np.uint64(limit) if limit < 1 << 64 else np.ones(len(hashes), np.bool_)


@dataclass(slots=True, eq=False)
class _Piece:
    """Rows of one batch that are held, with the random number and size of each."""

    batch: pa.RecordBatch
    cluster: int
    file: int
    rows: Int64s
    hashes: UInt64s
    sizes: Int64s

    def below(self, limit: int) -> _Piece:
        """Those whose number is below a limit."""
        mask = below(self.hashes, limit)
        return self if mask.all() else self.filter(mask)

    def filter(self, mask: Mask) -> _Piece:
        """Copied, so that the batch is let go."""
        batch = self.batch.filter(pa.array(mask))
        return _Piece(batch, self.cluster, self.file, self.rows[mask], self.hashes[mask], self.sizes[mask])


class _Held:
    """Rows in memory: those with the smallest numbers whose sizes together are within a bound. Thread-safe.

    Which ones these are does not depend on the order in which rows come: what was let go once has a larger number than what stays.
    """

    def __init__(self, max_bytes: int) -> None:
        self.limit = 1 << 64
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pieces: list[_Piece] = []
        self._lock = threading.Lock()

    def add(self, piece: _Piece) -> None:
        """Take rows in, and let go what is too much; a quarter beyond the bound is let go at once, so that this is seldom."""
        kept = piece.below(self.limit)
        with self._lock:
            kept = kept.below(self.limit)
            if len(kept.rows):
                self._pieces.append(kept)
                self._bytes += int(kept.sizes.sum())
            if self._bytes > self._max_bytes * 5 // 4:
                self._cut()

    def _cut(self) -> None:
        if self._bytes <= self._max_bytes or not self._pieces:
            return
        hashes = np.concatenate([piece.hashes for piece in self._pieces])
        sizes = np.concatenate([piece.sizes for piece in self._pieces])
        order = np.argsort(hashes, kind="stable")
        num_kept = int(np.searchsorted(np.cumsum(sizes[order]), self._max_bytes, side="right"))
        self.limit = int(hashes[order[num_kept]])
        self._pieces = [piece for piece in (piece.below(self.limit) for piece in self._pieces) if len(piece.rows)]
        self._bytes = sum(int(piece.sizes.sum()) for piece in self._pieces)

    def finished(self) -> list[_Piece]:
        """What is held, in order of cluster and row."""
        self._cut()
        return sorted(self._pieces, key=lambda piece: (piece.cluster, int(piece.rows[0])))


@dataclass(slots=True, eq=False)
class _Reading:
    """What the threads share."""

    sources: Sources
    schema: pa.Schema
    options: ReadOptions
    design: Design
    drawn: _Held
    wide: _Held
    first_limit: int
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Job:
    """Some row groups of a file, with their places among the design's clusters."""

    file: InputFile
    numbers: tuple[int, ...]
    clusters: tuple[Cluster, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    """Of the rows read of a row group: which are drawn, and the numbers that decide which are wide."""

    cluster: int
    first_row: int
    is_drawn: Mask
    hashes: UInt64s


@dataclass(slots=True, eq=False)
class _Told:
    """What was seen: damage by cluster, of the rows read and of the drawn ones."""

    read: dict[int, Counter[str]] = field(default_factory=dict)
    drawn: dict[int, Counter[str]] = field(default_factory=dict)
    memory_bytes: int = 0
    num_too_large: int = 0

    def add(self, other: _Told) -> None:
        """Take in what was seen elsewhere, of other clusters."""
        self.read |= other.read
        self.drawn |= other.drawn
        self.memory_bytes += other.memory_bytes
        self.num_too_large += other.num_too_large


def read_sample(sources: Sources, inventory: Inventory, options: ReadOptions, design: Design, *, threads: int = NUM_THREADS) -> Sample:
    """Read the row groups of a design, each once, several files at a time.

    Raises:
        InputChanged: A file is not the one that the inventory listed.
        StorageError: A store failed.
    """
    before = sources.stats
    first_limit = int(min(1.0, design.wide_rate * 1.25) * (1 << 64))  # sizes are estimates: a little more, of which what is too much goes
    held = _Held(MAX_SAMPLE_BYTES), _Held(design.bounds.wide_bytes)
    reading = _Reading(sources, inventory.schema, options, design, held[0], held[1], first_limit)
    jobs = list(_jobs(inventory, design))
    with ThreadPoolExecutor(min(threads, max(len(jobs), 1)), thread_name_prefix="sample") as pool:
        futures = [pool.submit(_read_job, reading, job) for job in jobs]
        try:
            told = _Told()
            for future in futures:
                told.add(future.result())
        except BaseException:
            reading.stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return _sampled(reading, told, _spent(sources, before, jobs))


def _jobs(inventory: Inventory, design: Design) -> Iterator[_Job]:
    """Row groups that one thread reads: all of a small file, which is one request, or some of a large one."""
    for ordinal, group in groupby(enumerate(design.clusters), key=lambda pair: pair[1].file):
        members = list(group)
        size = len(members) if inventory.file_sizes[ordinal] <= BLOCK_BYTES else JOB_CLUSTERS
        for some in (members[start : start + size] for start in range(0, len(members), size)):
            numbers = tuple(number for number, _ in some)
            clusters = tuple(cluster for _, cluster in some)
            yield _Job(inventory.file(ordinal, clusters[0].row_group, clusters[-1].row_group + 1), numbers, clusters)


def _spent(sources: Sources, before: StoreStats, jobs: Sequence[_Job]) -> tuple[int, int]:
    """Bytes and requests. A local Parquet file is read without the store: what is read of its row groups is counted instead."""
    after = sources.stats
    local = (
        job.file.row_groups[cluster.row_group].length * (cluster.stop / cluster.rows)
        for job in jobs
        if job.file.format == "parquet" and formats.is_local(job.file.uri)
        for cluster in job.clusters
    )
    return after.bytes_read - before.bytes_read + int(sum(local)), after.requests - before.requests


def _read_job(reading: _Reading, job: _Job) -> _Told:
    """Read some row groups of a file; the rows drawn and the wide ones go to where they are held."""
    told = _Told()
    choices = {cluster.row_group: _chosen(reading, job, place) for place, cluster in enumerate(job.clusters)}
    slices = [Slice(job.file, cluster.row_group, 0, cluster.stop) for cluster in job.clusters]
    for found in formats.read(reading.sources, slices, reading.schema, reading.options, BATCH_BYTES, WINDOW_BYTES):
        if reading.stop.is_set():
            break
        choice = choices[found.row_group]
        places = found.rows - choice.first_row
        if isinstance(found, Damaged):
            told.read.setdefault(choice.cluster, Counter())[found.error] += len(places)
            told.drawn.setdefault(choice.cluster, Counter())[found.error] += int(choice.is_drawn[places].sum())
        else:
            _keep(reading, found, choice, places, told)
    return told


def _chosen(reading: _Reading, job: _Job, place: int) -> _Choice:
    cluster = job.clusters[place]
    first_row = job.file.row_groups[cluster.row_group].first_row
    rows = np.arange(first_row, first_row + cluster.stop, dtype=np.int64)
    is_drawn = np.zeros(cluster.stop, np.bool_)
    order = row_hashes(reading.design.seed, f"drawn {job.file.uri}", rows)
    is_drawn[np.argsort(order, kind="stable")[: cluster.documents]] = True
    return _Choice(job.numbers[place], first_row, is_drawn, row_hashes(reading.design.seed, f"wide {job.file.uri}", rows))


def _keep(reading: _Reading, found: Documents, choice: _Choice, places: Int64s, told: _Told) -> None:
    """Hold what is wanted of a batch."""
    sizes = row_sizes(found.batch, found.batch.schema.names)
    piece = _Piece(found.batch, choice.cluster, found.file.ordinal, found.rows, choice.hashes[places], sizes)
    told.memory_bytes += int(sizes.sum())
    is_drawn = choice.is_drawn[places]
    if is_drawn.any():
        reading.drawn.add(piece.filter(is_drawn))
    is_large = sizes > MAX_WIDE_DOCUMENT_BYTES
    told.num_too_large += int(is_large.sum())
    is_wide = ~is_large & below(piece.hashes, min(reading.first_limit, reading.wide.limit))
    if is_wide.any():
        reading.wide.add(piece.filter(is_wide))


def _sampled(reading: _Reading, told: _Told, spent: tuple[int, int]) -> Sample:
    drawn, wide = reading.drawn.finished(), reading.wide.finished()
    documents = _places(drawn, reading.schema)
    design = reading.design
    if reading.drawn.limit < 1 << 64:
        design = _cut_short(design, documents.cluster)
    wide_limit = min(reading.first_limit, reading.wide.limit)
    all_read = design.rows_read == design.rows
    return Sample(
        design,
        documents,
        scheme_of(design, documents.cluster),
        _places(wide, reading.schema),
        wide_limit / (1 << 64),
        wide_is_census=all_read and wide_limit == 1 << 64 and not told.num_too_large,
        damage=tuple(Damage(number, dict(told.read[number]), dict(+told.drawn[number])) for number in sorted(told.read)),
        rows_read=design.rows_read,
        memory_bytes=told.memory_bytes,
        read_bytes=spent[0],
        requests=spent[1],
        notes=design.notes,
    )


def _cut_short(design: Design, cluster: Int32s) -> Design:
    """The design with the documents in these clusters alone: no census, and fewer of them in strata out of which they were drawn singly."""
    stratum = np.array([one.stratum for one in design.clusters], np.int64)[cluster]
    held = np.bincount(stratum, minlength=len(design.strata)).tolist()
    strata = tuple(replace(one, picks=number) if one.is_certain else one for one, number in zip(design.strata, held, strict=True))
    note = (
        f"documents are so large that {len(cluster)} of the {design.documents} drawn fit in {MAX_SAMPLE_BYTES >> 20} MiB; "
        "the others were left out"
    )
    return replace(design, strata=strata, is_census=False, notes=(*design.notes, note))


def _places(pieces: Sequence[_Piece], schema: pa.Schema) -> Places:
    table = pa.Table.from_batches([piece.batch for piece in pieces], schema=schema)
    rows = [len(piece.rows) for piece in pieces]
    row = np.concatenate([np.empty(0, np.int64), *(piece.rows for piece in pieces)])
    file = np.repeat(np.array([piece.file for piece in pieces], np.int64), rows)
    cluster = np.repeat(np.array([piece.cluster for piece in pieces], np.int32), rows)
    order = np.lexsort((row, file))
    if not (np.diff(order) == 1).all():
        table = table.take(pa.array(order))
    return Places(table, file[order], row[order], cluster[order])


def scheme_of(design: Design, cluster: Int32s) -> Scheme:
    """How documents were drawn, from the cluster of each: for those of a design whose strata are all read, one by one."""
    stratum = np.array([one.stratum for one in design.clusters], np.int32)[cluster]
    weight = np.array([one.weight for one in design.clusters], np.float64)[cluster]
    certain = np.array([one.is_certain for one in design.strata], np.bool_)[stratum]
    units = np.array([one.unit for one in design.clusters], np.int64)
    own = units.max(initial=0) + 1 + np.arange(len(cluster))
    return Scheme(
        stratum,
        np.where(certain, own, units[cluster]),
        weight,
        picks=np.array([one.picks for one in design.strata], np.int64),
        rate=np.array([one.picks / one.rows if one.is_certain else 0.0 for one in design.strata], np.float64),
    )
