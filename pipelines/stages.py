"""Drives the stages of a plan: the units of each, then the exchange of its group operators, then the next, until all can be packed.

Holds, for each stage, the keys of the units' records; everything else is asked of the records when it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipelines import faults
from pipelines.chain import OnError
from pipelines.commit import CommitLog, Part, Record, digest
from pipelines.errors import BudgetExceeded
from pipelines.exchange import Limits, Source, UnitPlace
from pipelines.frames import FrameRef, refs
from pipelines.grouping import Grouping, UnitVerdict
from pipelines.inventory import Inventory
from pipelines.layers import Layers
from pipelines.ledger import Ledger, chained, most_allowed, total
from pipelines.plan import PLACE_ROWS, Plan, Stage, Unit, file_ranges, slices, unit_ordinals
from pipelines.storage import Store
from pipelines.unit import PoisonJob, UnitJob
from pipelines.work import Work

Complete = Callable[[CommitLog, Sequence[Work]], None]
"""Returns when all of the work is committed; a survey raises instead, where anything is missing."""


@dataclass(slots=True)
class Finished:
    """A stage whose units are all committed, in the plan's order."""

    stage: Stage
    log: CommitLog
    keys: list[str]
    seconds: dict[str, float] = field(default_factory=dict)

    def record(self, position: int) -> Record:
        """The record of the unit at a position."""
        return self.log.record(self.keys[position])

    def records(self) -> Iterator[Record]:
        """The records of all units, one at a time."""
        return self.log.records(self.keys)


class Stages:
    """The stages of one run of a plan.

    `poisoned`: units of one row that killed every worker that tried them, with what was last heard; their row is quarantined.
    """

    def __init__(
        self,
        store: Store,
        plan: Plan,
        inventory: Inventory,
        logs: Sequence[CommitLog],
        complete: Complete,
        limits: Limits,
        poisoned: Mapping[str, str],
    ) -> None:
        self._store = store
        self.plan = plan
        self._inventory = inventory
        self._logs = logs
        self._complete = complete
        self._limits = limits
        self._poisoned = poisoned
        self.finished: list[Finished] = []

    def run(self) -> None:
        """Bring every unit of every stage to a commit."""
        verdicts: list[list[UnitVerdict]] = []
        for number, stage in enumerate(self.plan.stages):
            log = self._logs[number]
            works = [self._work(number, position, verdicts) for position in range(len(self.plan.units))]
            self._complete(log, works)
            done = Finished(stage, log, [work.key for work in works])
            self.finished.append(done)
            verdicts = self._groups(done)
            faults.point("run.stage-done")

    # --- units

    def _work(self, number: int, position: int, verdicts: Sequence[Sequence[UnitVerdict]]) -> Work:
        unit = self.plan.units[position]
        told = [of_unit[position] for of_unit in verdicts]
        job = partial(self._job, number, position, tuple(verdict.frame for verdict in told))
        if number == 0:
            why = self._poisoned.get(unit.key)
            if why is not None:
                return Work(digest("poison", unit.key), partial(self._poison, position, why), unit.rows, 0, "unit")
            return Work(unit.key, job, unit.rows, unit.bytes, "unit", unit.key)
        before = self.finished[-1].record(position)
        # The attempt stands for the very parts that this unit reads; verdicts count by what they say.
        key = digest("unit", unit.key, before.attempt, *(verdict.digest for verdict in told))
        size = before.parts["documents"].bytes if "documents" in before.parts else 0
        return Work(key, job, _rows_out(before), size, "unit", unit.key)

    def _poison(self, position: int, why: str) -> PoisonJob:
        unit = self.plan.units[position]
        spec = self.plan.stages[0].spec
        return PoisonJob(spec, slices(self._inventory, unit), why, unit_facts(self._inventory, unit))

    def _job(self, number: int, position: int, verdicts: tuple[FrameRef | None, ...]) -> UnitJob:
        unit = self.plan.units[position]
        spec = self.plan.stages[number].spec
        pieces = slices(self._inventory, unit)
        facts = unit_facts(self._inventory, unit)
        if number == 0:
            return UnitJob(spec, pieces, None, verdicts, unit.rows, facts)
        rows = _rows_out(self.finished[number - 1].record(position))
        return UnitJob(spec, pieces, self.layers(number - 1, position), verdicts, rows, facts)

    def layers(self, stage: int, position: int) -> Layers:
        """The documents of a unit after a stage."""
        record = self.finished[stage].record(position)
        top = record.parts.get("documents")
        if top is None:
            return Layers(())
        below = self.layers(stage - 1, position).parts if record.detail["delta"] else ()
        return Layers((*below, top))

    # --- groups

    def _groups(self, done: Finished) -> list[list[UnitVerdict]]:
        verdicts: list[list[UnitVerdict]] = []
        for number, operator in enumerate(done.stage.spec.groups):
            grouping = Grouping(done.log, partial(self._complete, done.log), operator, self._limits)
            sources = [self._source(done, position, number, verdicts) for position in range(len(done.keys))]
            places = [unit_place(self._inventory, unit) for unit in self.plan.units]
            verdicts.append(grouping.verdicts([source for source in sources if source.frames], places))
            done.seconds[operator.name] = grouping.seconds
        return verdicts

    def _source(self, done: Finished, position: int, number: int, verdicts: Sequence[Sequence[UnitVerdict]]) -> Source:
        part = done.record(position).parts.get(f"keys-{number}")
        ordinals = unit_ordinals(self._inventory, self.plan.units[position])
        removed = tuple(of_unit[position].frame for of_unit in verdicts)
        return Source(tuple(refs(part)), ordinals, tuple(ref for ref in removed if ref is not None), 0 if part is None else part.bytes)

    # --- results

    def ledger(self) -> Ledger:
        """The accounting of all stages, each operator's seconds with those of its exchange."""
        ledgers = []
        for done in self.finished:
            ledger = total((record.ledger for record in done.records() if record.ledger is not None), [])
            for name, seconds in done.seconds.items():
                ledger.operator(name).seconds += seconds
            ledgers.append(ledger)
        return chained(ledgers)

    def side_parts(self, name: str) -> Iterator[Part]:
        """Parts of a side table, by stage, then in the inventory's order."""
        for done in self.finished:
            for record in done.records():
                if name in record.parts:
                    yield record.parts[name]

    def documents(self) -> Iterator[Layers]:
        """The documents of every unit after the last stage."""
        last = len(self.finished) - 1
        return (self.layers(last, position) for position in range(len(self.plan.units)))

    def pack_digest(self) -> str:
        """Digest of what is packed: the content of the parts, whichever attempts wrote them.

        So work that is done again after the version was claimed (its record was torn by a crash) goes on with that version, unless an
        operator gives something else each time.
        """
        packed = ("documents", "dropped", "duplicates", "quarantine")
        records = (record for done in self.finished for record in done.records())
        return digest(
            "pack", *(word for record in records for role in packed if role in record.parts for word in (role, record.parts[role].sha256))
        )


def _rows_out(record: Record) -> int:
    return 0 if record.ledger is None else record.ledger.rows_out


def unit_facts(inventory: Inventory, unit: Unit) -> dict[str, Any]:
    """What a record says of its unit, so that a later plan of another inventory can keep it."""
    files = [
        [*inventory.identity(ordinal), first, stop] for ordinal, first, stop in file_ranges(inventory, unit.first_group, unit.stop_group)
    ]
    return {"key": unit.key, "skip": unit.skip, "rows": unit.rows, "files": files}


def unit_place(inventory: Inventory, unit: Unit) -> UnitPlace:
    """Where a unit lies in the inventory's order."""
    start = _place(inventory, unit.first_group, unit.skip)
    stop = _place(inventory, unit.first_group, unit.skip + unit.rows)
    return UnitPlace(start, stop, unit_ordinals(inventory, unit))


def _place(inventory: Inventory, group: int, rows: int) -> int:
    """The place (file, row) that many rows after the start of a row group; at the end of a stretch, one past its last row."""
    while rows > int(inventory.group_rows[group]):
        rows -= int(inventory.group_rows[group])
        group += 1
    ordinal = int(inventory.group_file[group])
    first = int(inventory.file_first_group[ordinal])
    return ordinal * PLACE_ROWS + int(inventory.group_rows[first:group].sum()) + rows


class Budget:
    """Stops a run that quarantines more than it may.

    `on_error: fail` allows none: not what an earlier run quarantined, either, that was less strict and did not finish.
    """

    def __init__(self, fraction: float, rows: int, on_error: OnError) -> None:
        self._fraction = fraction
        self._rows = rows
        self._strict = on_error == "fail"
        self._most = 0 if self._strict else most_allowed(fraction, rows)
        self._seen: dict[str, int] = {}
        self._total = 0

    def count(self, record: Record) -> None:
        """Add a record's quarantined rows.

        Raises:
            BudgetExceeded: They are more than the fraction of the inventory's rows.
        """
        if record.ledger is None or record.key in self._seen:
            return
        bad = record.ledger.num_quarantined
        self._seen[record.key] = bad
        self._total += bad
        if self._total <= self._most:
            return
        if self._strict:
            raise BudgetExceeded(
                f"{self._total} of {self._rows} rows were quarantined by an earlier run, and execution.on_error is fail now: "
                "mend the input, or set it to quarantine to go on from what is committed"
            )
        errors = ", ".join(f"{name} {count}" for name, count in record.ledger.quarantined().items())
        raise BudgetExceeded(
            f"{self._total} of {self._rows} rows are quarantined ({errors} in the last unit), more than "
            "execution.max_quarantined_fraction "
            f"({self._fraction:g}) allows; `shardmill status` shows examples: mend the input or the operator, or raise the fraction, "
            "and run again"
        )
