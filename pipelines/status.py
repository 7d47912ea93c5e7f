"""Where a run is and what it waits for, read from the output alone; nothing is changed, and no run is asked.

Owns the states of a run and what to do in each. What a person reads is made in `status_lines.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from pipelines.commit import ROOT, TornRecord, unsealed
from pipelines.committed import Committed, committed, part_examples, table_examples
from pipelines.errors import NotFound, StorageError
from pipelines.lease import LEASE_SECONDS, Holder, current
from pipelines.lease import PATH as LEASE
from pipelines.legible import legible, seconds
from pipelines.published import open_finished
from pipelines.status_lines import render_status
from pipelines.storage import Store
from pipelines.version import claims, current_manifest

__all__ = ["State", "render_status", "status"]

PLAN = f"{ROOT}/plan.json"
EXCHANGE = (
    *("partition", "spread", "buckets", "verify", "meet", "contract", "links", "star", "label"),
    *("decide", "resolve", "cut", "slice", "count", "gather", "sample", "learn"),
)
"""Kinds of an exchange's tasks, in the order of the work."""

State = Literal["nothing", "running", "dead", "silent", "stopped", "unswapped", "finished"]
"""What a run may be found doing.

- nothing: no run has begun.
- running: its holder gives signs of life.
- dead: its process ended on this machine without giving the lease back.
- silent: no sign of it for longer than the lease lasts.
- stopped: nobody is at work and something is left to do.
- unswapped: a version is whole and only has to become the current one.
- finished: nothing is left but, at most, the sweep of what is not needed any more.
"""


def status(uri: str, storage_options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Where the run of an output is.

    Returns:
        A JSON object: `state`, `waits_for` (a sentence), `version` (the current one, or null), `versions` (every claim), `plan` (the
        latest, or null), `stages` with the units and exchange tasks committed in each, `packing`, `lease` (null: nobody holds it),
        `quarantine` and `usage`.

    Raises:
        StorageError: The output cannot be read.
    """
    store = open_finished(uri, storage_options)
    found = current_manifest(store)
    manifest = None if found is None else found[0]
    plan = _plan(store)
    lease, was_leased = _lease(store)
    made = [{"version": claim.name, "state": claim.state} for claim in claims(store)]
    state = _state(manifest, plan, lease, made, was_leased=was_leased)
    scans = [] if plan is None else [committed(store, stage["fingerprint"]) for stage in plan["stages"]]
    packed = Committed() if plan is None else committed(store, f"pack-{plan['plan']}")
    result: dict[str, Any] = {
        "uri": store.uri,
        "state": state,
        "waits_for": "",
        "version": None if manifest is None else _version(manifest),
        "versions": made,
        "plan": None if plan is None else {name: plan.get(name) for name in ("name", "run_id", "plan", "rows", "files", "num_units")},
        "stages": [] if plan is None else [_stage(stage, scan, plan) for stage, scan in zip(plan["stages"], scans, strict=True)],
        "packing": {"files_committed": packed.kinds["file"] + packed.kinds["tokens"]},
        "lease": lease,
        "quarantine": _quarantine(store, state, manifest, plan, scans),
        "usage": _usage([*scans, packed]),
    }
    return {**result, "waits_for": _waits_for(result)}


def _plan(store: Store) -> dict[str, Any] | None:
    try:
        return unsealed(store.read(PLAN))
    except (NotFound, TornRecord, orjson.JSONDecodeError):
        return None  # the next run writes it again


def _lease(store: Store) -> tuple[dict[str, Any] | None, bool]:
    """The lease as it is shown, and whether anybody ever had it."""
    holder, etag = current(store)
    if holder is None:
        return None, etag is not None
    return _shown_lease(holder, _age(store)), True


def _age(store: Store) -> float | None:
    """Seconds since the holder's last sign; None where that cannot be told, because the store is read only."""
    try:
        return max(store.now() - store.info(LEASE).modified, 0.0)
    except StorageError:
        return None


def _shown_lease(holder: Holder, age: float | None) -> dict[str, Any]:
    return {
        "host": holder.host,
        "pid": holder.pid,
        "epoch": holder.epoch,
        "doing": holder.doing,
        "heartbeat_age_seconds": None if age is None else round(age, 1),
        "lease_seconds": LEASE_SECONDS,
        "is_dead_here": holder.is_dead_here,
    }


def _state(
    manifest: Mapping[str, Any] | None,
    plan: Mapping[str, Any] | None,
    lease: Mapping[str, Any] | None,
    made: Sequence[Mapping[str, str]],
    *,
    was_leased: bool,
) -> State:
    life = None if lease is None else _life(lease)
    if life == "running":
        return life
    if manifest is not None and (plan is None or manifest["fingerprints"] == plan["fingerprints"]):
        return "finished"
    if life is not None:
        return life
    if manifest is None and plan is None:
        return "stopped" if was_leased else "nothing"
    if made and made[-1]["state"] == "finished" and (manifest is None or made[-1]["version"] != manifest["version"]):
        return "unswapped"
    return "stopped"


def _life(lease: Mapping[str, Any]) -> State:
    """Whether the holder of the lease lives, as far as can be told from here."""
    age = lease["heartbeat_age_seconds"]
    if lease["is_dead_here"]:
        return "dead"
    return "silent" if age is not None and age >= lease["lease_seconds"] else "running"


def _version(manifest: Mapping[str, Any]) -> dict[str, Any]:
    output = manifest["output"]
    names = ("name", "version", "run_id", "created_at")
    return {**{name: manifest[name] for name in names}, **{name: output[name] for name in ("rows", "shards", "bytes", "tokens")}}


def _stage(stage: Mapping[str, Any], scan: Committed, plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "operators": [*stage["operators"]],
        "groups": [*stage["groups"]],
        "learners": [*stage.get("learners", ())],
        "epoch": scan.epoch,
        "units_committed": scan.kinds["unit"],
        "units_planned": plan.get("num_units"),
        "records_unread": scan.unread,
        "exchange_committed": {kind: scan.kinds[kind] for kind in EXCHANGE if scan.kinds[kind]},
        "rows_in": scan.rows_in,
        "rows_out": scan.rows_out,
        "rows_dropped": scan.dropped,
    }


def _quarantine(
    store: Store, state: State, manifest: Mapping[str, Any] | None, plan: Mapping[str, Any] | None, scans: Sequence[Committed]
) -> dict[str, Any]:
    """Quarantined rows by error: of the finished version, or of what is committed so far."""
    allowed = None if plan is None else plan["config"].get("execution", {}).get("max_quarantined_fraction")
    if state == "finished" and manifest is not None:
        counts = Counter(manifest["ledger"]["quarantined"])
        examples = table_examples(store, manifest["tables"].get("quarantine", {}).get("files", ())) if counts else []
        of = manifest["input"]["rows"]
    else:
        counts = sum((scan.quarantined for scan in scans), Counter())
        examples = part_examples(store, [record for scan in scans for record in scan.bad])
        of = None if plan is None else plan["rows"]
    return {
        "rows": counts.total(),
        "of_rows": of,
        "allowed_fraction": allowed,
        "by_error": dict(counts.most_common()),
        "examples": examples,
    }


def _usage(scans: Sequence[Committed]) -> dict[str, Any]:
    return {
        "cpu_seconds": round(sum(scan.seconds for scan in scans), 3),
        "requests": sum(scan.requests for scan in scans),
        "retries": sum(scan.retries for scan in scans),
        "peak_rss_bytes": max((scan.peak_rss_bytes for scan in scans), default=0),
    }


# --- what next


def _waits_for(found: Mapping[str, Any]) -> str:
    """What the run waits for, and what to do."""
    version, lease = found["version"], found["lease"]
    again = "start `shardmill run FILE` again"
    match found["state"]:
        case "nothing":
            return "no run has begun here: start `shardmill run FILE`, or check the URI"
        case "running":
            return f"nothing: {_who(lease)} is at work{_doing(lease)}"
        case "dead":
            return f"{_who(lease)} ended without giving the lease back; {again}: it goes on from what is committed, at once"
        case "silent":
            limit = seconds(lease["lease_seconds"])
            return (
                f"{_who(lease)} is dead, stopped or cut off: no sign of it for longer than the lease lasts ({limit}); "
                f"{again}: it takes over at once"
            )
        case "unswapped":
            return f"version {found['versions'][-1]['version']} is whole and only has to become the current one: {again}"
        case "finished":
            unswept = "" if lease is None else "; its run ended before it removed what nothing needs any more: `shardmill gc URI` does"
            return f"nothing: version {version['version']} is finished{unswept}"
        case _:
            return _stopped(found, again)


def _stopped(found: Mapping[str, Any], again: str) -> str:
    quarantine = found["quarantine"]
    rows, of, allowed = quarantine["rows"], quarantine["of_rows"], quarantine["allowed_fraction"]
    if of is not None and allowed is not None and rows > allowed * of:
        return (
            f"nobody is at work: {rows:,} of {of:,} rows are quarantined, more than execution.max_quarantined_fraction ({allowed:g}) "
            f"allows; mend the input or the operator, or raise the fraction, and {again}"
        )
    return f"nobody is at work: {again}; it goes on from what is committed"


def _who(lease: Mapping[str, Any]) -> str:
    age = lease["heartbeat_age_seconds"]
    heard = "" if age is None else f" (heard of {seconds(age)} ago)"
    return f"process {lease['pid']} on {legible(lease['host'], 60)}{heard}"


def _doing(lease: Mapping[str, Any]) -> str:
    return f": {legible(lease['doing'], 200)}" if lease["doing"] else ""
