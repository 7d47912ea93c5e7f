"""What every store promises, and the parts of the promise that are the same for all of them.

Owns the words (object, etag, writer, creator), the counters and the start-up check. Knows no client: local files, memory, S3 and the
rest are modules of their own behind this contract, and one contract test runs over all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import pyarrow as pa

from pipelines.errors import Conflict, InputError, StorageError, UnsafeStore, shown
from pipelines.storage_retry import Backoff, StoreStats

StoreKind = Literal["local", "memory", "s3", "other"]
PROBE_PREFIX = "_shardmill/probe"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a store.

    Attributes:
        path: Relative to the store's root, with `/` between its parts.
        size: Bytes.
        etag: Changes when the object does; opaque, without quotes.
        modified: Seconds since the epoch, by the store's clock.
    """

    path: str
    size: int
    etag: str
    modified: float


class Upload(Protocol):
    """One object on its way into a store: nothing is visible before `finish`."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes; they may be changed by the caller afterwards."""

    def finish(self) -> bool:
        """Make the object visible, durably. False: the upload was conditional and an object was there."""

    def discard(self) -> None:
        """Forget everything; never raises for what was not there."""


class Writer:
    """A write-only binary file that becomes an object when its block ends. Usable as a pyarrow sink (`pa.PythonFile(writer, "w")`).

    `close` only ends the writing; the object appears at the end of the `with` block that gave the writer, so that an error after
    `close` and inside the block still discards it.
    """

    mode = "wb"

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._digest = hashlib.sha256()
        self._size = 0
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview | pa.Buffer) -> int:
        """Append bytes; returns how many."""
        if self.closed:
            raise ValueError("write to a closed writer")
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self._upload.write(view)
        self._size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of everything written so far."""
        return self._digest.hexdigest()

    def flush(self) -> None:
        """Nothing: the bytes become durable when the block ends."""

    def close(self) -> None:
        """End the writing; the object still appears only when the block ends."""
        self.closed = True

    def readable(self) -> bool:
        """Never."""
        return False

    def writable(self) -> bool:
        """Until it is closed."""
        return not self.closed

    def seekable(self) -> bool:
        """Never."""
        return False


class Creator(Writer):
    """A writer whose object appears only if there is none; `created` says so once the block is over."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload)
        self._created: bool | None = None

    @property
    def created(self) -> bool:
        """Whether the object is ours. False: one was there and what we wrote is discarded.

        Raises:
            RuntimeError: The block is not over.
        """
        if self._created is None:
            raise RuntimeError("created is known only after the creator's block ended without an error")
        return self._created


class Store(ABC):
    """A folder of objects, in any kind of storage, under one root.

    Safe to use from many threads. Picklable: the copy opens its own client when it is first used. Its `repr` shows no secrets.

    Attributes:
        uri: The root, without secrets.
        options: What was passed as storage_options.
        stats: Counters of this process.
        backoff: The one loop of retries around each request.
    """

    kind: ClassVar[StoreKind]

    def __init__(self, uri: str, options: Mapping[str, Any] | None = None) -> None:
        self.uri = uri
        self.options = dict(options or {})
        self.stats = StoreStats()
        self.backoff = Backoff(self.stats)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r})"

    def __reduce__(self) -> tuple[type[Store], tuple[str, dict[str, Any]]]:
        return type(self), (self.uri, self.options)

    def locate(self, path: str) -> str:
        """The object's absolute URI, as shown in messages and lineage."""
        return f"{self.uri.rstrip('/')}/{path}" if path else self.uri

    # Reading

    @abstractmethod
    def info(self, path: str) -> ObjectInfo:
        """What is at `path`.

        Raises:
            NotFound: Nothing is.
        """

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether an object is at `path`."""

    @abstractmethod
    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """The whole object.

        Raises:
            NotFound: There is none.
            InputChanged: `etag` is given and is not the object's.
        """

    @abstractmethod
    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """Exactly the bytes from `start` up to, not including, `stop`.

        Raises:
            NotFound: There is no object.
            InputChanged: `etag` is given and is not the object's.
            InputError: The object ends before `stop`.
        """

    @abstractmethod
    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """The content and its etag, of the same moment; the etag is what `replace` asks for.

        Raises:
            NotFound: There is no object.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object under the folder `prefix`, however deep, sorted by path, streamed. No such folder: nothing."""

    @abstractmethod
    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """What is directly in a folder: objects as ObjectInfo, folders as paths; unsorted. `starting`: names that begin so (a hint)."""

    # Writing

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Make the object unless there is one: of any number of callers exactly one gets True. Durable when it returns.

        Raises:
            CommitUnknown: No answer came, and looking did not tell whether it was made.
        """

    @abstractmethod
    def replace(self, path: str, data: bytes, *, etag: str | None) -> str:
        """Compare and swap: write if the object's etag is `etag` (None: if there is no object); returns the new etag.

        An etag is of the content, so a state must never come back: put a number or an id of the writer into it, else a swap that
        expected the first `A` succeeds after `A`, `B`, `A`.

        Raises:
            Conflict: The object is another one, or gone, or (`etag=None`) there.
            CommitUnknown: No answer came, and looking did not tell whether it was written.
        """

    @abstractmethod
    def _upload(self, path: str, *, conditional: bool) -> Upload:
        """Begin an object; `conditional`: it must not replace another one."""

    @contextlib.contextmanager
    def writer(self, path: str) -> Iterator[Writer]:
        """Stream an object. It appears whole at the end of the block, or, if that raises, not at all.

        Its content is durable then; its name is so before this store's next `create` or `creator` makes an object that may speak of it.
        """
        upload = self._upload(path, conditional=False)
        with _discarded_on_error(upload):
            yield (writer := Writer(upload))
            writer.close()
            upload.finish()

    @contextlib.contextmanager
    def creator(self, path: str) -> Iterator[Creator]:
        """Stream an object that appears only if there is none: see `Creator.created` after the block.

        Raises:
            CommitUnknown: No answer to the last request came, and looking did not tell whether the object is there.
        """
        upload = self._upload(path, conditional=True)
        with _discarded_on_error(upload):
            yield (creator := Creator(upload))
            creator.close()
            creator._created = upload.finish()  # noqa: SLF001 - the contract's own class

    @abstractmethod
    def delete(self, paths: Iterable[str]) -> int:
        """Delete objects; ones that are missing are fine. Returns how many paths are gone now."""

    @abstractmethod
    def discard_unfinished(self, older_than_seconds: float) -> int:
        """Remove what killed writers left behind (temporary files, multipart uploads) if older than that; returns how many."""

    @abstractmethod
    def now(self) -> float:
        """The store's clock, in seconds since the epoch, for ages and leases that several machines compare."""

    # Checking

    def check(self) -> None:
        """Prove, on a probe object, that this store reads what was written and refuses what it must refuse.

        Some stores accept the condition of a conditional write and overwrite all the same; nothing could be committed safely there.

        Raises:
            UnsafeStore: The store ignores or does not know conditional writes.
            AccessDenied: It may not be written or read.
        """
        probe = f"{PROBE_PREFIX}/{secrets.token_hex(8)}"
        try:
            self._check_creation(probe)
            self._check_swap(probe)
        finally:
            with contextlib.suppress(StorageError):  # the first error is the one to show
                self.delete([probe])

    def _check_creation(self, probe: str) -> None:
        if not self.create(probe, b"first"):
            raise UnsafeStore(f"{self.uri}: a conditional create of a new object was refused; use another output")
        again = self.create(probe, b"second")
        content = self.read(probe)
        if again or content != b"first":
            raise UnsafeStore(
                f"{self.uri}: this store overwrote an object that it was asked only to create (If-None-Match: *), so two workers could "
                "commit the same work. Use a store with conditional writes (AWS S3, Ceph 16 or later, MinIO, a local path) as output.uri"
            )
        if self.read_range(probe, 1, 3) != b"ir":
            raise UnsafeStore(f"{self.uri}: reading a range of an object gave other bytes than were written")

    def _check_swap(self, probe: str) -> None:
        _, first = self.read_versioned(probe)
        self.replace(probe, b"third", etag=first)
        try:
            self.replace(probe, b"fourth", etag=first)
        except Conflict:
            pass
        else:
            raise UnsafeStore(
                f"{self.uri}: this store replaced an object although its etag was no longer the one asked for (If-Match), so two runs "
                "could overwrite each other's manifest. Use a store with conditional writes as output.uri"
            )
        if self.read(probe) != b"third":
            raise UnsafeStore(f"{self.uri}: an object that was replaced does not read back as written")


@contextlib.contextmanager
def _discarded_on_error(upload: Upload) -> Iterator[None]:
    """Discard the upload if the block raises, whatever it raises."""
    try:
        yield
    except BaseException:
        upload.discard()
        raise


def checked_path(path: str) -> str:
    """The path, if it is one that every store keeps as it is.

    Raises:
        StorageError: It is absolute, empty, or has an empty, `.` or `..` part or a NUL.
    """
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise StorageError(f"object path {shown(path)!r}: expected a relative path of non-empty parts, none of them '.' or '..'")
    return path


def folder_prefix(folder: str) -> str:
    """What the paths of everything in a folder begin with: `''` for the root, else the folder with one `/` at its end."""
    stripped = folder.strip("/")
    return f"{checked_path(stripped)}/" if stripped else ""


def checked_range(uri: str, start: int, stop: int) -> int:
    """The number of bytes of a range.

    Raises:
        InputError: It is not a range.
    """
    if not 0 <= start <= stop:
        raise InputError(f"{uri}: cannot read bytes {start} to {stop}: expected 0 <= start <= stop")
    return stop - start


def ends_early(uri: str, start: int, stop: int, found: int) -> InputError:
    """The error for an object that has fewer bytes than it should."""
    return InputError(
        f"{uri}: found {found} bytes where {start} to {stop} were expected ({stop - start} bytes); the file is truncated or was exchanged"
    )
