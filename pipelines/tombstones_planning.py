"""What a run is planned with: the documents that were taken out of its output, and what earlier runs left.

Owns the choice between two plans where a takedown made the current version: the one that the run before it had, if that has nothing to do,
so that the version counts as finished; else the one with every tombstone, which makes a new version without all that was taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.config import PipelineConfig
from pipelines.errors import InputChanged
from pipelines.history_planning import has_left, with_history
from pipelines.plan import make_plan
from pipelines.prepare import Prepared
from pipelines.storage import Store
from pipelines.tombstones import TakenOut, Tombstones, load_tombstones, plan_digest, tombstones_of
from pipelines.version import current_manifest


def with_what_was_left(config: PipelineConfig, store: Store, prepared: Prepared) -> tuple[Prepared, Tombstones]:
    """The same with what earlier runs and takedowns left, as it is now; and all tombstones.

    Raises:
        ConfigError: Earlier runs left other keys than this one's operators compare.
        InputError: A tombstone, or something in the history, is damaged.
    """
    tombstones = load_tombstones(store)
    found = current_manifest(store) if tombstones else None
    if found is not None:
        finished = _of_current(config, store, prepared, found[0], tombstones)
        if finished is not None:
            return finished, tombstones
    return with_history(config, _with(prepared, tombstones.reference)), tombstones


def _with(prepared: Prepared, taken_out: TakenOut | None) -> Prepared:
    return replace(prepared, ingredients=replace(prepared.ingredients, taken_out=taken_out))


def _of_current(
    config: PipelineConfig, store: Store, prepared: Prepared, manifest: Mapping[str, Any], tombstones: Tombstones
) -> Prepared | None:
    """What the run had that made the current version, before a takedown; None if there is something to do for it, or was no takedown."""
    digest = plan_digest(manifest, tombstones.digest)
    if digest is None or tombstones.reference is None:
        return None
    before = with_history(config, _with(prepared, replace(tombstones.reference, digest=digest) if digest else None))
    plan = make_plan(before.ingredients, before.inventory, ())
    is_same = dict(plan.fingerprints) == manifest.get("fingerprints")
    return before if is_same and has_left(config, store, plan) else None


def check_tombstones(store: Store, planned: Tombstones) -> None:
    """Check, once nobody else can take documents out, that none were while the run was planned.

    Raises:
        InputChanged: Some were.
    """
    if tuple(tombstones_of(store)) != planned.paths:
        raise InputChanged(f"{store.uri}: documents were taken out while this run was planned; start it again: it will leave them out")
