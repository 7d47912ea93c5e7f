"""How long phases take on a number of cores, and how much memory a worker and the driver need. Pure.

What does not get shorter with more cores: the start, the longest piece of each phase, the driver's share of each piece, the barriers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.costs import BASE_BYTES, RECORD_BYTES
from pipelines.pack import ROW_GROUP_BYTES
from pipelines.projection_census import Census
from pipelines.projection_estimates import Floats, added, exact
from pipelines.projection_measured import Measured
from pipelines.projection_work import Phase, Work
from pipelines.study import Estimate

COMMAND_SECONDS: Final = 1.5
"""From the command to the first unit without Ray: imports, the checks before the start, the plan."""
RAY_SECONDS: Final = 3.0
"""More until Ray runs, however many cores there are."""
RAY_CPU_SECONDS: Final = 12.0
"""CPU of all processes that a Ray of this machine's own starts, the imports of its workers apart (docs/measurements.md)."""
JOIN_SECONDS: Final = 6.0
"""Until a driver has joined a cluster that is there, and its code is on the nodes."""
WORKER_SECONDS: Final = 1.5
"""Each worker imports what it needs, once."""
DRIVER_SECONDS: Final = 0.0004
"""The driver's CPU for each piece of work: 0.3 ms a unit (`bench_overhead.py`), 0.47 with less of it at once."""
BARRIER_SECONDS: Final = 0.1
"""Between two phases: records are read, the next work is made; 0.5 s of CPU for 50,000 units."""
BARRIER_UNIT_SECONDS: Final = 1e-5
SYNC_SECONDS: Final = 0.03
"""A piece of work waits for its files to be durable, while its core does nothing; a request to a store far away takes as long."""
PUT_SECONDS: Final = 0.06
"""The same for S3: its parts one after the other, then the record."""
RAY_SHARE: Final = 0.1
"""Of two cores a Ray of this machine's own took a tenth for itself: two were 1.8 times one (docs/measurements.md)."""

DOCUMENT_FACTOR: Final = 6.5
"""Memory of a unit for each byte of its largest batch or document: 770 MB where one had 50 MB, 450 in those of 16 MiB batches."""
PACK_FACTOR: Final = 8
"""The same for each byte of a row group that is packed: 0.96 GB for 64 MiB, and with token ids, whose pages are encoded at once, 1.18."""
IDS_FACTOR: Final = 12
DRIVER_BASE_BYTES: Final = 300_000_000
DRIVER_UNIT_BYTES: Final = 4_600
"""Of the driver for each unit: 763 MB for 100,000."""
DRIVER_GROUP_BYTES: Final = 120
"""Of the inventory for each row group: 1.2 GB for ten million."""
DRIVER_FILE_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Machines:
    """Where the work runs.

    Attributes:
        kind: `inline`, `local` or `ray`.
        is_remote: Whether parts go over a network.
        others: Processes for each core that the run has to share this machine with, as it is now; it makes the upper bound of the time
            longer.
    """

    kind: str
    is_remote: bool
    others: float = 0.0


def wall_seconds(work: Work, machines: Machines, cores: int, start_seconds: float, units: int) -> Estimate:
    """Time from the command to the finished version, if the cores are there and do nothing else.

    Args:
        work: The phases.
        machines: Where it runs; on more than one core without Ray nothing runs, so that there it counts as a cluster.
        cores: How many.
        start_seconds: CPU that each worker spends once on what operators load.
        units: Of a stage.
    """
    kind = machines.kind if machines.kind != "inline" or cores == 1 else "ray"
    begun = COMMAND_SECONDS + start_seconds
    if kind == "local":
        begun += RAY_SECONDS + WORKER_SECONDS + RAY_CPU_SECONDS / min(cores, 8)
    elif kind == "ray":
        begun += JOIN_SECONDS + WORKER_SECONDS
    share = 1 - RAY_SHARE / cores if kind == "local" else 1.0
    waits = PUT_SECONDS if machines.is_remote else SYNC_SECONDS
    phases = [_phase_seconds(phase, cores, share, waits) for phase in work.phases]
    barriers = sum(BARRIER_SECONDS + units * BARRIER_UNIT_SECONDS for phase in work.phases if phase.tasks)
    found = added([exact(begun + barriers), *phases])
    return Estimate(found.value, found.low, found.high * (1 + (machines.others if kind != "ray" else 0.0)))


def _phase_seconds(phase: Phase, cores: int, share: float, waits: float) -> Estimate:
    bounds = (_seconds(phase, cpu, cores, share, waits) for cpu in (phase.cpu.value, phase.cpu.low, phase.cpu.high))
    return Estimate(*bounds)


def _seconds(phase: Phase, cpu: float, cores: int, share: float, waits: float) -> float:
    """Evenly spread work, and on average half of the longest piece at the end, while other cores have nothing left to do.

    That is never less than the longest piece, nor than what the driver does for all of them; and never more with more cores.
    """
    busy = cpu + phase.tasks * waits
    longest = busy * phase.longest
    spread = busy / cores / share
    return max(spread + longest / 2 * (1 - 1 / cores), longest, phase.tasks * DRIVER_SECONDS)


def worker_bytes(census: Census, measured: Measured, work: Work) -> Estimate:
    """Resident memory of the largest worker, by the settings' bounds; the upper one by what the sample's own process reached."""
    execution, target = census.config.execution, census.config.output.target_shard_bytes
    batch = min(float(execution.batch_bytes), float(census.largest_unit_bytes))
    document = max(_largest(measured.documents.arrow_bytes), float(census.largest_row_bytes))
    models = max(0, measured.peak_bytes - BASE_BYTES)
    unit = BASE_BYTES + DOCUMENT_FACTOR * max(batch, document)
    factor = PACK_FACTOR if measured.documents.tokens is None else IDS_FACTOR
    pack = BASE_BYTES + factor * min(float(ROW_GROUP_BYTES), float(target), float(census.group_bytes))
    learning = max((BASE_BYTES + phase.peak_bytes for phase in work.phases if phase.kind == "learning"), default=0)
    exchange = max((phase.peak_bytes for phase in work.phases if phase.kind == "exchange"), default=0)
    value = max(unit, pack, learning, exchange)
    return Estimate(value, max(float(BASE_BYTES), value / 2), max(value, unit + models))


def _largest(sizes: Floats) -> float:
    return float(sizes.max(initial=0.0))


def driver_bytes(census: Census, work: Work) -> int:
    """Resident memory of the driver."""
    tasks = sum(phase.tasks for phase in work.phases if phase.kind == "exchange")
    held = max((phase.driver_bytes for phase in work.phases), default=0)
    inventory = census.row_groups * DRIVER_GROUP_BYTES + census.files * DRIVER_FILE_BYTES
    units = census.units * DRIVER_UNIT_BYTES * max(1, len(census.stages))
    return DRIVER_BASE_BYTES + inventory + units + tasks * RECORD_BYTES + held


def total_of(phases: Sequence[Phase]) -> Estimate:
    """CPU of all phases."""
    return added(phase.cpu for phase in phases)
