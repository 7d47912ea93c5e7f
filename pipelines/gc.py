"""Removing what nothing needs, so that nothing that is needed can go.

A part goes only if its work's record names another attempt, or if its stage's epoch was swept: a marker, written before the first deletion, says
that no run will look there again. Records and inventories stay: a slow attempt finds its record and loses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipelines import faults
from pipelines.commit import ROOT, CommitLog, epoch_of, sealed, sweep_path
from pipelines.storage import ObjectInfo, Store
from pipelines.version import claims

UPLOAD_SECONDS = 24 * 3600.0
"""Unfinished uploads older than this belong to attempts that are long dead."""
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a collection removed."""

    objects: int
    bytes: int


def collect(store: Store, *, keep: Iterable[str], sweep: Iterable[str] | None = None) -> Swept:
    """Remove the parts of attempts that lost, of stages that nothing needs, and the files of abandoned versions.

    Args:
        store: The output.
        keep: Fingerprints of stages whose parts are needed.
        sweep: Fingerprints of stages whose parts are not needed any more; None: all that are not kept.
    """
    kept = set(keep)
    for stage in _stages(store) if sweep is None else sweep:
        if stage not in kept:
            store.create(sweep_path(stage, epoch_of(store, stage)), sealed({"swept": True}))
    faults.point("gc.marked")
    return _delete(store, _garbage(store))


def _stages(store: Store) -> list[str]:
    prefix = f"{ROOT}/stages"
    return sorted({str(child).rstrip("/").rsplit("/", 1)[-1] for child in store.children(prefix) if isinstance(child, str)})


def _garbage(store: Store) -> Iterator[ObjectInfo]:
    epochs: dict[str, int] = {}
    logs: dict[str, CommitLog] = {}
    for info in store.list(f"{ROOT}/parts"):
        _, _, _, place, key, name = info.path.split("/", 5)
        stage, _, epoch = place.rpartition(".e")
        if stage not in epochs:
            epochs[stage] = epoch_of(store, stage)
        if int(epoch) < epochs[stage]:
            yield info
            continue
        if place not in logs:
            logs[place] = CommitLog(store, stage, int(epoch))
            logs[place].load()
        log = logs[place]
        if key in log and not name.startswith(log.record(key).attempt):
            yield info
    yield from store.list(f"{ROOT}/tmp")
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
