"""Removing what nothing needs, so that nothing that is needed can go.

A part goes only if its work's record names another attempt, or if its stage's epoch was swept: a marker, written before the first
deletion, says that no run will look there again. Records and inventories stay: a slow attempt finds its record and loses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipelines import faults
from pipelines.commit import ROOT, CommitLog, epoch_of, latest_plan, sealed, sweep_path
from pipelines.lease import Lease
from pipelines.storage import ObjectInfo, Store, open_store
from pipelines.storage_contract import PROBE_PREFIX
from pipelines.version import claims, current_manifest

UPLOAD_SECONDS = 24 * 3600.0
"""Unfinished uploads, and probes of a store, older than this belong to processes that are long dead."""
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a collection removed."""

    objects: int
    bytes: int


def collect(store: Store, *, keep: Iterable[str], confirm: Callable[[], None]) -> Swept:
    """Remove the parts of attempts that lost, of stages that nothing needs, and the files of abandoned versions.

    What may go is settled before anything is marked: a run that begins later, because this one was stopped for too long, loses nothing.

    Args:
        store: The output.
        keep: Fingerprints of stages whose parts are needed; those of all others are not.
        confirm: Raises if another run has taken over; called before every step that others would see.
    """
    kept = set(keep)
    found = {stage: epoch_of(store, stage) for stage in sorted(_stages(store) | _stages_with_parts(store))}
    confirm()
    for stage, epoch in found.items():
        if stage not in kept:
            _mark(store, stage, epoch)
    faults.point("gc.marked")
    swept = {stage: epoch + (stage not in kept) for stage, epoch in found.items()}
    return _delete(store, _garbage(store, swept), confirm)


def _mark(store: Store, stage: str, epoch: int) -> None:
    store.create(sweep_path(stage, epoch), sealed({"swept": True}))


def collect_output(uri: str) -> Swept:
    """Remove what nothing needs from an output that no run is writing.

    The stages of the latest plan stay while its version is not finished, and after it if the pipeline keeps intermediates.

    Raises:
        LeaseHeld: A run is writing it.
    """
    store = open_store(uri)
    with Lease(store, lambda: "gc") as lease:
        return collect(store, keep=needed(store), confirm=lease.confirm)


def needed(store: Store) -> list[str]:
    """Fingerprints of the stages whose parts a run may still read: see `collect_output`."""
    plan = latest_plan(store)
    if plan is None:
        return []
    found = current_manifest(store)
    is_finished = found is not None and found[0]["fingerprints"] == plan["fingerprints"]
    if is_finished and plan["keep_intermediates"] == "none":
        return []
    return [str(stage["fingerprint"]) for stage in plan["stages"]]


def _stages(store: Store) -> set[str]:
    """Stages that have committed anything in the epoch that they are in: the others need no new one."""
    folder = f"{ROOT}/stages"
    names = {_last(child) for child in store.children(folder) if isinstance(child, str)}
    return {name for name in names if any(True for _ in store.list(f"{folder}/{name}/e{epoch_of(store, name)}"))}


def _stages_with_parts(store: Store) -> set[str]:
    """Stages of which there are parts, even if none of them was ever committed."""
    prefixes = [_last(child) for child in store.children(f"{ROOT}/parts") if isinstance(child, str)]
    places = (_last(child) for prefix in prefixes for child in store.children(f"{ROOT}/parts/{prefix}") if isinstance(child, str))
    return {place.rpartition(".e")[0] for place in places}


def _last(folder: str) -> str:
    return folder.rstrip("/").rsplit("/", 1)[-1]


def _garbage(store: Store, swept: Mapping[str, int]) -> Iterator[ObjectInfo]:
    """What can go: parts of epochs below the settled ones, and of attempts that lost."""
    winners: dict[str, dict[str, str]] = {}
    for info in store.list(f"{ROOT}/parts"):
        _, _, _, place, name = info.path.split("/", 4)
        key, attempt, _ = name.split(".", 2)
        stage, _, epoch = place.rpartition(".e")
        if int(epoch) < swept.get(stage, 0):
            yield info
            continue
        if place not in winners:
            winners[place] = _winners(store, stage, int(epoch))
        if attempt != winners[place].get(key, attempt):
            yield info
    yield from store.list(f"{ROOT}/tmp")  # noqa: S108  the store's own folder
    long_ago = store.now() - UPLOAD_SECONDS
    yield from (info for info in store.list(PROBE_PREFIX) if info.modified < long_ago)
    for claim in claims(store):
        if claim.state == "abandoned":
            yield from store.list(f"data/{claim.name}")
            yield from store.list(f"tokens/{claim.name}")
            yield from store.list(claim.folder)


def _winners(store: Store, stage: str, epoch: int) -> dict[str, str]:
    """The attempt that counts, by the key of the work; read in the order of the records, since parts are listed by their keys."""
    log = CommitLog(store, stage, epoch)
    log.load()
    return {body["key"]: body["attempt"] for body in map(log.body, log.keys())}


def _delete(store: Store, garbage: Iterable[ObjectInfo], confirm: Callable[[], None]) -> Swept:
    objects = size = 0
    batch: list[str] = []
    for info in garbage:
        batch.append(info.path)
        objects += 1
        size += info.size
        if len(batch) >= BATCH:
            faults.point("gc.deleting")
            confirm()
            store.delete(batch)
            batch = []
    faults.point("gc.deleting")
    confirm()
    store.delete(batch)
    store.discard_unfinished(UPLOAD_SECONDS)
    return Swept(objects, size)
