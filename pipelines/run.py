"""One run: prepared, planned, driven through its stages, packed, swapped in and swept. Started again, it goes on where it was.

Exactly once rests on the commits of the work and on the version's claim; this module only puts the steps in their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson

from cluster.tasks import Executor
from pipelines import faults
from pipelines.card import card
from pipelines.commit import PLAN, CommitLog, Record, epoch_of, latest_plan, ledger_of, sealed
from pipelines.config import PipelineConfig
from pipelines.document_profile import prove_profile
from pipelines.drive import Driver, TooLarge
from pipelines.errors import LeaseHeld, NotFound
from pipelines.exchange import Limits
from pipelines.executors import Started, executor_for
from pipelines.fingerprint import engine_facts, fingerprint
from pipelines.gc import collect, needed
from pipelines.growth import Growth
from pipelines.history_adding import generation_id
from pipelines.history_leaving import Leaving
from pipelines.history_planning import group_operators, has_left, history_of, history_store, without_history
from pipelines.inventory import Inventory
from pipelines.learned import publish_learned
from pipelines.lease import Lease, was_cut_short
from pipelines.ledger import Ledger
from pipelines.lineage import base_of
from pipelines.operator_warnings import warning_lines
from pipelines.plan import Ingredients, Plan, make_plan
from pipelines.prepare import Prepared, prepare
from pipelines.progress import KINDS, Silent, Watch
from pipelines.redaction import redact_uri
from pipelines.report import report
from pipelines.results import Packed, Packing, Tables, inventory_path, manifest, run_id, shards_table, to_bytes
from pipelines.run_metrics import RunMetrics
from pipelines.run_report import Reporting
from pipelines.run_units import SPLITS, current_units, read_splits
from pipelines.runbook import MEMORY, pointer
from pipelines.stages import Budget, Stages
from pipelines.storage import Store, open_store
from pipelines.task_resources import Askings
from pipelines.token_counts import prove_tokens
from pipelines.tombstones import Tombstones
from pipelines.tombstones_planning import check_tombstones, with_what_was_left
from pipelines.units import Unit
from pipelines.version import MANIFEST, Claim, claim, claims, current_manifest, finish, replace_any, swap, write_once
from pipelines.work import Work
from pipelines.work_tally import WorkTally
from pipelines.worker import Place

DONE: Final = "this output is finished: the same input, pipeline and code made it; there is nothing to do"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended: the current version's manifest, and whether there was anything to do."""

    manifest: Mapping[str, Any]
    was_finished: bool


def run(
    config: PipelineConfig,
    *,
    limit: int | None = None,
    watch: Watch | None = None,
    limits: Limits | None = None,
    shows_documents: bool = True,
) -> RunResult:
    """Run a pipeline, or go on with it, to a finished version.

    Args:
        config: The pipeline.
        limit: Only the first documents of the input.
        watch: Told how far it is.
        limits: Bounds of the exchange; the defaults are for real use.
        shows_documents: False: the report of the version says what its manifest does, and nothing is read for it.

    Raises:
        ShardmillError: Anything that stops the run; what is committed stays, and the next run goes on from there.
    """
    seen = watch or Silent()
    store = open_store(config.output.uri, config.output.storage_options)
    store.check()
    if config.history is not None:
        history_store(config).check()
    with executor_for(config) as started:
        seen.note(f"{config.name}: listing the input")
        one = Run(config, store, started, seen, limits or Limits(), limit, shows_documents=shows_documents)
        return one.finish(prepare(config, started, limit))


@dataclass(frozen=True)
class Run:
    """A run whose input is known: it is planned, and done as far as it is missing.

    Attributes:
        growth: What the version that it makes adds to, if an ingestion makes it.
        shows_documents: See `run`.
    """

    config: PipelineConfig
    store: Store
    started: Started
    watch: Watch
    limits: Limits
    limit: int | None = None
    growth: Growth | None = None
    shows_documents: bool = True

    def planned(self, prepared: Prepared) -> tuple[Prepared, Plan, Tombstones]:
        """The same with what earlier runs left, the plan of the run, and what may not come back."""
        prepared, tombstones = with_what_was_left(self.config, self.store, prepared)
        return prepared, make_plan(prepared.ingredients, prepared.inventory, ()), tombstones

    def finish(self, prepared: Prepared) -> RunResult:
        """Do what is missing of the run.

        Raises:
            ShardmillError: Anything that stops it.
        """
        prepared, plan, tombstones = self.planned(prepared)
        for line in warning_lines(prepared.warnings):
            self.watch.note(line)
        if self.growth is not None:
            self.growth.check_schema(plan.output_schema)
        done = already(self.store, plan)
        if done is not None and has_left(self.config, self.store, plan):
            tidy(self.store, self.config, plan.fingerprints)
            return RunResult(done, was_finished=True)
        if self.growth is None and done is None:
            self._tell_growth()
        describe = self.watch.describe if isinstance(self.watch, Silent) else str
        with Lease(self.store, describe) as lease:
            check_tombstones(self.store, tombstones)
            if self.growth is not None and done is None:
                self.growth.check_current(self.store)
            with RunMetrics(self.started().metrics, self.config.name, run_id(plan), self.watch.note) as metrics:
                return RunResult(Engine(self, prepared, plan, lease, metrics).run(self.started()), was_finished=False)

    def _tell_growth(self) -> None:
        """Tell whoever might have meant to add to a version that a run makes the next one of all files."""
        base = grown(self.store)
        if base is not None:
            self.watch.note(f"{self.store.uri}: {base}; this run makes the next version anew, of all files")


def grown(store: Store) -> str | None:
    """What is told of a current version that ingestions made; None for any other."""
    found = current_manifest(store)
    if found is None or base_of(found[0]) is None:
        return None
    return f"{found[0]['version']} grew by ingestions, and `shardmill ingest FILE` adds to it what is new"


def already(store: Store, plan: Plan) -> dict[str, Any] | None:
    """The current version's manifest if this very plan made it."""
    found = current_manifest(store)
    return found[0] if found is not None and found[0].get("fingerprints") == dict(plan.fingerprints) else None


def tidy(store: Store, config: PipelineConfig, fingerprints: Mapping[str, str]) -> None:
    """Remove what a finished version's run left because it died before it swept, or because intermediates were wanted then.

    Another run that is at work will do so itself.
    """
    before = latest_plan(store)
    was_kept = before is not None and before["fingerprints"] == dict(fingerprints) and before["keep_intermediates"] == "latest"
    unwanted = was_kept and config.execution.keep_intermediates == "none"
    if not unwanted and not was_cut_short(store):
        return
    with suppress(LeaseHeld), Lease(store, lambda: "gc") as lease:
        if unwanted:
            replace_any(store, PLAN, sealed({**(before or {}), "keep_intermediates": "none"}))
        collect(store, keep=needed(store), confirm=lease.confirm)


class Engine:
    """The steps of one run under its lease."""

    def __init__(self, run: Run, prepared: Prepared, plan: Plan, lease: Lease, metrics: RunMetrics) -> None:
        self._config = run.config
        self._inventory = prepared.inventory
        self._ingredients = prepared.ingredients
        self._warned = prepared.warnings
        self._plan = plan
        self._store = run.store
        self._lease = lease
        self._watch = run.watch
        self._metrics = metrics
        self._limits = run.limits
        self._limit = run.limit
        self._growth = run.growth
        self._shows_documents = run.shows_documents
        self._budget = self._new_budget()
        self._works = WorkTally()
        self._has_split = False

    def run(self, executor: Executor) -> dict[str, Any]:
        """Do what is missing; returns the manifest of the version that is current then."""
        done = self._recovered()
        has_left_keys = has_left(self._config, self._store, self._plan)
        if done is None or not has_left_keys:
            self._announce()
            askings = Askings(self._config.cluster, {stage.fingerprint: stage.names for stage in self._plan.stages})
            note, waiting = self._watch.note, self._watch.waiting
            driver = Driver(executor, self._lease, self._place(), self._on_record, note=note, askings=askings, on_waiting=waiting)
            self._metrics.follow(driver.tally)
            self._works.failures = driver.tally.failures_of
            stages = self._stages(driver)
            done = self._make_version(driver, stages) if done is None else done
            if not has_left_keys:
                self._leave(driver, stages, done)
        self._sweep()
        return done

    # --- stages

    def _stages(self, driver: Driver) -> Stages:
        """All stages, planned again with smaller units where one was too large for any worker."""
        while True:
            self._budget = self._new_budget()  # the halves of a unit count its rows again
            self._works.start_again()
            logs = [self._log(stage.fingerprint) for stage in self._plan.stages]
            splits = read_splits(self._store, self._plan)
            units = current_units(self._config, self._inventory, splits, logs[0])
            plan = make_plan(self._ingredients, self._inventory, units)
            self._lease.confirm()
            replace_any(self._store, PLAN, sealed(plan_facts(self._config, plan, self._inventory, self._ingredients)))
            faults.point("run.planned")
            complete = partial(self._complete, driver)
            stages = Stages(self._store, plan, self._inventory, logs, complete, self._limits, splits, history_of(self._ingredients))
            try:
                stages.run()
            except TooLarge as error:
                self._split(plan.units, error)
                continue
            return stages

    def _new_budget(self) -> Budget:
        execution = self._config.execution
        return Budget(execution.max_quarantined_fraction, self._inventory.rows, execution.on_error)

    def _log(self, stage: str) -> CommitLog:
        log = CommitLog(self._store, stage, epoch_of(self._store, stage))
        log.load()
        return log

    def _complete(self, driver: Driver, log: CommitLog, works: Sequence[Work]) -> None:
        done = [work for work in works if work.key in log]
        self._works.phase(self._stage_number(log), works)
        for work in done:
            body = log.body(work.key)
            self._budget.count(work.key, ledger_of(body))
            self._works.committed_before(body)
        self._watch.phase(self._title(log, works), works, len(done))
        self._metrics.phase(self._stage_number(log), len(self._plan.stages), works, len(done))
        driver.complete(log, works)

    def _title(self, log: CommitLog, works: Sequence[Work]) -> str:
        kind = KINDS.get(works[0].kind, works[0].kind) if works else "units"
        number = self._stage_number(log)
        return f"stage {number} of {len(self._plan.stages)}, {kind}" if number else kind

    def _stage_number(self, log: CommitLog) -> int:
        """Which stage a log belongs to, from 1; 0 for what comes after all stages."""
        return next((number for number, stage in enumerate(self._plan.stages, 1) if stage.fingerprint == log.stage), 0)

    def _on_record(self, record: Record, work: Work) -> None:
        self._metrics.record(record, work)
        self._works.record(record, work)
        self._budget.count(record.key, record.ledger)
        self._watch.record(record, work)

    def _split(self, units: Sequence[Unit], error: TooLarge) -> None:
        """Write down that a unit is replaced by its halves, or its only row quarantined; every later plan of the same input does so too."""
        unit = next((unit for unit in units if unit.key == error.unit), None)
        if unit is None:
            raise error
        if unit.rows > 1:
            self._tell_split(f"a unit of {unit.rows} rows killed every worker that tried it; it is split in two")
        elif self._config.execution.on_error == "fail":
            raise error
        else:
            self._tell_split("a single row killed every worker that tried it; it is quarantined")
        # A split holds for every pipeline; that a row is poison, only for the stage that died of it.
        stage = error.stage if unit.rows == 1 else ""
        body = {"unit": unit.key, "rows": unit.rows, "stage": stage, "why": error.message}
        replace_any(self._store, f"{SPLITS}/{unit.key}{stage and '.' + stage}.json", sealed(body))

    def _tell_split(self, what: str) -> None:
        self._watch.note(what if self._has_split else f"{what}; {pointer(MEMORY)}")
        self._has_split = True

    def _place(self) -> Place:
        return Place(
            output_uri=self._config.output.uri,
            output_options=self._config.output.storage_options,
            input_options=self._config.input.storage_options,
            inventory_path=inventory_path(self._inventory),
            text_column=self._config.input.text_column,
            seed=self._config.execution.seed,
            assets=self._ingredients.assets,
            lease_epoch=self._lease.epoch,
            engine=fingerprint(engine_facts()),
            history=self._ingredients.history,
        )

    def _announce(self) -> None:
        """Save the inventory, which workers read."""
        path = inventory_path(self._inventory)
        if not self._store.exists(path):
            self._inventory.save(self._store, path)

    # --- the version

    def _make_version(self, driver: Driver, stages: Stages) -> dict[str, Any]:
        """Pack, write the tables and the manifest, and make the version current."""
        plan = stages.plan
        self._lease.confirm()
        claimed = claim(self._store, plan.fingerprint, stages.pack_digest())
        faults.point("version.claimed")
        packing = Packing(self._log(f"pack-{plan.fingerprint}"), partial(self._complete, driver), plan, claimed, self._config)
        shards = packing.shards(stages.documents())
        token_shards = packing.token_shards(shards)
        tables = packing.tables(stages.side_parts)
        faults.point("run.packed")
        ledger, tokens, profile = self._proven(stages, shards, tables)
        told: dict[str, Any] = {"tokens": tokens, "documents": profile}
        if self._growth is not None:
            shards, token_shards = [*self._growth.shards(), *shards], self._growth.token_shards(token_shards)
            told = {"tokens": self._growth.tokens(tokens), "documents": self._growth.profile(profile)}
            told["ingest"] = self._growth.manifest_entry(claimed.name, run_id(plan), self._inventory, ledger, shards)
        written = write_once(self._store, f"{claimed.folder}/shards.parquet", shards_table(shards))
        if token_shards is not None:
            write_once(self._store, f"{claimed.folder}/token_shards.parquet", token_shards.table)
        publish_learned(self._store, stages.learned, claimed.folder)
        faults.point("version.tables-written")
        described = Tables(shards, hashlib.sha256(written).hexdigest(), tables, token_shards)
        final = self._described(stages, claimed, ledger, described, told)
        own = [shard.part for shard in shards if shard.part.path.startswith(f"data/{claimed.name}/")]
        page = self._reporting().page(orjson.loads(final), own) if self._shows_documents else report(orjson.loads(final)).encode()
        write_once(self._store, f"{claimed.folder}/report.html", page)
        faults.point("version.manifest-written")
        return self._swap(claimed, final)

    def _reporting(self) -> Reporting:
        lineage = None if self._growth is None else self._growth.lineage
        return Reporting(self._store, self._inventory, self._ingredients, lineage, self._works, self._watch.note)

    def _described(self, stages: Stages, claimed: Claim, ledger: Ledger, tables: Tables, told: Mapping[str, Any]) -> bytes:
        """Write the manifest of a version; returns it as it is stored."""
        made = manifest(
            self._config,
            stages.plan,
            self._inventory,
            ledger,
            tables,
            version=claimed.name,
            created_at=self._store.now(),
            parents=self._parents(),
            limit=self._limit,
            warnings=[breach.to_json() for breach in stages.breaches],
            history=self._ingredients.history,
            warned=self._warned,
            learned=[file.to_json(claimed.folder) for file in stages.learned],
            assets=self._ingredients.assets,
            **told,
        )
        return write_once(self._store, f"{claimed.folder}/{MANIFEST}", to_bytes(made))

    def _proven(
        self, stages: Stages, shards: Sequence[Packed], tables: Mapping[str, Sequence[Packed]]
    ) -> tuple[Ledger, dict[str, Any] | None, dict[str, Any] | None]:
        """The ledger, the tokens and the profile of the documents, all of which agree with what was packed."""
        ledger = stages.ledger()
        ledger.prove(
            "the run",
            rows_in=self._inventory.rows,
            rows_out=sum(shard.part.rows for shard in shards),
            num_dropped=sum(file.part.rows for file in tables["dropped"]),
            num_quarantined=sum(file.part.rows for file in tables["quarantine"]),
        )
        counts = stages.tokens()
        if counts is not None:
            prove_tokens(counts, documents=ledger.rows_out, tokens=sum(shard.tokens or 0 for shard in shards))
        profile = stages.profile()
        if profile is not None:
            prove_profile(profile, documents=ledger.rows_out)
        return ledger, counts, profile

    def _leave(self, driver: Driver, stages: Stages, manifest: Mapping[str, Any]) -> None:
        """Leave the keys of what was kept, for later runs."""
        self._lease.confirm()
        store, config = history_store(self._config), self._config
        identity = generation_id(self._store.uri, self._plan.fingerprint)
        log = self._log(f"history-{self._plan.fingerprint}")
        assert self._ingredients.history is not None
        about = {
            "base": generation_id(self._store.uri, without_history(self._ingredients, self._inventory)),
            "history": self._ingredients.history.generations,
            "plan": self._plan.fingerprint,
            "name": config.name,
            "output": redact_uri(self._store.uri),
            **{key: manifest[key] for key in ("run_id", "version", "created_at")},
        }
        leaving = Leaving(store, log, partial(self._complete, driver), self._lease.confirm, identity)
        leaving.leave(stages.keepings(), group_operators(config), self._inventory, about)
        faults.point("history.left")

    def _swap(self, claimed: Claim, final: bytes) -> dict[str, Any]:
        self._lease.confirm()
        finish(self._store, claimed)
        made: dict[str, Any] = orjson.loads(final)
        swap(self._store, claimed.number, final, card(made).encode())
        faults.point("version.swapped")
        return made

    def _recovered(self) -> dict[str, Any] | None:
        """A version of this very plan that was finished but not swapped in, or swapped in a moment ago: now it is."""
        done = already(self._store, self._plan)
        if done is not None:
            return done
        last = next(reversed(claims(self._store)), None)
        if last is None or last.state != "finished" or last.plan != self._plan.fingerprint:
            return None
        current = current_manifest(self._store)
        if current is not None and current[0]["version"] == last.name:
            return None
        try:
            final = self._store.read(f"{last.folder}/{MANIFEST}")
        except NotFound:
            return None
        return self._swap(last, final)

    def _parents(self) -> list[str]:
        try:
            return [hashlib.sha256(self._store.read(MANIFEST)).hexdigest()]
        except NotFound:
            return []

    def _sweep(self) -> None:
        """What the finished version does not need any more."""
        keep = [stage.fingerprint for stage in self._plan.stages] if self._config.execution.keep_intermediates == "latest" else []
        collect(self._store, keep=keep, confirm=self._lease.confirm)


def plan_facts(config: PipelineConfig, plan: Plan, inventory: Inventory, made: Ingredients) -> dict[str, Any]:
    """What is written down of the latest plan: for `status`, `gc` and the comparison with the next one."""
    had = None if made.history is None else {"base": without_history(made, inventory), "generations": made.history.generations}
    return {
        "history": had,
        "run_id": run_id(plan),
        "name": config.name,
        "plan": plan.fingerprint,
        "fingerprints": dict(plan.fingerprints),
        "inventory": inventory_path(inventory),
        "rows": inventory.rows,
        "files": inventory.num_files,
        "num_units": len(plan.units),
        "keep_intermediates": config.execution.keep_intermediates,
        "stages": [
            {
                "fingerprint": stage.fingerprint,
                "operators": list(stage.operators),
                "groups": [group.name for group in stage.spec.groups],
                "learners": [learner.name for learner in stage.spec.learners],
                "facts": stage.facts,
            }
            for stage in plan.stages
        ],
        "config": config.redacted(),
    }
