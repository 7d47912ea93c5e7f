"""Brings verdicts back to the units that they are about: radix passes by place where there are many, then a task for some units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.exchange import GatherJob, Source, UnitPlace
from pipelines.frames import FrameRef, refs
from pipelines.partitioning import ByPlace
from pipelines.steps import Steps, power_of_two, total_bytes


@dataclass(frozen=True, slots=True)
class UnitVerdict:
    """Verdicts on one unit: where they lie, and a digest of what they say. None and an empty digest where there are none."""

    frame: FrameRef | None
    digest: str


def gather(steps: Steps, decided: Sequence[Source], units: Sequence[UnitPlace]) -> list[UnitVerdict]:
    """The verdicts on each unit, out of all that were decided."""
    if not decided:
        return [UnitVerdict(None, "")] * len(units)
    limits = steps.limits
    by_bytes = -(-total_bytes(decided) // limits.task_bytes)
    width = -(-len(units) // max(by_bytes, -(-len(units) // limits.task_units)))
    ranges = [units[start : start + width] for start in range(0, len(units), width)]
    if by_bytes > 1:
        by = ByPlace(tuple(part[0].start for part in ranges))
        shuffled = steps.shuffle(decided, by, power_of_two(len(ranges), 1))
    else:
        shuffled = [list(decided)] * len(ranges)
    return list(_gathered(steps, ranges, shuffled))


def _gathered(steps: Steps, ranges: Sequence[Sequence[UnitPlace]], shuffled: Sequence[Sequence[Source]]) -> Iterator[UnitVerdict]:
    jobs = [GatherJob(tuple(sources), tuple(units)) for units, sources in zip(ranges, shuffled, strict=False)]
    works = [steps.work(job, job.sources, *(f"{unit.start}-{unit.stop}" for unit in job.units)) for job in jobs]
    for units, record in zip(ranges, steps.done(works), strict=True):
        part = record.parts.get("verdicts")
        frames = {} if part is None else {part.groups[frame[4]]: ref for frame, ref in zip(part.frames, refs(part), strict=True)}
        digests = record.detail["digests"]
        for position in range(len(units)):
            name = str(position)
            yield UnitVerdict(frames.get(name), digests.get(name, ""))
