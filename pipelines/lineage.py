"""The versions that a growing output's current one is made of: each added the shards of files that the one before it had not taken in.

Owns how the chain is followed, which files it has taken in, and which runs left the keys of its documents. Only reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import orjson
import pyarrow as pa

from pipelines.commit import digest
from pipelines.errors import InputError, NotFound
from pipelines.fingerprint import fingerprint
from pipelines.inventory import Inventory
from pipelines.storage import Store
from pipelines.version import MANIFEST, current_version

READERS: Final = 16
"""Versions that are read at once: an output may be made of hundreds, and a store takes tens of milliseconds to answer."""
INGEST: Final = "ingest"
"""Key of the manifest of a version that an ingestion made."""
OWN_HISTORY: Final = "_shardmill/history"
"""Where an output keeps what its own ingestions leave for each other, if the pipeline names no other place."""
FILES: Final = pa.schema([("uri", pa.large_string()), ("size", pa.int64()), ("etag", pa.large_string()), ("is_read", pa.bool_())])


@dataclass(frozen=True)
class Lineage:
    """A version, and those that it has the shards of, newest first.

    Attributes:
        store: The output.
        manifests: Of the versions.
        sha256: Of the newest one's manifest as it is stored.
    """

    store: Store
    manifests: tuple[Mapping[str, Any], ...]
    sha256: str

    @classmethod
    def current(cls, store: Store) -> Self | None:
        """That of the current version; None if nothing is finished.

        Raises:
            InputError: A version that it goes back to is not there any more, or is not what it was.
        """
        found = current_version(store)
        return None if found is None else cls(store, followed(store, found[0]), found[1])

    @property
    def newest(self) -> Mapping[str, Any]:
        """The manifest of the version itself."""
        return self.manifests[0]

    @property
    def versions(self) -> list[str]:
        """Names of the versions, oldest first."""
        return [str(manifest["version"]) for manifest in reversed(self.manifests)]

    @property
    def runs(self) -> list[str]:
        """The runs whose documents the version has, oldest first: the keys that they left are those of its documents."""
        return [run for manifest in reversed(self.manifests) for run in runs_of(manifest)]

    @property
    def limit(self) -> int | None:
        """How many documents the oldest version was limited to."""
        limit: int | None = self.manifests[-1]["input"].get("limit")
        return limit

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the documents as the newest version read them."""
        return self.inventory(self.newest).schema

    def inventory(self, manifest: Mapping[str, Any]) -> Inventory:
        """The inventory of a version.

        Raises:
            InputError: It is not there, or damaged.
        """
        path = manifest["input"]["inventory"]
        try:
            return Inventory.load(self.store, path)
        except NotFound as error:
            raise InputError(
                f"{self.store.locate(path)}: the inventory of {manifest['version']} is missing: it says which files were taken in; restore "
                "it from a copy, or make the next version anew: `shardmill ingest FILE --backfill`"
            ) from error

    def files(self) -> pa.Table:
        """Every file that was taken in, as it was then: uri, size, etag, and whether it could be read."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="lineage") as threads:
            tables = threads.map(lambda manifest: self.inventory(manifest).files_table(), self.manifests)
            return pa.concat_tables([FILES.empty_table(), *tables]).combine_chunks()


def runs_of(manifest: Mapping[str, Any]) -> list[str]:
    """The runs that a version accounts for: its own; after a takedown, those of all shards that it went on from."""
    return list(manifest.get("takedown", {}).get("runs", [manifest["run_id"]]))


def content_digest(manifest: Mapping[str, Any]) -> str:
    """Identity of what a version holds, whenever and wherever it was made."""
    return digest("version", fingerprint(manifest["fingerprints"]), manifest["tables"]["shards"]["sha256"])


def base_of(manifest: Mapping[str, Any]) -> str | None:
    """The version whose shards a version has besides its own; None if all are its own."""
    base: str | None = manifest.get(INGEST, {}).get("base")
    return base


def followed(store: Store, manifest: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """A version's manifest, and those of all versions that it has the shards of, newest first.

    Raises:
        InputError: One is not there any more, or is not what it was.
    """
    return tuple(_followed(store, manifest))


def manifest_path(version: str) -> str:
    """Where the manifest of a version is."""
    return f"versions/{version}/{MANIFEST}"


def _followed(store: Store, manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield manifest
    names = [str(name) for name in manifest.get(INGEST, {}).get("lineage", {}).get("versions", ())[:-1]]
    with ThreadPoolExecutor(READERS, thread_name_prefix="lineage") as threads:
        ahead = {name: threads.submit(store.read, manifest_path(name)) for name in names}
        yield from _parents(store, manifest, lambda name: ahead[name].result() if name in ahead else store.read(manifest_path(name)))


def _parents(store: Store, manifest: Mapping[str, Any], read: Callable[[str], bytes]) -> Iterator[Mapping[str, Any]]:
    while (base := base_of(manifest)) is not None:
        path = manifest_path(base)
        try:
            content = read(base)
        except NotFound as error:
            raise InputError(
                f"{store.locate(path)}: it is missing, but {manifest['version']} has the shards of {base}; restore it from a copy, or make "
                "the next version anew: `shardmill ingest FILE --backfill`"
            ) from error
        if hashlib.sha256(content).hexdigest() not in manifest["parents"]:
            raise InputError(
                f"{store.locate(path)}: it is not the manifest that {manifest['version']} names as its parent; restore it from a copy"
            )
        manifest = orjson.loads(content)
        yield manifest
