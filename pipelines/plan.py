"""The plan: a pure function of the pipeline, the inventory and what is known to be committed. It does no I/O.

A stage is batch operators up to and with the operators behind them that need all documents, to compare them or to learn from them. A unit
is a stretch of the inventory: whole row groups, and after a split a range of their rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from operators.base import GroupOperator, LearningOperator, Operator
from operators.passages import PassageOperator
from pipelines.commit import digest
from pipelines.config import PipelineConfig
from pipelines.document_profile import ProfileColumns
from pipelines.errors import InputError
from pipelines.fingerprint import Facts, engine_facts, fingerprint, operator_facts, sampling_facts, schema_facts, settings
from pipelines.formats import ReadOptions, Slice
from pipelines.inventory import Inventory
from pipelines.judging import Judged
from pipelines.operatorspec import OperatorSpec
from pipelines.recall import Snapshot
from pipelines.rows import DropTable
from pipelines.token_counts import TokenColumns
from pipelines.tombstones import TAKEDOWN, TakenOut
from pipelines.unit import MADE_ID, StageSpec

MAX_UNITS: Final = 200_000
AUTO_UNIT_BYTES: Final = 128 << 20
"""A unit's uncompressed bytes: about a second's work for fast operators, minutes for slow ones, and 200,000 of them are 25 TB."""
MIN_UNIT_BYTES: Final = 1 << 20
AUTO_UNITS: Final = 64
"""Units that a small input is cut into, so that a few cores are evenly busy."""
RESERVED: Final = "_shardmill_"
"""Beginning of the names of columns that stand between stages."""
PLACE_ROWS: Final = 1 << 40
MAX_FILES: Final = 1 << 23


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of the inventory.

    Attributes:
        key: Digest of its inputs: uri, etag, row groups and rows of each file.
        first_group: First row group, counted over the inventory; `stop_group` is one past the last.
        skip: Rows of the stretch that are not in the unit, at its front: a split makes such units.
        rows: Rows in the unit.
        bytes: Uncompressed bytes, estimated.
    """

    key: str
    first_group: int
    stop_group: int
    skip: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the plan: its specification for workers, and what its fingerprint stands for."""

    spec: StageSpec
    facts: Facts
    operators: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Identity of the stage."""
        return self.spec.fingerprint

    @property
    def names(self) -> tuple[str, ...]:
        """Of every operator that takes part in it, also those that end it."""
        return (*self.operators, *(spec.name for spec in (*self.spec.learners, *self.spec.groups)))

    @property
    def is_last(self) -> bool:
        """True for the stage whose documents are packed."""
        return self.spec.output is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    Attributes:
        fingerprint: Identity of the result: same plan, same bytes. Its first 8 digits are in every shard's name.
        fingerprints: Of config, inputs and code, as they stand in the manifest.
        stages: In order.
        units: In the inventory's order, the same in every stage.
        output_schema: Columns of the shards.
    """

    fingerprint: str
    fingerprints: Mapping[str, str]
    stages: tuple[Stage, ...]
    units: tuple[Unit, ...]
    output_schema: pa.Schema

    @property
    def short(self) -> str:
        """The part of a shard's name that says which plan made it."""
        return self.fingerprint[:8]


# --- stages


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a plan is made of besides the units: found out beforehand, so that planning is pure.

    Attributes:
        assets: sha256 of every asset by its uri.
        schemas: Columns that come into each stage, and last those that the last stage gives.
        made_id: True if the input has no id column and reading makes one.
        history: What earlier runs left, as it was when the run was planned.
        taken_out: Documents that were taken out of the output, if there are any: the run leaves them out.
    """

    config: PipelineConfig
    options: ReadOptions
    assets: Mapping[str, str]
    schemas: tuple[pa.Schema, ...]
    made_id: bool
    history: Snapshot | None = None
    taken_out: TakenOut | None = None


End = GroupOperator | LearningOperator


def cut(operators: Sequence[Operator]) -> list[tuple[list[Operator], list[End]]]:
    """The operators of each stage: batch operators, then those that end it, which need all documents. The last stage is ended by none.

    Group operators one after the other share a stage, unless one reads what another before it changes or adds. Operators that learn come
    first among those that end a stage: the documents that they learn from are those that the stage gives.
    """
    stages: list[tuple[list[Operator], list[End]]] = [([], [])]
    for operator in operators:
        if isinstance(operator, LearningOperator):
            if any(isinstance(before, GroupOperator) for before in stages[-1][1]):
                stages.append(([], []))
            stages[-1][1].append(operator)
        elif isinstance(operator, GroupOperator):
            if any(_changes_input(before, operator) for before in stages[-1][1]):
                stages.append(([], []))
            stages[-1][1].append(operator)
        else:
            if stages[-1][1]:
                stages.append(([], []))
            stages[-1][0].append(operator)
    if stages[-1][1]:
        stages.append(([], []))
    return stages


def learning(operators: Iterable[Operator]) -> frozenset[str]:
    """Names of the operators that learn."""
    return frozenset(_name(operator) for operator in operators if isinstance(operator, LearningOperator))


def _changes_input(before: End, operator: GroupOperator) -> bool:
    """Whether a group operator reads what one before it changes or adds: a text that was cut, a column of marks or numbers."""
    added = {field.name for field in Judged.of(before).fields}
    given = operator.model_dump(exclude={"name", "type", "num_duplicates"}).values()
    named = {name for value in given for name in (value if isinstance(value, list) else [value]) if isinstance(name, str)}
    return isinstance(before, PassageOperator) or bool(added & named)


def plan_stages(made: Ingredients) -> tuple[Stage, ...]:
    """Every stage with its fingerprint, which covers the stages before it.

    Raises:
        InputError: The input has a column whose name the engine needs for itself.
    """
    taken = [name for name in made.schemas[0].names if name.startswith(RESERVED)]
    if taken:
        raise InputError(f"input: the column {taken[0]!r} begins with {RESERVED!r}, which is the engine's own; rename it")
    stages: list[Stage] = []
    parts = cut(made.config.operators)
    judged: tuple[Judged, ...] = ()
    learned: list[Facts] = []
    for number, (batch, ends) in enumerate(parts):
        last = number == len(parts) - 1
        facts = _facts(made, batch, ends, number, last=last)
        if learned:
            facts["learned"] = learned
        facts["after"] = stages[-1].fingerprint if stages else None
        spec = _spec(made, fingerprint(facts), number, batch, ends, judged, last=last)
        names = [TAKEDOWN] * (spec.taken_out is not None) + [one.name for one in judged] + [_name(operator) for operator in batch]
        stages.append(Stage(spec, facts, tuple(names)))
        judged = tuple(Judged.of(end, spec) for end, spec in zip(ends, (*spec.learners, *spec.groups), strict=True))
        learned = [_operator_facts(made, operator) for operator in ends if isinstance(operator, LearningOperator)]
    return tuple(stages)


def _name(operator: Operator) -> str:
    return operator.name or operator.type


def _operator_facts(made: Ingredients, operator: Operator) -> Facts:
    return operator_facts(operator, made.assets, made.config.execution.seed, learning(made.config.operators))


def _facts(made: Ingredients, batch: Sequence[Operator], ends: Sequence[End], number: int, *, last: bool) -> Facts:
    """What decides the documents that a stage gives. What is learned from these counts in the stage after it."""
    config = made.config
    groups = [operator for operator in ends if isinstance(operator, GroupOperator)]
    facts: Facts = {
        "operators": [_operator_facts(made, operator) for operator in (*batch, *groups)],
        "engine": engine_facts(),
        "dropped": config.output.dropped,
        "explained": _explained(config),
    }
    learners = [operator for operator in ends if isinstance(operator, LearningOperator)]
    if learners:
        names = learning(config.operators)
        facts["samples"] = [sampling_facts(operator, made.assets, config.execution.seed, names) for operator in learners]
    if number == 0:
        facts["read"] = _read_facts(made)
        if made.taken_out is not None:
            facts["taken_out"] = made.taken_out.digest
    if last:
        facts["columns"] = list(output_columns(made))
        facts["partition_by"] = list(config.output.partition_by)
        tokens = token_columns(made)
        if tokens is not None:
            facts["tokens_by"] = [tokens.source, tokens.language]
        profile = profile_columns(made)
        if profile is not None:
            facts["documents_by"] = [profile.text, profile.language]
    return facts


def _explained(config: PipelineConfig) -> bool:
    """Whether the table of dropped documents has details: the same in every stage, so that its parts make one table."""
    return any(operator.explains for operator in config.operators)


def _read_facts(made: Ingredients) -> Facts:
    options = made.options
    return {
        "text_column": options.text_column,
        "id_column": MADE_ID if made.made_id else options.id_column,
        "made_id": made.made_id,
        "path_columns": list(options.path_columns),
        "format": options.format,
        "schema": schema_facts(made.schemas[0]),
    }


def output_columns(made: Ingredients) -> tuple[str, ...]:
    """Columns of the shards, in order: all of them, or those that `output.columns` names."""
    have = made.schemas[-1].names
    wanted = made.config.output.columns
    if wanted is None:
        return tuple(have)
    missing = [name for name in wanted if name not in have]
    if missing:
        raise InputError(f"output.columns: the documents have no column {', '.join(map(repr, missing))}; they have: {', '.join(have)}")
    return tuple(wanted)


def token_columns(made: Ingredients) -> TokenColumns | None:
    """The columns by which tokens are counted; None where the output has no token counts."""
    output = made.config.output
    return TokenColumns.of(output.source_column, output.language_column, made.schemas[-1], output_columns(made))


def profile_columns(made: Ingredients) -> ProfileColumns | None:
    """The columns of which the profile of the documents is made; None where their text is not written."""
    config = made.config
    return ProfileColumns.of(config.input.text_column, config.output.language_column, made.schemas[-1], output_columns(made))


def _spec(
    made: Ingredients,
    key: str,
    number: int,
    batch: Sequence[Operator],
    ends: Sequence[End],
    judged: tuple[Judged, ...],
    *,
    last: bool,
) -> StageSpec:
    config = made.config
    return StageSpec(
        fingerprint=key,
        operators=_specs(batch, config.folder),
        groups=_specs((operator for operator in ends if isinstance(operator, GroupOperator)), config.folder),
        judged=judged,
        schema=made.schemas[number],
        output=output_columns(made) if last else None,
        partition_by=config.output.partition_by if last else (),
        tokens=token_columns(made) if last else None,
        drop_table=DropTable(_explained(config), made.schemas[0] if config.output.dropped else None),
        options=made.options,
        made_id=made.made_id,
        batch_bytes=config.execution.batch_bytes,
        on_error=config.execution.on_error,
        learners=_specs((operator for operator in ends if isinstance(operator, LearningOperator)), config.folder),
        profile=profile_columns(made) if last else None,
        taken_out=made.taken_out if number == 0 else None,
    )


def _specs(operators: Iterable[Operator], folder: Path) -> tuple[OperatorSpec, ...]:
    return tuple(OperatorSpec.of(operator, folder) for operator in operators)


# --- units


def unit_bytes(setting: int | str, total_bytes: int) -> int:
    """Uncompressed bytes that a unit should have; `auto` keeps a run under 200,000 units."""
    if isinstance(setting, int):
        return setting
    evenly = min(AUTO_UNIT_BYTES, max(MIN_UNIT_BYTES, total_bytes // AUTO_UNITS))
    return max(evenly, -(-total_bytes // (MAX_UNITS // 2)))


def plan_units(inventory: Inventory, target_bytes: int, kept: Sequence[tuple[int, int]] = ()) -> list[Unit]:
    """Cut the inventory into units of about `target_bytes`: several row groups of big files, several small files, a giant row group alone.

    `kept`: stretches (first row group, stop) that are committed as units already and stay as they are; only the rest is cut anew.
    """
    if inventory.num_files > MAX_FILES:
        raise InputError(
            f"the input has {inventory.num_files} files; at most {MAX_FILES} can be planned in one run: pack them, or run in parts"
        )
    builder = _UnitBuilder(inventory)
    total = len(inventory.group_rows)
    position = 0
    for first, stop in sorted(kept):
        if first < position:
            continue
        rest = _cut_range(inventory.group_bytes, position, first, target_bytes)
        builder.extend(rest)
        builder.extend([(first, stop)])
        position = stop
    builder.extend(_cut_range(inventory.group_bytes, position, total, target_bytes))
    return builder.units


def _cut_range(sizes: np.ndarray[Any, Any], first: int, stop: int, target: int) -> Iterator[tuple[int, int]]:
    """Greedy cut of row groups [first, stop) into stretches of about `target` bytes."""
    if first >= stop:
        return
    before = np.concatenate([[0], np.cumsum(sizes[first:stop])])
    start = 0
    count = stop - first
    while start < count:
        end = int(np.searchsorted(before, before[start] + target, side="left"))
        end = min(max(end, start + 1), count)
        # A row group that overshoots by more than half of the target begins the next unit instead.
        if end - start > 1 and before[end] - before[start] > target * 3 // 2:
            end -= 1
        yield first + start, first + end
        start = end


class _UnitBuilder:
    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self.units: list[Unit] = []

    def extend(self, stretches: Iterable[tuple[int, int]]) -> None:
        for first, stop in stretches:
            rows = int(self._inventory.group_rows[first:stop].sum())
            size = int(self._inventory.group_bytes[first:stop].sum())
            self.units.append(Unit(unit_key(self._inventory, first, stop, 0, rows), first, stop, 0, rows, size))


def unit_key(inventory: Inventory, first: int, stop: int, skip: int, rows: int) -> str:
    """Identity of a unit by what goes into it; the same wherever its files stand in the inventory."""
    words: list[str | int] = [skip, rows]
    for ordinal, group_first, group_stop in file_ranges(inventory, first, stop):
        uri, etag = inventory.identity(ordinal)
        words += [uri, etag, group_first, group_stop]
    return digest("unit", *words)


def file_ranges(inventory: Inventory, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The files of a stretch: (ordinal, first row group in the file, stop)."""
    group = first
    while group < stop:
        ordinal = int(inventory.group_file[group])
        start = int(inventory.file_first_group[ordinal])
        end = min(int(inventory.file_first_group[ordinal + 1]), stop)
        yield ordinal, group - start, end - start
        group = end


def unit_ordinals(inventory: Inventory, unit: Unit) -> tuple[int, ...]:
    """Files that have rows in the unit, in order: what a unit counts from 0 on as its files.

    Not every file of its stretch: some are empty, and a split leaves files to the other half.
    """
    stretch = slice(unit.first_group, unit.stop_group)
    ends = np.cumsum(inventory.group_rows[stretch])
    starts = ends - inventory.group_rows[stretch]
    has_rows = (starts < ends) & (ends > unit.skip) & (starts < unit.skip + unit.rows)
    return tuple(np.unique(inventory.group_file[stretch][has_rows]).tolist())


def slices(inventory: Inventory, unit: Unit) -> tuple[Slice, ...]:
    """What a unit reads: its row groups, less the rows that a split gave to another unit."""
    found = []
    skip, left = unit.skip, unit.rows
    for ordinal, first, stop in file_ranges(inventory, unit.first_group, unit.stop_group):
        file = inventory.file(ordinal, first, stop)
        for group in range(first, stop):
            rows = file.row_groups[group].rows
            start = min(skip, rows)
            take = min(rows - start, left)
            skip -= start
            left -= take
            if take > 0:
                found.append(Slice(file, group, start, start + take))
    return tuple(found)


def split(inventory: Inventory, unit: Unit) -> tuple[Unit, Unit] | None:
    """Two halves of a unit that no worker could hold; None if it has one row."""
    if unit.rows < 2:
        return None
    half = unit.rows // 2
    halves = ((unit.skip, half), (unit.skip + half, unit.rows - half))
    made = [
        replace(
            unit,
            key=unit_key(inventory, unit.first_group, unit.stop_group, skip, rows),
            skip=skip,
            rows=rows,
            bytes=unit.bytes * rows // unit.rows,
        )
        for skip, rows in halves
    ]
    return made[0], made[1]


def with_splits(inventory: Inventory, units: Iterable[Unit], is_split: Mapping[str, object]) -> Iterator[Unit]:
    """The units, with those that a split record names replaced by their halves."""
    for unit in units:
        halves = split(inventory, unit) if unit.key in is_split else None
        if halves is None:
            yield unit
        else:
            yield from with_splits(inventory, halves, is_split)


# --- all together


def make_plan(made: Ingredients, inventory: Inventory, units: Sequence[Unit]) -> Plan:
    """The plan of a run."""
    stages = plan_stages(made)
    config = {
        "operators": [{"name": operator.name, **settings(operator)} for operator in made.config.operators],
        "input": made.config.input.model_dump(mode="json", exclude={"storage_options", "uri"}),
        "output": made.config.output.model_dump(mode="json", exclude={"storage_options", "uri"}),
        "seed": made.config.execution.seed if _uses_seed(made.config) else None,
    }
    fingerprints = {
        "config": fingerprint(config),
        "inputs": fingerprint({"inventory": inventory.fingerprint, "assets": dict(made.assets), **_remembered(made)}),
        "code": fingerprint({"stages": [_code(stage.facts) for stage in stages]}),
    }
    last = made.schemas[-1]
    schema = pa.schema([last.field(name) for name in output_columns(made)])
    return Plan(fingerprint(fingerprints), fingerprints, stages, tuple(units), schema)


def _uses_seed(config: PipelineConfig) -> bool:
    tokens = config.output.token_shards
    return any(operator.seeded for operator in config.operators) or (tokens is not None and tokens.shuffle)


def _remembered(made: Ingredients) -> dict[str, str]:
    """What earlier runs and takedowns left. An empty history is like none."""
    history = {} if made.history is None or not made.history.generations else {"history": made.history.digest}
    return history if made.taken_out is None else {**history, "tombstones": made.taken_out.digest}


def _code(facts: Facts) -> Facts:
    return {
        "engine": facts["engine"],
        "operators": [
            {"code": operator["code"], "libraries": operator["libraries"]} for operator in (*facts.get("learned", ()), *facts["operators"])
        ],
    }
