"""Drives the stages of a plan: the units of each, then the exchange of its group operators, then the next, until all can be packed.

Holds, for each stage, the keys of the units' records; everything else is asked of the records when it is needed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from operators.base import GroupOperator
from operators.near import NearOperator
from operators.passages import PassageOperator
from pipelines import faults
from pipelines.chain import OnError
from pipelines.commit import CommitLog, Digest, Part, digest
from pipelines.documents import Slice
from pipelines.errors import BudgetExceeded
from pipelines.exchange import Limits, Source, UnitPlace
from pipelines.frames import FrameRef, refs
from pipelines.gathering import UnitVerdict
from pipelines.grouping import group_by_key
from pipelines.guards import Breach, Findings, breaches, enforce
from pipelines.history import History
from pipelines.history_leaving import Keeping, keeping
from pipelines.identity import doc_keys, hexadecimal, uri_prefix
from pipelines.inventory import Inventory
from pipelines.judging import Judged
from pipelines.layers import Layers
from pipelines.learned import LearnedFile
from pipelines.learning import Learning, Piece
from pipelines.ledger import Ledger, chained, most_allowed, total
from pipelines.lots import Tallies
from pipelines.near_grouping import UnitKeys, group_near
from pipelines.passage_grouping import group_passages
from pipelines.plan import PLACE_ROWS, Plan, Stage
from pipelines.poison import PoisonJob
from pipelines.profile_counts import LANGUAGES_PART, ProfileTotals
from pipelines.steps import Steps, held_bytes
from pipelines.storage import Store
from pipelines.token_counts import NAMES_PART, TokenTotals
from pipelines.unit import UnitJob
from pipelines.units import Unit, file_ranges, slices, unit_ordinals
from pipelines.work import Work

Complete = Callable[[CommitLog, Sequence[Work]], None]
"""Returns when all of the work is committed; a survey raises instead, where anything is missing."""

SIDES: Final = ("dropped", "duplicates", "quarantine")
PACKED: Final = ("documents", *SIDES)


class Left(NamedTuple):
    """What a unit left to the next stage: who did it, how many rows, how many bytes of documents."""

    attempt: str
    rows_out: int
    bytes: int


class Grouped(NamedTuple):
    """A group operator that was decided: what its tasks told, how many documents took part, and what is for later runs."""

    operator: GroupOperator
    findings: Findings
    num_documents: int
    kept: Sequence[Source]
    left: Mapping[str, Sequence[Part]]


@dataclass(slots=True)
class Finished:
    """A stage whose units are all committed, in the plan's order.

    What the records say is read once, when the stage ends, and only small things of it are kept: 200,000 units may have many frames each.

    Attributes:
        ledger: Of all units.
        sides: Units that have a part of a side table, by its name.
        seconds: Of the exchanges, by group operator.
        groups: The group operators that ended it, with what their tasks told.
        told: What units told of sources, by the group operator of the stage before that asks.
        tokens: What units told of tokens in their records.
        token_parts: Units that have a part with more of it.
        profile: What units told of their documents in their records.
        language_parts: Units that have a part with more of it.
        tallies: What there is to learn for each operator that learns at its end.
    """

    stage: Stage
    log: CommitLog
    keys: list[str]
    ledger: Ledger = field(default_factory=Ledger)
    sides: dict[str, array[int]] = field(default_factory=lambda: {name: array("l") for name in SIDES})
    seconds: dict[str, float] = field(default_factory=dict)
    groups: list[Grouped] = field(default_factory=list)
    told: dict[str, Findings] = field(default_factory=dict)
    tokens: TokenTotals = field(default_factory=TokenTotals)
    token_parts: array[int] = field(default_factory=lambda: array("l"))
    profile: ProfileTotals | None = None
    language_parts: array[int] = field(default_factory=lambda: array("l"))
    tallies: dict[str, Tallies] = field(default_factory=dict)

    def read(self, packed: Digest) -> list[Left]:
        """What every unit left; the content of the parts that are packed goes into a digest."""
        left = []
        self.tallies = {learner.name: Tallies() for learner in self.stage.spec.learners}
        self.profile = None if self.stage.spec.profile is None else ProfileTotals(self.stage.spec.profile)
        for position, body in enumerate(map(self.log.body, self.keys)):
            parts, ledger = body["parts"], Ledger.from_json(body["ledger"])
            self.ledger.add(ledger)
            for name, sources in body["detail"].get("sources", {}).items():
                self.told.setdefault(name, Findings()).add_sources(sources)
            if "tokens" in body["detail"]:
                self.tokens.add(body["detail"]["tokens"])
            if NAMES_PART in parts:
                self.token_parts.append(position)
            if self.profile is not None and "profile" in body["detail"]:
                self.profile.add(body["detail"]["profile"])
            if LANGUAGES_PART in parts:
                self.language_parts.append(position)
            for name, tallies in self.tallies.items():
                tallies.add(body["detail"].get("tallies", {}).get(name))
            for role in PACKED:
                if role in parts:
                    packed.add(role, parts[role]["sha256"])
            for name in SIDES:
                if name in parts:
                    self.sides[name].append(position)
            left.append(Left(body["attempt"], ledger.rows_out, parts["documents"]["bytes"] if "documents" in parts else 0))
        return left

    def num_keys(self, number: int) -> int:
        """Documents that take part in a group operator."""
        parts = (self.part(position, f"keys-{number}") for position in range(len(self.keys)))
        return sum(part.rows for part in parts if part is not None)

    def part(self, position: int, role: str) -> Part | None:
        """A part of the unit at a position."""
        data = self.log.body(self.keys[position])["parts"].get(role)
        return None if data is None else Part.from_json(data)

    def documents(self, position: int) -> tuple[Part | None, bool]:
        """The documents of the unit at a position, and whether they are only what changed."""
        body = self.log.body(self.keys[position])
        data = body["parts"].get("documents")
        return (None if data is None else Part.from_json(data)), body["detail"]["delta"]


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
        history: History | None = None,
    ) -> None:
        self._store = store
        self.plan = plan
        self._inventory = inventory
        self._logs = logs
        self._complete = complete
        self._limits = limits
        self._poisoned = poisoned
        self._history = history
        self.finished: list[Finished] = []
        self.breaches: list[Breach] = []
        self._learned: list[tuple[int, LearnedFile]] = []
        self._packed = Digest("pack")

    def run(self) -> None:
        """Bring every unit of every stage to a commit."""
        verdicts: list[list[UnitVerdict]] = []
        left: list[Left] = []
        for number, stage in enumerate(self.plan.stages):
            log = self._logs[number]
            told = [[of_unit[position] for of_unit in verdicts] for position in range(len(self.plan.units))]
            if number == 0:
                works = [self._first_work(position) for position in range(len(self.plan.units))]
            else:
                works = [self._work(number, position, before, told[position]) for position, before in enumerate(left)]
            self._complete(log, works)
            done = Finished(stage, log, [work.key for work in works])
            left = done.read(self._packed)
            self.finished.append(done)
            if number:
                self._guard(self.finished[number - 1], done)
            verdicts = [*self._learn(done), *self._groups(done)]
            faults.point("run.stage-done")

    # --- units

    def _first_work(self, position: int) -> Work:
        unit = self.plan.units[position]
        why = self._poisoned.get(unit.key)
        if why is not None:
            return Work(digest("poison", unit.key), partial(self._poison, position, why), unit.rows, 0, "unit")
        return Work(unit.key, partial(self._first_job, position), unit.rows, unit.bytes, "unit", unit.key)

    def _work(self, number: int, position: int, before: Left, told: Sequence[UnitVerdict]) -> Work:
        unit = self.plan.units[position]
        # The attempt stands for the very parts that this unit reads; verdicts count by what they say.
        key = digest("unit", unit.key, before.attempt, *(verdict.digest for verdict in told))
        job = partial(self._job, number, position, before.rows_out, tuple(verdict.frame for verdict in told))
        return Work(key, job, before.rows_out, before.bytes, "unit", unit.key)

    def _poison(self, position: int, why: str) -> PoisonJob:
        unit = self.plan.units[position]
        spec = self.plan.stages[0].spec
        return PoisonJob(spec, slices(self._inventory, unit), why, unit_facts(self._inventory, unit))

    def _first_job(self, position: int) -> UnitJob:
        unit = self.plan.units[position]
        spec = self.plan.stages[0].spec
        return UnitJob(spec, slices(self._inventory, unit), None, (), unit.rows, unit_facts(self._inventory, unit))

    def _job(self, number: int, position: int, rows: int, verdicts: tuple[FrameRef | None, ...]) -> UnitJob:
        unit = self.plan.units[position]
        spec = self.plan.stages[number].spec
        # Only the record of the first stage says which files a unit has: a later plan decides by that one what it can keep.
        layers, files = self.layers(number - 1, position), files_only(self._inventory, unit)
        return UnitJob(spec, files, layers, verdicts, rows, {"key": unit.key}, self._learned_before(number))

    def layers(self, stage: int, position: int) -> Layers:
        """The documents of a unit after a stage."""
        top, is_delta = self.finished[stage].documents(position)
        if top is None:
            return Layers(())
        below = self.layers(stage - 1, position).parts if is_delta else ()
        return Layers((*below, top))

    # --- learning

    def _learn(self, done: Finished) -> list[list[UnitVerdict]]:
        """What operators learn at the end of a stage. It counts as a verdict on every unit: later work depends on it."""
        number = len(self.finished) - 1
        verdicts = []
        for position, operator in enumerate(done.stage.spec.learners):
            learning = Learning(
                operator=operator,
                facts=self.plan.stages[number + 1].facts["learned"][position],
                tallies=done.tallies[operator.name],
                piece=partial(self._piece, number),
                schema=self.plan.stages[number + 1].spec.schema,
                before=self._learned_before(number),
            )
            file, done.seconds[operator.name] = learning.run(done.log, self._complete, self._limits)
            self._learned.append((number, file))
            self._packed.add("learned", file.name, file.sha256)
            verdicts.append([UnitVerdict(None, file.sha256)] * len(self.plan.units))
        return verdicts

    def _learned_before(self, number: int) -> tuple[LearnedFile, ...]:
        """What operators of the stages before one have learned."""
        return tuple(file for stage, file in self._learned if stage < number)

    @property
    def learned(self) -> list[LearnedFile]:
        """Everything that was learned, in the order of the operators."""
        return [file for _, file in self._learned]

    def _piece(self, stage: int, position: int, numbers: Sequence[int]) -> Piece:
        return Piece(self.layers(stage, position), tuple(numbers), unit_ordinals(self._inventory, self.plan.units[position]))

    # --- groups

    def _groups(self, done: Finished) -> list[list[UnitVerdict]]:
        verdicts: list[list[UnitVerdict]] = []
        removing: list[list[UnitVerdict]] = []
        places = [unit_place(self._inventory, unit) for unit in self.plan.units] if done.stage.spec.groups else []
        for number, operator in enumerate(done.stage.spec.groups):
            told = "" if self._history is None else self._history.snapshot.digest
            steps = Steps(done.log, partial(self._complete, done.log), operator, self._limits, told)
            sources = [
                self._source(done.part(position, f"keys-{number}"), place.ordinals, [of_unit[position].frame for of_unit in removing])
                for position, place in enumerate(places)
            ]
            num_documents = done.num_keys(number)
            verdicts.append(self._verdicts(done, number, steps, sources, places, num_documents))
            judged = Judged.of(steps.loaded, operator)
            if not judged.annotate and judged.editor is None:
                removing.append(verdicts[-1])
            done.seconds[operator.name] = steps.seconds
            kept = self._kept(done, number, steps, sources, verdicts[-1]) if self._history is not None else []
            done.groups.append(Grouped(steps.loaded, steps.findings, num_documents, kept, steps.left))
        return verdicts

    def _verdicts(
        self, done: Finished, number: int, steps: Steps, sources: Sequence[Source], places: Sequence[UnitPlace], num_documents: int
    ) -> list[UnitVerdict]:
        with_keys = [source for source in sources if source.frames]
        if isinstance(steps.loaded, PassageOperator):
            return group_passages(steps, with_keys, places, self._history)
        if not isinstance(steps.loaded, NearOperator):
            return group_by_key(steps, with_keys, places, num_documents, self._history)
        stage = len(self.finished) - 1
        units = []
        for position, (source, place) in enumerate(zip(sources, places, strict=True)):
            if source.frames:
                features, rows = _features(done, number, position, source)
                layers = self.layers(stage, position)
                size = sum(held_bytes(layer) for layer in layers.parts)
                units.append(UnitKeys(place, source, features, layers, size, rows))
        return group_near(steps, units, places, self._history)

    def _kept(self, done: Finished, number: int, steps: Steps, sources: Sequence[Source], verdicts: Sequence[UnitVerdict]) -> list[Source]:
        """Keys or features of the documents that an operator keeps, for later runs; of one that cuts texts there are none."""
        if isinstance(steps.loaded, PassageOperator):
            return []
        kept = []
        for position, (source, verdict) in enumerate(zip(sources, verdicts, strict=True)):
            if source.frames:
                found = source
                if isinstance(steps.loaded, NearOperator):
                    found, _ = _features(done, number, position, source)
                removed = found.removed if verdict.frame is None else (*found.removed, verdict.frame)
                kept.append(replace(found, removed=removed))
        return kept

    def keepings(self) -> list[Keeping]:
        """What the run leaves for later ones."""
        return [one for done in self.finished for group in done.groups for one in keeping(group.operator, group.kept, group.left)]

    def _source(self, part: Part | None, ordinals: tuple[int, ...], removed: Sequence[FrameRef | None]) -> Source:
        size = 0 if part is None else held_bytes(part)
        return Source(tuple(refs(part)), ordinals, tuple(ref for ref in removed if ref is not None), size)

    # --- guards

    def _guard(self, before: Finished, done: Finished) -> None:
        """Compare what was told of the group operators before a stage with their guards.

        Raises:
            GuardBreached: Too much is removed, and the pipeline wants to fail then.
        """
        for operator, findings, num_documents, _, _ in before.groups:
            name = operator.name or operator.type
            findings.sources = done.told[name].sources if name in done.told else {}
            ids = {place: self._doc_key(place) for _, place in findings.heavy}
            found = breaches(operator, findings, num_documents, ids)
            self.breaches += found
            enforce(operator, found)

    def _doc_key(self, place: int) -> str:
        uri, _ = self._inventory.identity(place // PLACE_ROWS)
        return str(hexadecimal(doc_keys([uri_prefix(uri)], np.zeros(1, np.int64), np.array([place % PLACE_ROWS])))[0])

    # --- results

    def ledger(self) -> Ledger:
        """The accounting of all stages, each operator's seconds with those of its exchange."""
        ledgers = []
        for done in self.finished:
            ledger = total([done.ledger], [])
            for name, seconds in done.seconds.items():
                ledger.operator(name).seconds += seconds
            ledgers.append(ledger)
        return chained(ledgers)

    def side_parts(self, name: str) -> Iterator[Part]:
        """Parts of a side table, by stage, then in the inventory's order."""
        for done in self.finished:
            for position in done.sides[name]:
                part = done.part(position, name)
                assert part is not None
                yield part

    def tokens(self) -> dict[str, Any] | None:
        """Tokens by source and language, as the manifest tells them; None where the documents have no token counts. Asked once."""
        last = self.finished[-1]
        columns = last.stage.spec.tokens
        if columns is None:
            return None
        parts = [last.part(position, NAMES_PART) for position in last.token_parts]
        last.tokens.add_parts(self._store, [part for part in parts if part is not None])
        return last.tokens.to_json(columns)

    def profile(self) -> dict[str, Any] | None:
        """The profile of the documents, as the manifest tells it; None where their text is not written. Asked once."""
        last = self.finished[-1]
        if last.profile is None:
            return None
        parts = [last.part(position, LANGUAGES_PART) for position in last.language_parts]
        last.profile.add_parts(self._store, [part for part in parts if part is not None])
        return last.profile.to_json()

    def documents(self) -> Iterator[Layers]:
        """The documents of every unit after the last stage."""
        last = len(self.finished) - 1
        return (self.layers(last, position) for position in range(len(self.plan.units)))

    def pack_digest(self) -> str:
        """Digest of what is packed: the content of the parts, whichever attempts wrote them.

        So work that is done again after the version was claimed (its record was torn by a crash) goes on with that version, unless an
        operator gives something else each time.
        """
        return str(self._packed)


def _features(done: Finished, number: int, position: int, keys: Source) -> tuple[Source, int]:
    """The features that a unit left beside its keys, and for how many documents."""
    part = done.part(position, f"features-{number}")
    assert part is not None
    return replace(keys, frames=tuple(refs(part)), bytes=held_bytes(part)), part.rows


def files_only(inventory: Inventory, unit: Unit) -> tuple[Slice, ...]:
    """The files of a unit that reads none of them any more: a slice a file instead of one a row group."""
    return tuple({piece.file.ordinal: piece for piece in slices(inventory, unit)}.values())


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
        self._seen: set[str] = set()
        self._total = 0

    def count(self, key: str, ledger: Ledger | None) -> None:
        """Add the quarantined rows of some work's record.

        Raises:
            BudgetExceeded: They are more than the fraction of the inventory's rows.
        """
        if ledger is None or key in self._seen:
            return
        self._seen.add(key)
        self._total += ledger.num_quarantined
        if self._total <= self._most:
            return
        if self._strict:
            raise BudgetExceeded(
                f"{self._total} of {self._rows} rows were quarantined by an earlier run, and execution.on_error is fail now: "
                "mend the input, or set it to quarantine to go on from what is committed"
            )
        errors = ", ".join(f"{name} {count}" for name, count in ledger.quarantined().items())
        raise BudgetExceeded(
            f"{self._total} of {self._rows} rows are quarantined ({errors} in the last unit), more than "
            "execution.max_quarantined_fraction "
            f"({self._fraction:g}) allows; `shardmill status` shows examples: mend the input or the operator, or raise the fraction, "
            "and run again"
        )
