"""What a step of the exchange costs: tasks, bytes, requests, memory and CPU, by the arithmetic that the driver itself goes by.

Pure functions of sizes; nothing is read. Owns the measured rates, how rows are cut into tasks, and what a radix pass does to them. Which
steps an operator takes is in `exchange_costs.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final

from pipelines.exchange import Limits, passes
from pipelines.frames import JOINED_BYTES
from pipelines.key_parts import FRAME_BYTES as KEY_FRAME_BYTES

PUT_BYTES: Final = 16 << 20
"""A part of more is put into an object store in pieces of this size (`storage_s3_upload.py`), with a request at each end."""
BASE_BYTES: Final = 400_000_000
"""Resident memory of a worker that holds nothing: interpreter, libraries, compiled kernels (0.33 GB), and buffers of fixed size."""
HELD_FACTOR: Final = 8
"""Memory that a task takes for each byte of rows that it holds, at most: the largest of the 113 tasks of ten million signatures took
1.43 GB for 128 MiB (`bench_exchange_near.py`)."""
HELD_FACTORS: Final[Mapping[str, int]] = {"resolve": 5, "label": 5}
"""The same of kinds that were measured alone, in a fresh process: 4.8 and less."""
FRAME_BYTES: Final = 700
"""Of a frame beside its rows: each is an Arrow stream of its own, with its schema."""
REFERENCE_BYTES: Final = 265
"""Of the driver's memory, for a frame that a later step reads (tracemalloc over 256,000 of them)."""
RECORD_BYTES: Final = 700
"""Of the driver's memory, for a record without frames."""
INDEX_BYTES: Final = 45
"""Of a record, for each frame that it names."""

NTH: Final = ", pass "
"""In the name of a step that is one of several radix passes."""

TASK_SECONDS: Final = 0.01
"""CPU of a task that does next to nothing: opening parts, the record, the request for it."""
CPU_BYTES: Final[Mapping[str, float]] = {
    "spread": 430e6,
    "partition": 490e6,
    "buckets": 210e6,
    "verify": 560e6,
    "meet": 650e6,
    "contract": 200e6,
    "links": 450e6,
    "star": 320e6,
    "label": 500e6,
    "resolve": 170e6,
    "gather": 120e6,
    "retain": 400e6,
    "decide": 95e6,
    "decide at once": 44e6,
    "decide passages": 170e6,
}
"""Bytes read and written in a CPU second, by kind of task, with reading, decoding and writing frames.

Of near-duplicates from `python benchmarks/bench_exchange_near.py --rows 10000000` (links and stars: a million rows with bounds of 8 MiB; at
once: 300,000 rows); `decide` from 650,000 documents through `exact_dedup`, of passages from their lines through `line_dedup`.
"""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What comes to an exchange.

    Attributes:
        documents: Documents that take part.
        text_bytes: Uncompressed bytes of them.
        units: Units that they are in.
        id_bytes: Of the id that each document brings; 0 where it has none but its doc_key.
        earlier_bytes: What earlier runs left, by role (`keys`, `heads`, `features`, `counts`); empty without a history.
        leaves: Whether the run leaves its own keys in a history.
    """

    documents: int
    text_bytes: int
    units: int
    id_bytes: int = 0
    earlier_bytes: Mapping[str, int] | None = None
    leaves: bool = False

    def earlier(self, role: str) -> int:
        """Bytes that earlier runs left for one purpose."""
        return (self.earlier_bytes or {}).get(role, 0)

    def frames(self, size: float) -> int:
        """Frames over all units of parts that have so many bytes together."""
        return max(self.units, int(-(-size // KEY_FRAME_BYTES)))


@dataclass(frozen=True, slots=True)
class Shares:
    """What nobody knows before the run; all by the document.

    The defaults are those of the 2 GB corpus of `make_bench.py`, of whose documents a tenth are copies and a tenth near-copies: 808,304
    documents with 529,668 pairs that met, 483,942 of them verified, and 132,516 removals; of 11.7 million lines 3.9 million went. A crawl
    that repeats more costs more.

    Attributes:
        pairs: Pairs that meet, each once.
        met: Documents that are the later one of a pair.
        meetings: Buckets in which a pair meets.
        verified: Pairs that reach the threshold.
        removed: Documents that go.
        rounds: Of large and small star, where components need them: 3 were taken by a million documents with a chain of 100,000, 12 by a
            chain of a million with random labels.
        line_bytes: Text for each line of 30 characters and more, in the test documents.
        paragraph_bytes: The same for paragraphs.
        cut: Of lines and paragraphs, which share goes.
    """

    pairs: float = 0.65
    met: float = 0.18
    meetings: float = 7.5
    verified: float = 0.6
    removed: float = 0.165
    rounds: int = 5
    line_bytes: float = 164.0
    paragraph_bytes: float = 319.0
    cut: float = 0.33


@dataclass(frozen=True, slots=True)
class Flow:
    """Rows on their way.

    Attributes:
        rows: Bytes of all rows.
        sources: Pieces that a task takes whole or not at all.
        frames: Frames that they lie in.
        requests: Requests that reading all of them takes; neighbouring frames share one.
        row_bytes: A row.
    """

    rows: float
    sources: float
    frames: float
    requests: float
    row_bytes: float

    @property
    def bytes(self) -> float:
        """Bytes of the frames."""
        return self.rows + self.frames * FRAME_BYTES

    def tasks(self, limit: int, groups: int = 1) -> int:
        """Tasks that hold at most so many bytes, where the rows are in so many groups that no task mixes."""
        if self.rows <= 0:
            return 0
        piece = self.bytes / max(self.sources, 1)
        number = self.sources
        if piece > limit:  # cut between its frames
            number, piece = self.frames, self.bytes / max(self.frames, 1)
        return groups * math.ceil(round(number / groups / max(1, limit // max(piece, 1)), 6))

    def with_more(self, size: float) -> Flow:
        """The same with rows of earlier runs, which lie in large frames."""
        frames = math.ceil(size / JOINED_BYTES)
        return Flow(self.rows + size, self.sources + frames, self.frames + frames, self.requests + frames, self.row_bytes)


@dataclass(frozen=True, slots=True)
class Step:
    """What all tasks of one step cost together.

    Attributes:
        name: For a person.
        kind: Of the tasks' records.
        tasks: How many there are; 0 where units do it beside their other work.
        frames: Frames written, which the driver refers to.
        peak_bytes: Resident memory of the largest task, at most.
    """

    name: str
    kind: str
    tasks: int
    read_bytes: int
    written_bytes: int
    requests: int
    cpu_seconds: float
    frames: int
    peak_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in what `plan --json` prints."""
        return {**asdict(self), "cpu_seconds": round(self.cpu_seconds, 1)}


@dataclass(frozen=True, slots=True)
class Total:
    """Steps together.

    Attributes:
        stored_bytes: What lies in the output's store until the run ends: nothing is removed before.
        peak_bytes: Resident memory of the largest task.
        driver_bytes: Memory that the driver needs for references to frames and for records.
    """

    tasks: int
    read_bytes: int
    written_bytes: int
    requests: int
    cpu_seconds: float
    stored_bytes: int
    peak_bytes: int
    driver_bytes: int

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Total:
        """The sums, and the largest task."""
        some = list(steps)
        written, tasks = sum(step.written_bytes for step in some), sum(step.tasks for step in some)
        driver = sum(step.tasks * RECORD_BYTES + step.frames * INDEX_BYTES for step in some)
        return cls(
            tasks=tasks,
            read_bytes=sum(step.read_bytes for step in some),
            written_bytes=written,
            requests=sum(step.requests for step in some),
            cpu_seconds=sum(step.cpu_seconds for step in some),
            stored_bytes=written,
            peak_bytes=max((step.peak_bytes for step in some), default=0),
            driver_bytes=driver + max((step.frames for step in some), default=0) * REFERENCE_BYTES,
        )

    def hours(self, cores: int) -> float:
        """Hours on so many cores that are all busy."""
        return self.cpu_seconds / 3600 / cores


def step(
    name: str,
    kind: str,
    tasks: int,
    read: float,
    written: Sequence[float],
    gets: float,
    frames: float,
    held: float,
    *,
    rate: str = "",
) -> Step:
    """A step of tasks.

    Args:
        name: For a person.
        kind: Of the tasks' records.
        tasks: How many.
        read: Bytes that they read together.
        written: Bytes of rows that they write together, a number for each part of a task.
        gets: Requests to read.
        frames: Frames that they write.
        held: Bytes of rows that one task holds at once.
        rate: Key of `CPU_BYTES`, if it is not the kind.
    """
    size = sum(written) + frames * FRAME_BYTES
    puts = sum(put_requests(each / tasks) * tasks for each in written if each > 0) if tasks else 0
    seconds = (read + size) / CPU_BYTES[rate or kind] + tasks * TASK_SECONDS
    peak = int(BASE_BYTES + HELD_FACTORS.get(kind, HELD_FACTOR) * held)
    return Step(name, kind, tasks, int(read), int(size), math.ceil(gets + puts) + tasks, seconds, math.ceil(frames), peak)


def put_requests(size: float) -> int:
    """Requests that put one part of so many bytes."""
    return 1 if size <= PUT_BYTES else 2 + math.ceil(size / PUT_BYTES)


def unit_rows(corpus: Corpus, size: float, row_bytes: float, beside: float = 0) -> Flow:
    """Rows as units left them: a part a unit, neighbouring frames read together. `beside`: bytes that were cut into frames with them."""
    requests = corpus.units * math.ceil(size / corpus.units / JOINED_BYTES) if size else 0
    return Flow(size, corpus.units, corpus.frames(size + beside), requests, row_bytes)


def shuffled(name: str, flow: Flow, partitions: int, limits: Limits, *, first: str = "", grown: float = 1.0, used: int = 0) -> Shuffled:
    """The radix passes that bring rows into partitions.

    Args:
        name: For a person; the passes are numbered.
        flow: The rows.
        partitions: A power of two.
        limits: Bounds of the tasks.
        first: Kind of the first pass where it is one of its own, which then there is even for one partition.
        grown: By how much that one makes the rows more.
        used: Partitions that have rows; 0: all.
    """
    bits_of = passes(partitions, limits.fan_out) or ([0] if first else [])
    groups, steps = 1, []
    for number, bits in enumerate(bits_of):
        kind = first if first and number == 0 else "partition"
        tasks = flow.tasks(limits.task_bytes, groups)
        size = flow.rows * (grown if number == 0 else 1)
        digits = (1 << bits) * ((used or partitions) / partitions if number == len(bits_of) - 1 else 1)
        frames = min(tasks * max(1.0, digits), size / flow.row_bytes) if tasks else 0
        held = min(flow.bytes / tasks, limits.task_bytes) if tasks else 0
        title = f"{name}{NTH}{number + 1}" if len(bits_of) > 1 else name
        steps.append(step(title, kind, tasks, flow.bytes, [size], flow.requests, frames, held))
        flow = Flow(size, frames, frames, frames, flow.row_bytes)
        groups <<= bits
    return Shuffled(steps, flow)


def condensed(steps: Iterable[Step]) -> list[Step]:
    """The steps with the passes of one radix sort as one."""
    made: list[Step] = []
    for name, group in groupby(steps, key=lambda one: one.name.partition(NTH)[0]):
        some = list(group)
        made.append(some[0] if len(some) == 1 else _together(f"{name}, {len(some)} passes", some))
    return made


def _together(name: str, some: Sequence[Step]) -> Step:
    sums = {each: sum(getattr(one, each) for one in some) for each in ("tasks", "read_bytes", "written_bytes", "requests", "cpu_seconds")}
    return Step(name, some[0].kind, **sums, frames=max(one.frames for one in some), peak_bytes=max(one.peak_bytes for one in some))


@dataclass(frozen=True, slots=True)
class Shuffled:
    """The steps of some radix passes, and the rows behind them."""

    steps: list[Step]
    flow: Flow
