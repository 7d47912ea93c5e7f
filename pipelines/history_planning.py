"""What a run is planned with: the generations that it is compared with, and whether it has left its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from operators.base import GroupOperator
from pipelines.commit import latest_plan
from pipelines.config import PipelineConfig
from pipelines.history import History, generations_of, take_snapshot
from pipelines.history_adding import find_generations, generation_id
from pipelines.identity import PREFIX_BYTES
from pipelines.inventory import Inventory
from pipelines.lineage import OWN_HISTORY
from pipelines.plan import Ingredients, Plan, make_plan
from pipelines.prepare import Prepared
from pipelines.recall import prefix_words, read_generations
from pipelines.redaction import redact_uri
from pipelines.storage import Store, open_store
from pipelines.version import current_manifest


def with_history(config: PipelineConfig, prepared: Prepared) -> Prepared:
    """The same with what earlier runs left, as it is now.

    Raises:
        ConfigError: Earlier runs left other keys than this one's operators compare.
    """
    if config.history is None:
        return prepared
    store = history_store(config)
    own = prefix_words(np.frombuffer(prepared.inventory.prefixes(), np.uint8).reshape(-1, PREFIX_BYTES))
    base = without_history(prepared.ingredients, prepared.inventory)
    output = open_store(config.output.uri, config.output.storage_options)
    pinned = finished_with(output, base) if prepared.pinned is None else prepared.pinned
    counts = None
    if prepared.own_runs is not None:
        left = read_generations(store, generations_of(store))
        counts = partial(_counts, addresses(config, left, output, prepared.own_runs), prepared.own_runs)
    snapshot = take_snapshot(store, own, generation_id(output.uri, base), group_operators(config), pinned, counts)
    return replace(prepared, ingredients=replace(prepared.ingredients, history=snapshot))


def _counts(known_as: frozenset[str], runs: frozenset[str], generation: Mapping[str, Any]) -> bool:
    """Whether the documents of a generation are still there: of those that an output left, as far as its current version has them."""
    return generation["output"] not in known_as or generation["run_id"] in runs


def own_history(config: PipelineConfig) -> str:
    """Where an output keeps the keys of its own documents, if the pipeline names no other place."""
    return f"{config.output.uri.rstrip('/')}/{OWN_HISTORY}"


def addresses(config: PipelineConfig, left: Iterable[Mapping[str, Any]], output: Store, runs: Collection[str]) -> frozenset[str]:
    """What an output was called when its runs left their keys.

    That is what it is called; in a history of its own, which went with it wherever it was moved, also what it was called before.

    Args:
        config: The pipeline, with its history.
        left: The generations of the history.
        output: The output.
        runs: Whose documents its current version has.
    """
    before = {str(body["output"]) for body in left if body["run_id"] in runs} if config.history == own_history(config) else set()
    return frozenset({redact_uri(output.uri), *before})


def finished_with(store: Store, base: str) -> list[str] | None:
    """Generations that the current version was compared with; None if it is not of the plan that is `base` without its history."""
    before, found = latest_plan(store), current_manifest(store)
    if before is None or found is None or found[0].get("fingerprints") != before["fingerprints"]:
        return None
    had = before.get("history")
    return had["generations"] if had is not None and had["base"] == base else None


def history_of(made: Ingredients) -> History | None:
    """What earlier runs left, for a plan's group operators; None without a history."""
    if made.history is None:
        return None
    return History(history_store(made.config), made.history, group_operators(made.config))


def has_left(config: PipelineConfig, store: Store, plan: Plan) -> bool:
    """Whether a finished run has left its keys, where it has any to leave."""
    if config.history is None or not group_operators(config):
        return True
    return bool(find_generations(history_store(config), generation_id(store.uri, plan.fingerprint)))


def history_store(config: PipelineConfig) -> Store:
    """Where the history is kept."""
    assert config.history is not None
    return open_store(config.history, config.output.storage_options)


def group_operators(config: PipelineConfig) -> list[GroupOperator]:
    """The operators that compare documents."""
    return [operator for operator in config.operators if isinstance(operator, GroupOperator)]


def without_history(made: Ingredients, inventory: Inventory) -> str:
    """What the same plan is known by whatever earlier runs left."""
    return make_plan(replace(made, history=None), inventory, ()).fingerprint
