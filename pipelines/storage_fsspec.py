"""Stores that fsspec gives: memory, for tests and small trials, and everything else (HTTP, the Hub, GCS …) for reading only."""

from __future__ import annotations

import hashlib
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

import fsspec
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from pipelines.errors import ConfigError, Conflict, InputChanged, InputError, NotFound, shown
from pipelines.storage_contract import ObjectInfo, Store, StoreKind, Upload, checked_path, checked_range, ends_early, folder_prefix
from pipelines.storage_readonly import UnwritableStore

ETAG_FIELDS = ("ETag", "etag", "blob_id", "md5", "md5Hash", "content_md5", "checksum", "generation", "mtime", "updated", "last_modified")
TIME_FIELDS = ("mtime", "updated", "last_modified", "LastModified", "modified", "created")
MAX_VERIFIED = 4096

# fsspec's memory is one dictionary of the process; checking and writing it must be one step.
_MEMORY = threading.RLock()


class MemoryStore(Store):
    """Objects in this process's memory (fsspec's `memory://`), gone with it. An etag is a digest of the content."""

    kind: ClassVar[StoreKind] = "memory"

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        root = "/" + uri.removeprefix("memory://").strip("/")
        super().__init__(f"memory://{root.strip('/')}", options)
        self._root = root.rstrip("/") + "/"
        self._fs = MemoryFileSystem(skip_instance_cache=True, use_listings_cache=False)

    def _content(self, path: str) -> bytes:
        self.stats.add(requests=1)
        file = self._fs.store.get(self._root + path)
        if file is None:
            raise NotFound(f"{self.locate(path)}: there is no such object")
        return bytes(file.getvalue())

    def info(self, path: str) -> ObjectInfo:
        """See Store."""
        with _MEMORY:
            content = self._content(path)
            modified = self._fs.modified(self._root + path).timestamp()
        return ObjectInfo(path=path, size=len(content), etag=_digest(content), modified=modified)

    def exists(self, path: str) -> bool:
        """See Store."""
        return self._root + path in self._fs.store

    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """See Store."""
        content = self._checked(path, etag)
        self.stats.add(bytes_read=len(content))
        return content

    def _checked(self, path: str, etag: str | None) -> bytes:
        with _MEMORY:
            content = self._content(path)
        if etag is not None and _digest(content) != etag:
            raise InputChanged(f"{self.locate(path)}: found etag {_digest(content)}, expected {shown(etag)}")
        return content

    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """See Store."""
        size = checked_range(self.locate(path), start, stop)
        part = self._checked(path, etag)[start:stop]
        if len(part) != size:
            raise ends_early(self.locate(path), start, stop, len(part))
        self.stats.add(bytes_read=size)
        return part

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """See Store."""
        content = self.read(path)
        return content, _digest(content)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See Store."""
        start = self._root + folder_prefix(prefix)
        for name in sorted(self._fs.store.copy()):
            if name.startswith(start):
                yield self.info(name.removeprefix(self._root))

    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """See Store."""
        prefix = folder_prefix(folder)
        folders: set[str] = set()
        for found in self.list(folder):
            name, _, deeper = found.path.removeprefix(prefix).partition("/")
            if not name.startswith(starting):
                continue
            if not deeper:
                yield found
            elif name not in folders:
                folders.add(name)
                yield prefix + name

    def create(self, path: str, data: bytes) -> bool:
        """See Store."""
        with _MEMORY:
            if self.exists(checked_path(path)):
                return False
            self._put(path, data)
            return True

    def replace(self, path: str, data: bytes, *, etag: str | None) -> str:
        """See Store."""
        with _MEMORY:
            current = _digest(self._content(path)) if self.exists(checked_path(path)) else None
            if current != etag:
                raise Conflict(f"{self.locate(path)}: found etag {current}, expected {shown(etag)}; read it and decide again")
            self._put(path, data)
        return _digest(data)

    def _put(self, path: str, data: bytes) -> None:
        # Into the dictionary itself: `pipe_file` refuses a path below another object's, which every object store allows.
        MemoryFile(self._fs, self._root + path, bytes(data)).commit()
        self.stats.add(requests=1, bytes_written=len(data))

    def _upload(self, path: str, *, conditional: bool) -> Upload:
        return _MemoryUpload(self, checked_path(path), conditional=conditional)

    def delete(self, paths: Iterable[str]) -> int:
        """See Store."""
        gone = 0
        for path in paths:
            with _MEMORY:
                self._fs.store.pop(self._root + path, None)
            gone += 1
        return gone

    def discard_unfinished(self, older_than_seconds: float) -> int:  # noqa: ARG002 - the contract's
        """Nothing: what was not finished never left its writer."""
        return 0

    def now(self) -> float:
        """See Store."""
        return time.time()


class _MemoryUpload:
    def __init__(self, store: MemoryStore, path: str, *, conditional: bool) -> None:
        self._store = store
        self._path = path
        self._conditional = conditional
        self._buffer = io.BytesIO()

    def write(self, data: memoryview) -> None:
        self._buffer.write(data)

    def finish(self) -> bool:
        if self._conditional:
            return self._store.create(self._path, self._buffer.getvalue())
        with _MEMORY:
            self._store._put(self._path, self._buffer.getvalue())  # noqa: SLF001
        return True

    def discard(self) -> None:
        self._buffer.close()


class ReadOnlyStore(UnwritableStore):
    """Whatever fsspec reads and we have no conditional writes for.

    Few of these servers take a condition for a read: an etag is compared once an object and process, before its first range. Every
    length is still checked.
    """

    kind: ClassVar[StoreKind] = "other"

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(without_secrets(uri), options)
        self._source = uri.rstrip("/")
        self._opened: tuple[Any, str] | None = None
        self._opening = threading.Lock()
        self._verified: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __reduce__(self) -> tuple[type[Store], tuple[str, dict[str, Any]]]:
        return type(self), (self._source, self.options)

    @property
    def _fs(self) -> Any:
        return self._open()[0]

    def _open(self) -> tuple[Any, str]:
        """The file system and what it calls our root."""
        with self._opening:
            if self._opened is None:
                try:
                    self._opened = fsspec.core.url_to_fs(self._source, **{"use_listings_cache": False, **self.options})
                except (ImportError, ValueError) as error:
                    raise ConfigError(f"{self.uri}: no reader for this kind of URI ({shown(error)}); check the part before ://") from error
            return self._opened

    def _full(self, path: str) -> str:
        return f"{self._open()[1].rstrip('/')}/{path}" if path else self._open()[1]

    def _relative(self, name: str) -> str:
        return str(name).removeprefix(self._open()[1].rstrip("/")).lstrip("/")

    def _object(self, details: Mapping[str, Any]) -> ObjectInfo:
        size = details.get("size")
        if size is None:
            raise InputError(f"{self.locate(self._relative(details['name']))}: the server does not tell its size; download it first")
        return ObjectInfo(self._relative(details["name"]), int(size), _etag_of(details, int(size)), _time_of(details))

    def info(self, path: str) -> ObjectInfo:
        """See Store."""
        details = self.backoff.run(self.locate(path), lambda: self._fs.info(self._full(path)))
        if details.get("type") == "directory":
            raise NotFound(f"{self.locate(path)}: expected a file, found a folder")
        return self._object({**details, "name": self._full(path)})

    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """See Store."""
        self._verify(path, etag)
        content: bytes = self.backoff.run(self.locate(path), lambda: self._fs.cat_file(self._full(path)))
        self.stats.add(bytes_read=len(content))
        return content

    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """See Store."""
        size = checked_range(self.locate(path), start, stop)
        self._verify(path, etag)
        if size == 0:
            return b""
        content: bytes = self.backoff.run(self.locate(path), lambda: self._fs.cat_file(self._full(path), start=start, end=stop))
        if len(content) != size:
            raise ends_early(self.locate(path), start, stop, len(content))
        self.stats.add(bytes_read=size)
        return content

    def _verify(self, path: str, etag: str | None) -> None:
        """Compare the etag, unless this process did so for this object already."""
        if etag is None or (path, etag) in self._verified:
            return
        current = self.info(path).etag
        if current != etag:
            raise InputChanged(f"{self.locate(path)}: found etag {shown(current)}, expected {shown(etag)}")
        self._verified[path, etag] = None
        if len(self._verified) > MAX_VERIFIED:
            self._verified.popitem(last=False)

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """See Store."""
        etag = self.info(path).etag
        return self.read(path), etag

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See Store."""
        folder = self._full(prefix.strip("/"))
        try:
            found: dict[str, dict[str, Any]] = self.backoff.run(self.locate(prefix), lambda: self._fs.find(folder, detail=True))
        except NotFound:
            return
        files = (self._object(details) for details in found.values() if details.get("type") != "directory")
        yield from sorted(files, key=lambda item: item.path)

    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """See Store."""
        try:
            entries = self.backoff.run(self.locate(folder), lambda: self._fs.ls(self._full(folder.strip("/")), detail=True))
        except NotFound:
            return
        for details in entries:
            path = self._relative(details["name"]).rstrip("/")
            if path.rpartition("/")[2].startswith(starting):
                yield path if details.get("type") == "directory" else self._object(details)


def without_secrets(uri: str) -> str:
    """The URI without user, password and query, any of which may hold a secret."""
    parts = urlsplit(uri)
    if "::" in uri or not parts.scheme or parts.scheme == "hf":
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _etag_of(details: Mapping[str, Any], size: int) -> str:
    """What the file system has that changes with the content, the strongest first; the size alone where it has nothing."""
    for field in ETAG_FIELDS:
        value = details.get(field)
        if value is not None:
            text = str(value).removeprefix("W/").strip('"')
            return f"{text}-{size:x}" if field in TIME_FIELDS else text
    return f"size-{size:x}"


def _time_of(details: Mapping[str, Any]) -> float:
    for field in TIME_FIELDS:
        value = details.get(field)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
