"""One ingestion: what of the input no version of the output has taken in goes through the pipeline, and becomes the next version.

The new documents are compared with those that the output has (its history), never come back once they were taken out, and their shards are
added to those of the current version. Nothing is known by its date: a file is new because no version has it, so that one which comes late
comes with the next ingestion. Two at once cannot both add: one has the lease, and whoever planned before another version was made, plans
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from operators.base import LearningOperator, Operator
from pipelines.arrivals import Arrivals, arrivals
from pipelines.config import PipelineConfig
from pipelines.documents import Listed
from pipelines.errors import ConfigError, IngestRefused, NoFiles, VersionConflict
from pipelines.exchange import Limits
from pipelines.executors import Started, executor_for
from pipelines.growth import ANEW, Growth
from pipelines.history import generations_of
from pipelines.history_planning import addresses, group_operators, history_store, own_history
from pipelines.inventory import take_inventory
from pipelines.legible import count, counted
from pipelines.likeness import check_ids, check_settings, check_tokens
from pipelines.lineage import FILES, Lineage, content_digest
from pipelines.policies import policies_of, wants_all_anew
from pipelines.prepare import Prepared, prepare
from pipelines.progress import Silent, Watch
from pipelines.recall import read_generations
from pipelines.run import Run, already, tidy
from pipelines.settings import history_problems
from pipelines.storage import Sources, Store, open_store

TRIES: Final = 5
"""How often an ingestion is planned anew because another made a version meanwhile."""


@dataclass(frozen=True, slots=True)
class IngestResult:
    """How an ingestion ended.

    Attributes:
        manifest: Of the current version.
        is_new: Whether the ingestion made it.
        found: What the listing had that was new, changed or gone.
    """

    manifest: Mapping[str, Any]
    is_new: bool
    found: Arrivals


def ingest(
    config: PipelineConfig, *, backfill: bool = False, watch: Watch | None = None, tick: str | None = None, limits: Limits | None = None
) -> IngestResult:
    """Take in what is new, or do nothing where nothing is.

    Args:
        config: The pipeline.
        backfill: Make the version anew, of all files that are there now, with the pipeline as it is now.
        watch: Told how far it is.
        tick: Of the schedule that began it; stands in the manifest.
        limits: Bounds of the exchange; the defaults are for real use.

    Raises:
        ConfigError: The pipeline cannot grow an output.
        InputError: Files changed or vanished, and the policy is to fail; or the new documents do not fit those that are there.
        LeaseHeld: Another run is writing the output.
        ShardmillError: Anything else that stops a run; what is committed stays, and the next ingestion goes on from there.
    """
    store = open_store(config.output.uri, config.output.storage_options)
    store.check()
    if config.history is not None:
        history_store(config).check()
    seen = watch or Silent()
    with executor_for(config) as started:
        one = Ingestion(growing(config, store), store, started, seen, limits or Limits(), backfill, tick)
        for _ in range(TRIES - 1):
            try:
                return one.finish()
            except VersionConflict as error:
                seen.note(f"{error.message.rpartition(';')[0]}: planning again")
        return one.finish()


def whats_new(config: PipelineConfig) -> tuple[Arrivals, Lineage | None]:
    """What an ingestion would find, and what it would add to, without doing anything."""
    before = Lineage.current(open_store(config.output.uri, config.output.storage_options))
    return found_in(config, before), before


def found_in(config: PipelineConfig, lineage: Lineage | None) -> Arrivals:
    """The input as it is listed now, compared with what the versions have taken in."""
    sources = Sources(config.input.storage_options)
    if lineage is None:
        return arrivals(sources.find(config.input.uri), FILES.empty_table())
    listed: dict[str, Listed] = {}
    for pattern in config.input.uri:
        with suppress(NoFiles):  # its files have vanished, which is for the policy
            listed |= {file.uri: file for file in sources.find([pattern])}
    return arrivals([listed[uri] for uri in sorted(listed)], lineage.files())


def growing(config: PipelineConfig, store: Store) -> PipelineConfig:
    """The pipeline with the output's own history, where it compares documents and names no other.

    Raises:
        ConfigError: An operator keeps no keys for later versions.
    """
    if config.history is not None or not group_operators(config):
        return config
    with_own = config.model_copy(update={"history": own_history(config)})
    problems = list(history_problems(with_own.history, config.operators, config.cluster))
    if problems:
        raise ConfigError(
            "\n".join(f"{store.uri}: to ingest, documents are compared with those of before: {one.message}" for one in problems)
        )
    return with_own


@dataclass(frozen=True)
class Ingestion:
    """One try of an ingestion: what is new is found out, then taken in."""

    config: PipelineConfig
    store: Store
    started: Started
    watch: Watch
    limits: Limits
    backfill: bool
    tick: str | None

    def finish(self) -> IngestResult:
        """Take in what is new as of now.

        Raises:
            VersionConflict: Another run made a version meanwhile.
        """
        before = Lineage.current(self.store)
        self.watch.note(f"{self.config.name}: listing the input")
        found = found_in(self.config, before)
        anew = self.backfill or before is None or wants_all_anew(self.config.ingest, found, before, self.watch.note)
        if before is not None and not anew:
            self._check_limit(before)
            config = with_learned(self.config, before)
            self._leave(before)
            if not found.new:
                tidy(self.store, config, before.newest["fingerprints"])
                return IngestResult(before.newest, is_new=False, found=found)
            check_settings(config, before)
        else:
            config = self.config
        growth = Growth(
            None if anew else before, None if before is None else before.sha256, found, policies_of(self.config.ingest), self.tick
        )
        self.watch.note(self._announced(growth))
        result = Run(config, self.store, self.started, self.watch, self.limits, growth=growth).finish(self._prepared(config, growth))
        return IngestResult(result.manifest, is_new=not result.was_finished, found=found)

    def _announced(self, growth: Growth) -> str:
        found, base = growth.found, growth.base
        if base is None:
            return f"{self.config.name}: taking in {counted(len(found.new) + found.known + len(found.changed), 'file')}: all that are there"
        new = counted(len(found.new), "new file")
        return f"{self.config.name}: {new}, {count(found.known)} known; what is new is added to {base['version']}"

    def _prepared(self, config: PipelineConfig, growth: Growth) -> Prepared:
        if growth.lineage is None:
            return replace(prepare(config, self.started), own_runs=frozenset())
        take = partial(take_inventory, only=growth.found.new, like=growth.lineage.schema)
        prepared = prepare(config, self.started, take=take)
        check_ids(config, growth.lineage, prepared.inventory)
        check_tokens(config, growth.lineage, prepared.ingredients.assets)
        added = replace(prepared.ingredients, base=content_digest(growth.lineage.newest))
        return replace(prepared, ingredients=added, own_runs=frozenset(growth.lineage.runs))

    # --- what is not new

    def _check_limit(self, before: Lineage) -> None:
        if before.limit is not None:
            raise IngestRefused(
                f"{self.store.uri}: {before.manifests[-1]['version']} was made of the first {before.limit} documents (--limit): what of "
                f"its files was not taken in could not be told; {ANEW}"
            )

    # --- what the version before owes

    def _leave(self, before: Lineage) -> None:
        """Leave the keys of the documents that the version before kept, if its run has not: one without history, or one that died.

        Raises:
            IngestRefused: They cannot be found any more.
        """
        if not group_operators(self.config):
            return
        manifest = before.newest
        missing = set(before.runs) - self._left_runs(before)
        if not missing:
            return
        run = Run(self.config_of(before), self.store, self.started, self.watch, self.limits)
        if missing == {manifest["run_id"]} and "takedown" not in manifest:
            self.watch.note(f"{self.config.name}: {manifest['version']} has left no keys of its documents; finding them")
            prepared = self._prepared_again(run.config, before)
            if already(self.store, run.planned(prepared)[1]) is not None:
                run.finish(prepared)
                return
        raise IngestRefused(
            f"{self.store.uri}: {manifest['version']} has left no keys of its documents, and the pipeline, its code or its input is not "
            f"what made it, so that new documents cannot be compared with them; {ANEW}"
        )

    def _left_runs(self, before: Lineage) -> set[str]:
        """Runs of this output that have left their keys."""
        store = history_store(self.config)
        left = read_generations(store, generations_of(store))
        known_as = addresses(self.config, left, self.store, frozenset(before.runs))
        return {body["run_id"] for body in left if body["output"] in known_as}

    def config_of(self, lineage: Lineage) -> PipelineConfig:
        """The pipeline as it made the newest version: its first one learned."""
        older = lineage.manifests[1:]
        return with_learned(self.config, replace(lineage, manifests=older)) if older else self.config

    def _prepared_again(self, config: PipelineConfig, before: Lineage) -> Prepared:
        """What the run of the newest version was prepared with."""
        manifest = before.newest
        inventory = before.inventory(manifest)
        prepared = prepare(config, self.started, take=lambda *_, **__: inventory)
        base = content_digest(before.manifests[1]) if len(before.manifests) > 1 else None
        had = manifest["input"].get("history", {}).get("generations", ())
        return replace(prepared, ingredients=replace(prepared.ingredients, base=base), pinned=tuple(had))


# --- what operators learned


def with_learned(config: PipelineConfig, before: Lineage) -> PipelineConfig:
    """The pipeline with the files that its operators learned in the first version, instead of operators that would learn others.

    Raises:
        ConfigError: The versions before have no file of an operator that learns.
    """
    learners = [operator for operator in config.operators if isinstance(operator, LearningOperator)]
    if not learners:
        return config
    files = learned_files(before)
    missing = [operator.name for operator in learners if operator.name not in files]
    if missing:
        raise ConfigError(
            f"operator {missing[0]!r}: it learns from documents, and {before.newest['version']} was made without it: the new documents "
            f"would be unlike those that are there; leave it out, or {ANEW}"
        )
    kept = (operator for operator in config.operators if not isinstance(operator, LearningOperator))
    return config.model_copy(update={"operators": tuple(_using(operator, files) for operator in kept)})


def learned_files(before: Lineage) -> dict[str, str]:
    """Addresses of the files that operators learned, by the operator's name; the newest version's, where several learned."""
    root = before.store.uri.rstrip("/")
    entries = [entry for manifest in reversed(before.manifests) for entry in manifest.get("learned", ())]
    return {entry["operator"]: f"{root}/{entry['path']}" for entry in entries}


def _using(operator: Operator, files: Mapping[str, str]) -> Operator:
    update = {setting: files[name] for setting in operator.learnable() if (name := getattr(operator, setting)) in files}
    return operator.model_copy(update=update) if update else operator
