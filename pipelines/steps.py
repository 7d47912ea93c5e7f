"""The steps of one group operator's exchange: work known by what it reads, committed in the stage's log, and the radix passes.

What the tasks do with rows is in `exchange.py` and beside it; this module only plans and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from operators.base import GroupOperator
from pipelines.commit import CommitLog, Part, Record, digest
from pipelines.exchange import Limits, PartitionJob, Source, passes
from pipelines.frames import refs
from pipelines.guards import Findings
from pipelines.operatorspec import OperatorSpec
from pipelines.partitioning import By
from pipelines.work import Work
from pipelines.worker import Job

Complete = Callable[[Sequence[Work]], None]
"""Sees to it that every piece of work is committed in the stage's log, by doing what is not."""


class Spread(Protocol):
    """Makes the job of a first radix pass from the rows that it reads, how they are partitioned, and which bits of the partition count."""

    def __call__(self, sources: tuple[Source, ...], by: By, shift: int, bits: int) -> Job:
        """The job."""


class Steps:
    """Work of one group operator, in the log of its stage.

    `history`: digest of the snapshot of what earlier runs left; the same rows may count in one snapshot and not in another.

    Attributes:
        seconds: CPU seconds of the tasks.
        findings: What the tasks told for the operator's guards.
        left: Parts that are for later runs, by their role in the history.
    """

    def __init__(self, log: CommitLog, complete: Complete, operator: OperatorSpec, limits: Limits, history: str = "") -> None:
        self._log = log
        self._complete = complete
        self.operator = operator
        self.limits = limits
        self._history = history
        self.seconds = 0.0
        self.findings = Findings()
        self.left: dict[str, list[Part]] = {}

    @cached_property
    def loaded(self) -> GroupOperator:
        """The operator itself."""
        found = self.operator.load()
        assert isinstance(found, GroupOperator)
        return found

    def work(self, job: Job, sources: Iterable[Source], *more: str | int) -> Work:
        """Work known by exactly what it reads: frames of attempts that are committed, and whatever else tells it from other work."""
        listed = list(sources)
        words = [word for source in listed for word in source_words(source)]
        size = sum(source.bytes for source in listed)
        return Work(digest(job.kind, self.operator.name, self._history, *more, *words), lambda: job, 0, size, job.kind)

    def done(self, works: Sequence[Work]) -> Iterator[Record]:
        """The records of some work, which is done where it is not yet."""
        self._complete(works)
        for record in self._log.records(work.key for work in works):
            self.seconds += record.usage.get("seconds", 0.0)
            self.findings.add(record.detail)
            yield record

    def each(self, works: Sequence[Work], role: str) -> list[Source]:
        """What some work left in a part of one role; work that left none is not there."""
        found = (record.parts.get(role) for record in self.done(works))
        return [whole(part) for part in found if part is not None]

    def shuffle(self, sources: Sequence[Source], by: By, num_partitions: int, spread: Spread | None = None) -> list[list[Source]]:
        """Sources of each partition after as many radix passes as it takes for every range to be large enough.

        `spread` makes the jobs of the first pass, which then there is even for one partition.
        """
        groups: dict[int, list[Source]] = {0: list(sources)}
        remaining = max(num_partitions - 1, 0).bit_length()
        for number, bits in enumerate(passes(num_partitions, self.limits.fan_out) or ([0] if spread is not None else [])):
            remaining -= bits
            make = spread if spread is not None and number == 0 else PartitionJob
            groups = self._pass(groups, by, remaining, bits, make)
        return [groups.get(partition, []) for partition in range(num_partitions)]

    def _pass(self, groups: dict[int, list[Source]], by: By, shift: int, bits: int, make: Spread) -> dict[int, list[Source]]:
        prefixes: list[int] = []
        works: list[Work] = []
        for prefix, sources in sorted(groups.items()):
            for chunk in chunks(sources, self.limits.task_bytes):
                prefixes.append(prefix)
                works.append(self.work(make(tuple(chunk), by, shift, bits), chunk, repr(by), shift, bits))
        after: dict[int, list[Source]] = {}
        for prefix, record in zip(prefixes, self.done(works), strict=True):
            part = record.parts.get("rows")
            for digit, source in by_group(part):
                after.setdefault((prefix << bits) | int(digit), []).append(source)
        return after


def by_group(part: Part | None) -> Iterator[tuple[str, Source]]:
    """The frames of a part with the group that each is in."""
    if part is not None:
        for frame, ref in zip(part.frames, refs(part), strict=True):
            yield part.groups[frame[4]], Source((ref,), bytes=frame[3] or frame[1])


def whole(part: Part) -> Source:
    """All rows of a part."""
    return Source(tuple(refs(part)), bytes=held_bytes(part))


def held_bytes(part: Part) -> int:
    """Bytes that a part's rows take in memory; its file may be compressed."""
    return sum(frame[3] or frame[1] for frame in part.frames)


def chunks(sources: Iterable[Source], size: int) -> Iterator[list[Source]]:
    """Sources in stretches of at most so many bytes; one that has more is cut between its frames, and a frame that has more is alone."""
    held: list[Source] = []
    total = 0
    for source in (piece for one in sources for piece in _pieces(one, size)):
        if held and total + source.bytes > size:
            yield held
            held, total = [], 0
        held.append(source)
        total += source.bytes
    if held:
        yield held


def _pieces(source: Source, size: int) -> Iterator[Source]:
    """A source in stretches of its frames: of what one task wrote, another may hold only a part (a document has many pairs)."""
    stored = sum(frame.length for frame in source.frames)
    if source.bytes <= size or stored == 0:
        yield source
        return
    first = held = 0
    for number, frame in enumerate(source.frames):
        share = source.bytes * frame.length // stored  # of rows in memory, which compressed frames are not
        if number > first and held + share > size:
            yield replace(source, frames=source.frames[first:number], bytes=held)
            first, held = number, 0
        held += share
    yield replace(source, frames=source.frames[first:], bytes=held)


def power_of_two(amount: int, share: int) -> int:
    """The smallest power of two such that each of so many partitions has at most `share`."""
    return 1 << max(-(-amount // share) - 1, 0).bit_length()


def total_bytes(sources: Iterable[Source]) -> int:
    """Bytes of some sources together."""
    return sum(source.bytes for source in sources)


def source_words(source: Source) -> Iterator[str]:
    """What a source is known by."""
    for ref in (*source.frames, *source.removed):
        yield f"{ref.path}@{ref.offset}"
    yield ",".join(map(str, source.ordinals))
