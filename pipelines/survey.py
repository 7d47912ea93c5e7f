"""What a run would do, without doing it: stages, units, what is committed, what would run again and why, and what it will take.

The same stages are walked as in a run, with the work counted instead of done; nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from pipelines.commit import CommitLog, epoch_of, latest_plan
from pipelines.config import PipelineConfig
from pipelines.errors import NothingToLearn, ShardmillError, shown
from pipelines.exchange import Limits
from pipelines.exchange_survey import ExchangeSurvey, all_lines, cores_of, corpus_of, exchanges, size_text
from pipelines.executors import executor_for
from pipelines.fingerprint import differences
from pipelines.history_planning import history_of
from pipelines.inventory import Inventory
from pipelines.legible import counted
from pipelines.operator_warnings import warning_lines
from pipelines.operatorspec import OperatorSpec
from pipelines.plan import Plan, Stage, make_plan
from pipelines.prepare import prepare
from pipelines.results import run_id
from pipelines.run import already, grown
from pipelines.run_units import current_units, read_splits
from pipelines.stages import Stages
from pipelines.storage import Store, open_store
from pipelines.tombstones_planning import with_what_was_left
from pipelines.work import Work

READ_BLOCK_BYTES: Final = 8 << 20
COMMIT_REQUESTS: Final = 2
"""Requests to commit a unit: the conditional put of the record, and its share of the parts' uploads."""
MAX_NAMED: Final = 5
FACT: Final = "taken_out"
"""Of a stage: which documents it leaves out."""
TAKEN_OUT: Final = "documents were taken out since: each is looked for by its text, which may be anywhere"


@dataclass(slots=True)
class StageSurvey:
    """A stage: its units, how many of them are committed, and why the others would run."""

    operators: list[str]
    units: int
    committed: int = 0
    exchange: int = 0
    exchange_committed: int = 0
    known: bool = False
    why: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a run would do. Sizes in bytes; estimates are for what is missing.

    Attributes:
        exchange: Of each group operator whose verdicts are missing.
        cores: Cores that hours are reckoned for.
        is_example: True if nobody knows how many cores the cluster has.
        warnings: What operators told while they were opened, by name.
        taken_out: How many documents were taken out of the output: a run leaves them out.
        grown: What is told of a current version that ingestions made: a run adds nothing to it.
    """

    name: str
    run_id: str
    output: str
    is_finished: bool
    input: Mapping[str, Any]
    input_changes: Mapping[str, list[str]]
    stages: list[StageSurvey]
    shards: int
    requests: int
    intermediate_bytes: int
    target_shard_bytes: int
    exchange: list[ExchangeSurvey]
    cores: int
    is_example: bool
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    taken_out: int = 0
    grown: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        warnings = {name: list(texts) for name, texts in self.warnings.items()}
        return {**asdict(self), "exchange": [one.to_json() for one in self.exchange], "warnings": warnings}


class _MissingWorkError(ShardmillError):
    """Stops the walk where a run would have to work."""


def survey(config: PipelineConfig, limit: int | None = None) -> Survey:
    """Look at the input and at what is committed.

    Raises:
        ShardmillError: What would stop a run before it starts.
    """
    store = open_store(config.output.uri, config.output.storage_options)
    with executor_for(config) as started:
        prepared, tombstones = with_what_was_left(config, store, prepare(config, started, limit))
    inventory = prepared.inventory
    draft = make_plan(prepared.ingredients, inventory, ())
    logs = [_log(store, stage.fingerprint) for stage in draft.stages]
    splits = read_splits(store, draft)
    plan = make_plan(prepared.ingredients, inventory, current_units(config, inventory, splits, logs[0]))
    found = [StageSurvey(_named(stage), len(plan.units)) for stage in plan.stages]
    history = history_of(prepared.ingredients)
    _walk(Stages(store, plan, inventory, logs, _counter(plan, found), Limits(), splits, history))
    before = latest_plan(store)
    _explain(plan, found, before)
    missing = sum(stage.units - stage.committed for stage in found)
    size = int(inventory.group_bytes.sum())
    is_finished = already(store, plan) is not None
    missing_groups = _missing_groups(plan, found)
    corpus = corpus_of(config, inventory, len(plan.units), made_id=prepared.ingredients.made_id)
    cores, is_example = cores_of(config)
    return Survey(
        name=config.name,
        run_id=run_id(plan),
        output=store.uri,
        is_finished=is_finished,
        input={"files": inventory.num_files, "rows": inventory.rows, "bytes": inventory.num_bytes, "uncompressed_bytes": size},
        input_changes=_input_changes(store, inventory, before),
        stages=found,
        shards=max(1, -(-size // config.output.target_shard_bytes)),
        requests=0 if is_finished else inventory.num_bytes // READ_BLOCK_BYTES + inventory.num_files + missing * COMMIT_REQUESTS,
        intermediate_bytes=0 if is_finished else size,
        target_shard_bytes=config.output.target_shard_bytes,
        exchange=[] if is_finished else exchanges(missing_groups, corpus, history),
        cores=cores,
        is_example=is_example,
        warnings=prepared.warnings,
        taken_out=len(tombstones),
        grown=None if is_finished else grown(store),
    )


def _named(stage: Stage) -> list[str]:
    return list(stage.names)


def _missing_groups(plan: Plan, found: Sequence[StageSurvey]) -> list[tuple[int, OperatorSpec]]:
    """Group operators whose verdicts are not there yet, by the number of their stage: the walk did not come to the stage behind it."""
    ends = zip(plan.stages, found[1:], strict=False)
    return [(number, spec) for number, (stage, behind) in enumerate(ends, 1) if not behind.known for spec in stage.spec.groups]


def _log(store: Store, stage: str) -> CommitLog:
    log = CommitLog(store, stage, epoch_of(store, stage))
    log.load(repair=False)
    return log


def _walk(stages: Stages) -> None:
    try:
        stages.run()
    except (_MissingWorkError, NothingToLearn):  # what nothing was left for cannot be done, as what is missing cannot: the run says so
        return


def _counter(plan: Plan, found: Sequence[StageSurvey]) -> Any:
    positions = {stage.fingerprint: position for position, stage in enumerate(plan.stages)}

    def count(log: CommitLog, works: Sequence[Work]) -> None:
        stage = found[positions[log.stage]]
        done = sum(work.key in log for work in works)
        if works and works[0].kind != "unit":
            stage.exchange += len(works)
            stage.exchange_committed += done
        else:
            stage.committed, stage.known = done, True
        if done < len(works):
            raise _MissingWorkError("work is missing")

    return count


def _explain(plan: Plan, found: Sequence[StageSurvey], before: Mapping[str, Any] | None) -> None:
    """Why units are not committed: what differs between this plan's stage and the latest one's at the same place."""
    if before is None:
        return
    for position, (stage, survey_of) in enumerate(zip(plan.stages, found, strict=True)):
        old = before["stages"][position] if position < len(before["stages"]) else None
        if survey_of.committed == survey_of.units or old is None:
            continue
        if old["fingerprint"] == stage.fingerprint:
            survey_of.why.append("nothing changed here; what is not committed yet, or was swept after the last version, runs")
            continue
        facts = dict(stage.facts)
        lines = differences({**old["facts"], "after": None}, {**facts, "after": None})
        if len(old["facts"]["operators"]) != len(facts["operators"]):
            lines = [f"operators: {_names(old['facts'])} → {_names(facts)}", *(line for line in lines if line.startswith(f"{FACT}:"))]
        lines = [TAKEN_OUT if line.startswith(f"{FACT}:") else line for line in lines]
        survey_of.why += lines or ["a stage before it changed"]


def _names(facts: Mapping[str, Any]) -> str:
    return ", ".join(str(operator["name"]) for operator in facts["operators"]) or "none"


def _input_changes(store: Store, inventory: Inventory, before: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Files added, changed and removed since the latest plan, a few of each by name."""
    if before is None:
        return {}
    try:
        old = Inventory.load(store, before["inventory"])
    except ShardmillError:
        return {}
    was, now = _identities(old), _identities(inventory)
    found = {
        "added": [uri for uri in now if uri not in was],
        "changed": [uri for uri in now if uri in was and was[uri] != now[uri]],
        "removed": [uri for uri in was if uri not in now],
    }
    return {kind: uris for kind, uris in found.items() if uris}


def _identities(inventory: Inventory) -> dict[str, str]:
    return dict(inventory.identity(ordinal) for ordinal in range(inventory.num_files))


def render(found: Survey) -> list[str]:
    """The survey for a person."""
    source = found.input
    size = size_text(source["bytes"])
    lines = [
        f"{found.name}: run {found.run_id} into {found.output}",
        f"input: {source['files']:,} files, {source['rows']:,} rows, {size} ({size_text(source['uncompressed_bytes'])} uncompressed)",
        *warning_lines(found.warnings),
    ]
    for kind, uris in found.input_changes.items():
        more = f" and {len(uris) - MAX_NAMED} more" if len(uris) > MAX_NAMED else ""
        lines.append(f"  {kind} since the latest plan: {', '.join(shown(uri) for uri in uris[:MAX_NAMED])}{more}")
    if found.taken_out:
        lines.append(f"{counted(found.taken_out, 'document')} taken out of this output: a run leaves out every one that it meets again")
    if found.is_finished:
        return [*lines, "finished: the same input, pipeline and code made the current version; a run would do nothing"]
    if found.grown is not None:
        lines.append(f"{found.grown}; a run makes the next version anew, of all files")
    for number, stage in enumerate(found.stages, 1):
        lines += _stage_lines(number, len(found.stages), stage)
    lines += all_lines(found.exchange, found.cores, is_example=found.is_example)
    lines.append(
        f"takes: about {found.requests:,} requests to read and commit, up to {size_text(found.intermediate_bytes)} of intermediate files, "
        f"up to {found.shards:,} shards of {size_text(found.target_shard_bytes)}"
    )
    return lines


def _stage_lines(number: int, total: int, stage: StageSurvey) -> list[str]:
    operators = ", ".join(stage.operators) or "no operator"
    state = (
        f"{stage.committed:,} of {stage.units:,} units are committed" if stage.known else f"{stage.units:,} units, after the stage before"
    )
    lines = [f"stage {number} of {total}: {operators}: {state}"]
    if stage.exchange:
        lines.append(f"  exchange: {stage.exchange_committed} of {stage.exchange} tasks are committed")
    return lines + [f"  runs because {line}" for line in stage.why]
