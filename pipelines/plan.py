"""The plan: a pure function of the pipeline, the inventory and what is known to be committed. It does no I/O.

A stage is batch operators up to and with the operators behind them that need all documents, to compare them or to learn from them. Units
are the same in every stage: see units.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from operators.base import GroupOperator, LearningOperator, Operator
from operators.passages import PassageOperator
from pipelines.config import PipelineConfig
from pipelines.document_profile import ProfileColumns
from pipelines.errors import InputError
from pipelines.fingerprint import Facts, engine_facts, fingerprint, operator_facts, sampling_facts, schema_facts, settings
from pipelines.formats import ReadOptions
from pipelines.inventory import Inventory
from pipelines.judging import Judged
from pipelines.operatorspec import OperatorSpec
from pipelines.recall import Snapshot
from pipelines.rows import DropTable
from pipelines.token_counts import TokenColumns
from pipelines.tombstones import TAKEDOWN, TakenOut
from pipelines.unit import MADE_ID, StageSpec
from pipelines.units import Unit

RESERVED: Final = "_shardmill_"
"""Beginning of the names of columns that stand between stages."""
PLACE_ROWS: Final = 1 << 40


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
        base: Digest of the version that this one adds its shards to, if it does.
    """

    config: PipelineConfig
    options: ReadOptions
    assets: Mapping[str, str]
    schemas: tuple[pa.Schema, ...]
    made_id: bool
    history: Snapshot | None = None
    taken_out: TakenOut | None = None
    base: str | None = None


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


# --- all together


def make_plan(made: Ingredients, inventory: Inventory, units: Sequence[Unit]) -> Plan:
    """The plan of a run."""
    stages = plan_stages(made)
    config = {
        "operators": [{"name": operator.name, **settings(operator)} for operator in made.config.operators],
        "input": made.config.input.model_dump(mode="json", exclude={"storage_options", "uri"}),
        "output": made.config.output.model_dump(mode="json", exclude={"storage_options", "uri", "report_samples"}),
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
    """What earlier runs and takedowns left, and what is added to. An empty history is like none."""
    history = {} if made.history is None or not made.history.generations else {"history": made.history.digest}
    taken_out = {} if made.taken_out is None else {"tombstones": made.taken_out.digest}
    return {**history, **taken_out, **({} if made.base is None else {"base": made.base})}


def _code(facts: Facts) -> Facts:
    return {
        "engine": facts["engine"],
        "operators": [
            {"code": operator["code"], "libraries": operator["libraries"]} for operator in (*facts.get("learned", ()), *facts["operators"])
        ],
    }
