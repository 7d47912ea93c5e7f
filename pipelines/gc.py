"""Removing what nothing needs, so that nothing that is needed can go.

A part goes only if its work's record names another attempt, or if its stage's epoch was swept: a marker, written before the first
deletion, says
that no run will look there again. Records and inventories stay: a slow attempt finds its record and loses.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from pipelines import faults
from pipelines.commit import PLAN, ROOT, CommitLog, epoch_of, sealed, sweep_path, unsealed
from pipelines.errors import NotFound
from pipelines.lease import Lease
from pipelines.storage import ObjectInfo, Store, open_store
from pipelines.version import claims, current_manifest

UPLOAD_SECONDS = 24 * 3600.0
"""Unfinished uploads older than this belong to attempts that are long dead."""
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a collection removed."""

    objects: int
    bytes: int


def collect(store: Store, *, keep: Iterable[str]) -> Swept:
    """Remove the parts of attempts that lost, of stages that nothing needs, and the files of abandoned versions.

    Args:
        store: The output.
        keep: Fingerprints of stages whose parts are needed; those of all others are not.
    """
    kept = set(keep)
    for stage in _stages(store):
        if stage not in kept:
            _mark(store, stage, epoch_of(store, stage))
    faults.point("gc.marked")
    return _delete(store, _garbage(store, kept))


def _mark(store: Store, stage: str, epoch: int) -> None:
    store.create(sweep_path(stage, epoch), sealed({"swept": True}))


def collect_output(uri: str) -> Swept:
    """Remove what nothing needs from an output that no run is writing.

    The stages of the latest plan stay while its version is not finished, and after it if the pipeline keeps intermediates.

    Raises:
        LeaseHeld: A run is writing it.
    """
    store = open_store(uri)
    with Lease(store, lambda: "gc"):
        return collect(store, keep=needed(store))


def needed(store: Store) -> list[str]:
    """Fingerprints of the stages whose parts a run may still read: see `collect_output`."""
    try:
        plan = unsealed(store.read(PLAN))
    except NotFound:
        return []
    found = current_manifest(store)
    is_finished = found is not None and found[0]["fingerprints"] == plan["fingerprints"]
    if is_finished and plan["keep_intermediates"] == "none":
        return []
    return [str(stage["fingerprint"]) for stage in plan["stages"]]


def _stages(store: Store) -> list[str]:
    """Stages that have committed anything in the epoch that they are in: the others need no new one."""
    folder = f"{ROOT}/stages"
    names = sorted({str(child).rstrip("/").rsplit("/", 1)[-1] for child in store.children(folder) if isinstance(child, str)})
    return [name for name in names if any(True for _ in store.list(f"{folder}/{name}/e{epoch_of(store, name)}"))]


def _garbage(store: Store, kept: Container[str]) -> Iterator[ObjectInfo]:
    """What can go. Stages of which there are only parts, without any record, are marked when they are met."""
    epochs: dict[str, int] = {}
    logs: dict[str, CommitLog] = {}
    for info in store.list(f"{ROOT}/parts"):
        _, _, _, place, name = info.path.split("/", 4)
        key, attempt, _ = name.split(".", 2)
        stage, _, epoch = place.rpartition(".e")
        if stage not in epochs:
            epochs[stage] = epoch_of(store, stage)
        if stage not in kept and int(epoch) == epochs[stage]:
            _mark(store, stage, epochs[stage])
            epochs[stage] += 1
        if int(epoch) < epochs[stage]:
            yield info
            continue
        if place not in logs:
            logs[place] = CommitLog(store, stage, int(epoch))
            logs[place].load()
        log = logs[place]
        if key in log and attempt != log.record(key).attempt:
            yield info
    yield from store.list(f"{ROOT}/tmp")  # noqa: S108  the store's own folder
    for claim in claims(store):
        if claim.state == "abandoned":
            yield from store.list(f"data/{claim.name}")
            yield from store.list(claim.folder)


def _delete(store: Store, garbage: Iterable[ObjectInfo]) -> Swept:
    objects = size = 0
    batch: list[str] = []
    for info in garbage:
        batch.append(info.path)
        objects += 1
        size += info.size
        if len(batch) >= BATCH:
            faults.point("gc.deleting")
            store.delete(batch)
            batch = []
    faults.point("gc.deleting")
    store.delete(batch)
    store.discard_unfinished(UPLOAD_SECONDS)
    return Swept(objects, size)
