"""Drives the exchange of a group operator that compares equal keys: radix passes, decisions, and the verdicts back to their units."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.exchange import DecideJob, Source, UnitPlace
from pipelines.gathering import UnitVerdict, gather
from pipelines.guards import least_heavy
from pipelines.history import History
from pipelines.partitioning import ByKey
from pipelines.steps import Steps, power_of_two, total_bytes


def group_by_key(
    steps: Steps, keys: Sequence[Source], units: Sequence[UnitPlace], num_documents: int, history: History | None = None
) -> list[UnitVerdict]:
    """The verdicts on each unit, from the keys of all documents that take part, and of those that earlier runs kept."""
    earlier = [] if history is None else [one.source for one in history.remembered(steps.loaded, "keys")]
    num_partitions = power_of_two(total_bytes(keys) + total_bytes(earlier), steps.limits.task_bytes)
    partitions = steps.shuffle([*earlier, *keys], ByKey(num_partitions), num_partitions)
    heavy = least_heavy(steps.loaded, num_documents)
    jobs = [DecideJob(steps.operator, tuple(sources), steps.limits.task_bytes, heavy) for sources in partitions if sources]
    decided = steps.each([steps.work(job, job.sources, str(heavy)) for job in jobs], "verdicts")
    return gather(steps, decided, units)
