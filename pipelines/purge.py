"""Removing what still holds documents that were taken out: all of every version but the current one, and every intermediate.

Of an older version stays its manifest, which counts and names no document, so that `parents` can be checked, and beside it `purged.json`,
which says why the rest is gone. Versions that the current one was added to after the documents were taken out stay whole. The note is
written before anything is deleted. Nothing that the current version names is ever deleted; killed at any point, a purge goes on when it is
asked for again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pyarrow.parquet as pq

from pipelines import faults
from pipelines.errors import InputError, NotFound
from pipelines.gc import collect
from pipelines.lineage import followed
from pipelines.storage import ObjectInfo, Store
from pipelines.tombstones import tombstones_of
from pipelines.version import MANIFEST, abandon, claims, current_manifest, write_once

PURGED: Final = "purged.json"
BATCH: Final = 1000
UPLOAD_SECONDS: Final = 2.0
"""Unfinished uploads older than this are of processes that are gone; the lease, which is renewed meanwhile, takes milliseconds to write."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge removed."""

    versions: tuple[str, ...]
    objects: int
    bytes: int


def purge(store: Store, confirm: Callable[[], None]) -> Purged:
    """Remove what the current version does not name.

    Args:
        store: The output, on which the caller holds the lease.
        confirm: Raises if another run has taken over; called before every step that others would see.

    Raises:
        InputError: Nothing was ever taken out: there is no reason to.
        NotFound: Nothing is finished.
    """
    found = current_manifest(store)
    if found is None:
        raise NotFound(f"{store.uri}: no manifest.json: nothing is finished here; run the pipeline, or check the address")
    check_struck(store)
    manifest = found[0]
    confirm()
    for claim in claims(store):
        if claim.state == "claimed":  # whoever began it is gone, and its shards may hold the documents
            abandon(store, claim)
    needed = {str(one["version"]) for one in followed(store, manifest)}
    versions = [name for name in _versions(store) if name not in needed]
    for name in versions:
        if store.exists(f"versions/{name}/{MANIFEST}"):
            write_once(store, f"versions/{name}/{PURGED}", _note(name, manifest))
    faults.point("takedown.purging")
    objects, size = _delete(store, _unnamed(store, manifest, versions), confirm)
    faults.point("takedown.purged")
    confirm()
    store.discard_unfinished(UPLOAD_SECONDS)
    swept = collect(store, keep=(), confirm=confirm)
    return Purged(tuple(versions), objects + swept.objects, size + swept.bytes)


def check_struck(store: Store) -> None:
    """Check that there is a reason to purge.

    Raises:
        InputError: Nothing was ever taken out.
    """
    if not tombstones_of(store):
        raise InputError(f"{store.uri}: nothing was ever taken out of this output, so no version is purged; name documents with --ids")


def holding_versions(store: Store, current: str) -> list[str]:
    """Versions that have their documents still, but for the current one and those that it was made of, whose documents it has."""
    found = current_manifest(store)
    needed = {str(one["version"]) for one in followed(store, found[0])} if found is not None and found[0]["version"] == current else set()
    names = [name for name in _versions(store) if name not in {current, *needed}]
    return [name for name in names if store.exists(f"versions/{name}/shards.parquet")]


def _versions(store: Store) -> list[str]:
    names = {str(child).rstrip("/").rpartition("/")[2] for child in store.children("versions") if isinstance(child, str)}
    return sorted(names, key=lambda name: (len(name), name))


def _note(version: str, manifest: Mapping[str, Any]) -> bytes:
    note = {
        "version": version,
        "purged_for": manifest["version"],
        "why": "documents were taken out, and this version still held them; only its manifest is kept",
    }
    return orjson.dumps(note, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _unnamed(store: Store, manifest: Mapping[str, Any], versions: list[str]) -> Iterator[ObjectInfo]:
    """What the current version does not name: shards, token shards, and the folders of other versions but for their manifests."""
    folder = f"versions/{manifest['version']}"
    for place, table in (("data", "shards.parquet"), ("tokens", "token_shards.parquet")):
        named = _paths(store, f"{folder}/{table}") if table == "shards.parquet" or "token_shards" in manifest["tables"] else set()
        yield from (info for info in store.list(place) if info.path not in named)
    for name in versions:
        kept = {f"versions/{name}/{MANIFEST}", f"versions/{name}/{PURGED}"}
        yield from (info for info in store.list(f"versions/{name}") if info.path not in kept)


def _paths(store: Store, table: str) -> set[str]:
    return set(pq.read_table(io.BytesIO(store.read(table)), columns=["path"], use_threads=False)["path"].to_pylist())


def _delete(store: Store, found: Iterator[ObjectInfo], confirm: Callable[[], None]) -> tuple[int, int]:
    objects = size = 0
    batch: list[ObjectInfo] = []

    def flush() -> None:
        confirm()
        store.delete([info.path for info in batch])
        batch.clear()

    for info in found:
        batch.append(info)
        objects, size = objects + 1, size + info.size
        if len(batch) >= BATCH:
            flush()
    flush()
    return objects, size
