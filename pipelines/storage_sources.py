"""Inputs and assets: objects anywhere, named by absolute URI, found by globs, read with the etag that was listed."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pipelines.errors import InputChanged, NoFiles, NotFound, shown
from pipelines.storage_contract import ObjectInfo, Store
from pipelines.storage_fsspec import MemoryStore, ReadOnlyStore
from pipelines.storage_local import LocalStore, local_path
from pipelines.storage_retry import StoreStats
from pipelines.storage_s3 import S3Store, split_s3_uri

HIDDEN = (".", "_")
MAGIC = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One input: its absolute URI (a plain path if it is local), bytes and etag."""

    uri: str
    size: int
    etag: str


def store_class(uri: str) -> type[Store]:
    """The kind of store that a URI is in."""
    scheme, found, _ = uri.partition("://")
    if not found or "::" in uri.partition("://")[0]:
        return LocalStore if not found else ReadOnlyStore
    match scheme:
        case "file" | "local":
            return LocalStore
        case "memory":
            return MemoryStore
        case "s3" | "s3a":
            return S3Store
        case _:
            return ReadOnlyStore


class Sources:
    """Reads objects by absolute URI and finds them by patterns. One store a root, opened when first needed; picklable."""

    def __init__(
        self,
        storage_options: Mapping[str, Any] | None = None,
        elsewhere: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        max_seconds: float = math.inf,
    ) -> None:
        """Open nothing yet.

        Args:
            storage_options: Of everything that is read.
            elsewhere: Instead, of what lies below these addresses: an output may be at another endpoint than the input, and an operator be
                given what an earlier version of it learned.
            max_seconds: How long a store that does not answer is asked again, here and not in copies.
        """
        self.storage_options = dict(storage_options or {})
        self.elsewhere = {f"{uri.rstrip('/')}/": dict(options) for uri, options in (elsewhere or {}).items()}
        self._max_seconds = max_seconds
        self._stores: dict[tuple[str, str], Store] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Sources], tuple[dict[str, Any], dict[str, dict[str, Any]]]]:
        return type(self), (self.storage_options, self.elsewhere)

    def __repr__(self) -> str:
        return f"Sources({', '.join(sorted(store.uri for store in self._stores.values()))})"

    @property
    def stats(self) -> StoreStats:
        """The counters of all its stores together."""
        total = StoreStats()
        for store in tuple(self._stores.values()):
            stats = store.stats
            total.add(
                requests=stats.requests,
                retries=stats.retries,
                throttled=stats.throttled,
                bytes_read=stats.bytes_read,
                bytes_written=stats.bytes_written,
            )
        return total

    def find(self, patterns: Sequence[str]) -> list[SourceObject]:
        """Every file that a pattern names, sorted by URI, each once.

        A pattern is a file, a folder (all files below it), or a glob: `*`, `?` and `[…]` within one part of the path, `**` for any number
        of parts. A glob means files; one that ends in `/` means the folders that match. In folders and globs, names that begin with `.` or
        `_` are skipped unless the pattern spells the character out.

        Raises:
            NoFiles: A pattern matched nothing; it names each that did not.
        """
        found: dict[str, SourceObject] = {}
        without: list[str] = []
        for pattern in patterns:
            matches = dict(self._matches(pattern))
            found.update(matches)
            if not matches:
                without.append(pattern)
        if without:
            names = ", ".join(shown(pattern) for pattern in without[:5])
            raise NoFiles(f"input {names}: no file there; names that begin with '.' or '_' are skipped, and folders need '/' or '/**'")
        return [found[uri] for uri in sorted(found)]

    def info(self, uri: str) -> SourceObject:
        """Size and etag of one object.

        Raises:
            NotFound: There is none.
        """
        store, root, path = self._place(uri)
        return _source(root, store.info(path))

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        """The whole object.

        Raises:
            NotFound: There is none, and no etag was given.
            InputChanged: It is not, or no longer, the one with this etag.
        """
        store, _, path = self._place(uri)
        try:
            return store.read(path, etag=etag)
        except NotFound as error:
            raise _gone(error, etag) from error

    def read_range(self, uri: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """Exactly the bytes from `start` up to, not including, `stop`.

        Raises:
            NotFound: There is no object, and no etag was given.
            InputChanged: It is not, or no longer, the one with this etag.
            InputError: It ends before `stop`.
        """
        store, _, path = self._place(uri)
        try:
            return store.read_range(path, start, stop, etag=etag)
        except NotFound as error:
            raise _gone(error, etag) from error

    # Places

    def _place(self, uri: str) -> tuple[Store, str, str]:
        """The store that holds a URI, its root, and the path in it."""
        root, path = split_uri(uri)
        place = next((place for place in self.elsewhere if uri.startswith(place)), "")
        with self._lock:
            store = self._stores.get((root, place))
            if store is None:
                options = self.elsewhere.get(place, self.storage_options)
                store = self._stores[root, place] = store_class(root)(root, options)
                store.backoff.max_seconds = self._max_seconds
        return store, root, path

    # Patterns

    def _matches(self, pattern: str) -> Iterator[tuple[str, SourceObject]]:
        store, root, path = self._place(pattern)
        for found in _expanded(store, path):
            source = _source(root, found)
            yield source.uri, source


def split_uri(uri: str) -> tuple[str, str]:
    """A store's root and the path in it, such that objects of the same bucket or server share their root."""
    kind = store_class(uri)
    if kind is LocalStore:
        ending = "/" if uri.endswith(("/", os.sep)) else ""
        path = local_path(uri).lstrip("/")
        return "/", path + ending if path else ""
    if kind is S3Store:
        bucket, key = split_s3_uri(uri)
        return f"s3://{bucket}", key
    if kind is MemoryStore:
        return "memory://", uri.removeprefix("memory://").lstrip("/")
    chain, _, last = uri.rpartition("::")
    if chain:
        return uri, ""
    scheme, _, rest = last.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme}://{host}", path


def _source(root: str, found: ObjectInfo) -> SourceObject:
    uri = f"{root.rstrip('/')}/{found.path}" if not root.endswith("://") else root + found.path
    return SourceObject(uri=uri if found.path else root, size=found.size, etag=found.etag)


def _gone(error: NotFound, etag: str | None) -> NotFound | InputChanged:
    if etag is None:
        return error
    return InputChanged(f"{error.message}; it was there with etag {shown(etag)} when the input was listed. Plan again")


def _expanded(store: Store, path: str) -> Iterator[ObjectInfo]:
    """The objects that a path or pattern in a store means."""
    if not path.endswith("/"):
        try:
            yield store.info(path)  # also a file whose name has a `[` or `?` in it
        except NotFound:
            pass
        else:
            return
    if not MAGIC & set(path):
        yield from _below(store, path)
    elif path.endswith("/"):
        for folder in _folders(store, "", path.rstrip("/").split("/")):
            yield from _below(store, folder)
    else:
        yield from _files(store, "", path.split("/"))


def _below(store: Store, folder: str) -> Iterator[ObjectInfo]:
    """Every file under a folder that is not hidden from it."""
    start = folder.strip("/")
    for found in store.list(start):
        if not any(part.startswith(HIDDEN) for part in found.path.removeprefix(start).strip("/").split("/")):
            yield found


def _files(store: Store, base: str, segments: Sequence[str]) -> Iterator[ObjectInfo]:
    """The files that match. One level is listed at a time, so that `2024-*/wet/*.gz` does not list all of a crawl."""
    segment, rest = segments[0], segments[1:]
    if segment == "**":
        start = f"{base}/" if base else ""
        yield from (found for found in store.list(base) if _matching(found.path.removeprefix(start).split("/"), segments))
    elif not rest:
        yield from (found for found in _children(store, base, segment) if isinstance(found, ObjectInfo))
    else:
        for folder in _folders(store, base, [segment]):
            yield from _files(store, folder, rest)


def _folders(store: Store, base: str, segments: Sequence[str]) -> Iterator[str]:
    """The folders that match."""
    segment, rest = segments[0], segments[1:]
    if segment == "**":
        matching: Iterator[str] = (found for found in (base, *_all_folders(store, base)) if _matching(_parts_below(found, base), segments))
    elif not MAGIC & set(segment):
        matching = iter([f"{base}/{segment}" if base else segment])
    else:
        matching = (found for found in _children(store, base, segment) if isinstance(found, str))
    for folder in matching:
        if rest and segment != "**":
            yield from _folders(store, folder, rest)
        else:
            yield folder


def _all_folders(store: Store, base: str) -> Iterator[str]:
    for found in store.children(base):
        if isinstance(found, str):
            yield found
            yield from _all_folders(store, found)


def _parts_below(path: str, base: str) -> list[str]:
    below = path.removeprefix(base).strip("/")
    return below.split("/") if below else []


def _children(store: Store, base: str, segment: str) -> Iterator[ObjectInfo | str]:
    """What is in a folder and matches one part of a pattern."""
    literal = next((position for position, char in enumerate(segment) if char in MAGIC), len(segment))
    for found in store.children(base, segment[:literal]):
        name = (found if isinstance(found, str) else found.path).rpartition("/")[2]
        if _part_matches(name, segment):
            yield found


def _part_matches(name: str, segment: str) -> bool:
    return fnmatchcase(name, segment) and (not name.startswith(HIDDEN) or segment.startswith(HIDDEN))


def _matching(parts: Sequence[str], segments: Sequence[str]) -> bool:
    """Whether the parts of a path match a pattern's, where `**` stands for any number of parts that are not hidden."""
    if not segments:
        return not parts
    if segments[0] != "**":
        return bool(parts) and _part_matches(parts[0], segments[0]) and _matching(parts[1:], segments[1:])
    if len(segments) == 1:
        return not any(part.startswith(HIDDEN) for part in parts)
    return any(
        _matching(parts[skipped:], segments[1:])
        for skipped in range(len(parts) + 1)
        if not any(part.startswith(HIDDEN) for part in parts[:skipped])
    )
