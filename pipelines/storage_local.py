"""Objects as files of a local or shared file system.

An object appears by a hard link or a rename of a temporary file that is already on disk, so it is there whole or not at all, whatever
is killed. Temporary files and locks live under `_shardmill/` of the root and are never listed.
"""

# Paths are strings here: they are keys first, a listing has millions of them, and errno decides what happens next.
# ruff: noqa: PTH100, PTH102, PTH105, PTH106, PTH108, PTH111, PTH116, PTH118, PTH120, PTH123

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Mapping as MappingType
from typing import Any, BinaryIO, ClassVar, TypeVar

from pipelines.errors import Conflict, InputChanged, NotFound, ShardmillError, StorageError, UnsafeStore, shown
from pipelines.storage_contract import ObjectInfo, Store, StoreKind, Upload, checked_path, checked_range, ends_early, folder_prefix
from pipelines.storage_retry import translated

T = TypeVar("T")
Entries = list[tuple[str, os.stat_result | None]]
TEMPORARY = "_shardmill/tmp"
LOCKS = "_shardmill/locks"
DIGEST_PREFIX = "sha256-"
BUFFER_BYTES = 1 << 20
MAX_FOLDER_RACES = 100
NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
RENAME_NOREPLACE = 1
AT_FDCWD = -100

# flock on NFS is a lock of the process, not of the open file: threads of one process need one of their own.
WRITE_BACK_BYTES = 8 << 20
SYNC_FILE_RANGE_WRITE = 2
_SYNC_FILE_RANGE = getattr(ctypes.CDLL(None), "sync_file_range", None)
_SWAPS = threading.Lock()


def local_path(uri: str) -> str:
    """The absolute path that a plain path or a `file://` URI means."""
    plain = uri.removeprefix("file://").removeprefix("local://")
    return os.path.abspath(os.path.expanduser(plain))


class LocalStore(Store):
    """Objects as files under a folder.

    An etag from `info` or `list` is the file's modification time and size, which costs nothing. One from `read_versioned` or `replace` is a
    SHA-256 of the content: two small states of a manifest can have equal times and sizes, and a compare-and-swap must not be fooled. Both
    are accepted wherever an etag is asked for.
    """

    kind: ClassVar[StoreKind] = "local"

    def __init__(self, uri: str, options: MappingType[str, Any] | None = None) -> None:
        super().__init__(local_path(uri), options)
        self._unsynced: set[str] = set()

    def _full(self, path: str) -> str:
        return os.path.join(self.uri, checked_path(path))

    # Reading

    def info(self, path: str) -> ObjectInfo:
        """See Store."""
        return self.backoff.run(self.locate(path), lambda: self._info(path))

    def _info(self, path: str) -> ObjectInfo:
        found = os.stat(self._full(path))
        if not stat.S_ISREG(found.st_mode):
            raise NotFound(f"{self.locate(path)}: expected a file, found a folder or a special file")
        return _object_info(path, found)

    def exists(self, path: str) -> bool:
        """See Store."""
        try:
            self.info(path)
        except NotFound:
            return False
        return True

    def read(self, path: str, *, etag: str | None = None) -> bytes:
        """See Store."""

        def whole() -> bytes:
            with _opened(self._full(path)) as file:
                content = file.read()
                self._require(path, etag, os.fstat(file.fileno()), content)
                return content

        return self._counted(self.backoff.run(self.locate(path), whole))

    def read_range(self, path: str, start: int, stop: int, *, etag: str | None = None) -> bytes:
        """See Store."""
        uri = self.locate(path)
        size = checked_range(uri, start, stop)

        def part() -> bytes:
            with _opened(self._full(path)) as file:
                content = _pread(file.fileno(), size, start)
                # The state after reading: whatever changed the file before is seen, and costs a second run at worst.
                self._require(path, etag, os.fstat(file.fileno()), None)
                if len(content) != size:
                    raise ends_early(uri, start, stop, len(content))
                return content

        return self._counted(self.backoff.run(uri, part))

    def read_versioned(self, path: str) -> tuple[bytes, str]:
        """See Store; the etag is a digest of the content."""
        content = self.read(path)
        return content, _digest_etag(content)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See Store. Links are followed, except back into a folder that is being listed."""
        folder = folder_prefix(prefix)
        self.stats.add(requests=1)
        with self._translating(prefix):
            yield from self._walk(folder, ())

    def _walk(self, folder: str, above: tuple[tuple[int, int], ...]) -> Iterator[ObjectInfo]:
        """Depth first; a folder sorts as its name with the `/` that its paths have, which gives the order of whole paths."""
        full = os.path.join(self.uri, folder)
        try:
            here = os.stat(full)
            entries = self._entries(full, folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            return
        for path, found in sorted(entries, key=lambda entry: entry[0]):
            if found is None:
                yield from self._walk(path, (*above, identity))
            else:
                yield _object_info(path, found)

    def _entries(self, full: str, folder: str) -> Entries:
        """The files of one folder with their state, and its folders (path ending in `/`, None)."""
        found: Entries = []
        with os.scandir(full) as entries:
            for entry in entries:
                path = folder + entry.name
                if path in (TEMPORARY, LOCKS):
                    continue
                try:
                    state = entry.stat()
                except FileNotFoundError as error:
                    if not entry.is_symlink():
                        continue  # deleted since the folder was read
                    raise NotFound(f"{self.locate(path)}: this link leads nowhere; remove it or restore what it names") from error
                if stat.S_ISDIR(state.st_mode):
                    found.append((path + "/", None))
                elif stat.S_ISREG(state.st_mode):
                    found.append((path, state))
        return found

    def children(self, folder: str, starting: str = "") -> Iterator[ObjectInfo | str]:
        """See Store."""
        prefix = folder_prefix(folder)
        with self._translating(folder):
            try:
                entries = self._entries(os.path.join(self.uri, prefix), prefix)
            except (FileNotFoundError, NotADirectoryError):
                return
        for path, found in entries:
            if path.startswith(prefix + starting):
                yield path.rstrip("/") if found is None else _object_info(path, found)

    # Writing

    def create(self, path: str, data: bytes) -> bool:
        """See Store: the temporary file is linked to its name, which fails where one is."""
        return self._put(path, data, conditional=True)

    def replace(self, path: str, data: bytes, *, etag: str | None) -> str:
        """See Store: under a lock that all writers of this path on all machines share."""
        if etag is None:
            if not self._put(path, data, conditional=True):
                raise Conflict(f"{self.locate(path)}: expected no object, found one; read it and decide again")
            return _digest_etag(data)
        with self._translating(path), self._locked(path):
            try:
                self.read(path, etag=etag)
            except (InputChanged, NotFound) as error:
                raise Conflict(f"{error.message}; it was changed by another writer: read it and decide again") from error
            self._put(path, data, conditional=False)
        return _digest_etag(data)

    def _put(self, path: str, data: bytes, *, conditional: bool) -> bool:
        upload = _LocalUpload(self, path, conditional=conditional, commits=True)
        try:
            upload.write(memoryview(data))
            return upload.finish()
        except BaseException:
            upload.discard()
            raise

    def _upload(self, path: str, *, conditional: bool) -> Upload:
        return _LocalUpload(self, path, conditional=conditional, commits=conditional)

    def delete(self, paths: Iterable[str]) -> int:
        """See Store. Folders that became empty go too, as they would be gone in an object store."""
        gone = 0
        for path in paths:
            with self._translating(path):
                self.stats.add(requests=1)
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    os.unlink(self._full(path))
                self._prune(path)
            gone += 1
        return gone

    def _prune(self, path: str) -> None:
        """Remove the folders above a deleted object that are empty; a writer that needs one makes it again."""
        folder = path.rpartition("/")[0]
        while folder:
            try:
                os.rmdir(os.path.join(self.uri, folder))
            except FileNotFoundError:
                pass
            except OSError:  # not empty: the usual end
                return
            folder = folder.rpartition("/")[0]

    def discard_unfinished(self, older_than_seconds: float) -> int:
        """See Store."""
        limit = self.now() - older_than_seconds
        removed = 0
        with self._translating(TEMPORARY), os.scandir(os.path.join(self.uri, TEMPORARY)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime < limit:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def now(self) -> float:
        """See Store: the time that the file system gives a new file, which on NFS is the server's."""
        with self._translating(TEMPORARY):
            path, file = self._temporary()
            try:
                file.write(b"\0")
                file.flush()
                return os.fstat(file.fileno()).st_mtime
            finally:
                file.close()
                os.unlink(path)

    # Parts

    def _temporary(self) -> tuple[str, BinaryIO]:
        """A new file in the folder of temporary ones, open for writing."""
        folder = os.path.join(self.uri, TEMPORARY)
        path = os.path.join(folder, f"{os.getpid()}-{secrets.token_hex(8)}")
        return path, self._in_folder(folder, lambda: open(path, "xb", buffering=BUFFER_BYTES))

    def _sync_names(self) -> None:
        """Make the names of everything written so far durable: once a folder, however many objects it got."""
        while self._unsynced:
            with contextlib.suppress(KeyError):
                _sync_folder(self._unsynced.pop())

    def _in_folder(self, folder: str, action: Callable[[], T]) -> T:
        """Do something in a folder, making it first if need be, and again if `delete` prunes it meanwhile."""
        for _ in range(MAX_FOLDER_RACES):
            try:
                return action()
            except FileNotFoundError:
                with contextlib.suppress(FileNotFoundError):  # a folder above went as we came: try again
                    _make_folder(folder)
        raise StorageError(f"{folder}: this folder, or our temporary file for it, keeps vanishing; another program is removing it")

    @contextlib.contextmanager
    def _locked(self, path: str) -> Iterator[None]:
        name = os.path.join(self.uri, LOCKS, hashlib.sha256(path.encode()).hexdigest()[:2])  # 256 locks at most
        descriptor = self._in_folder(os.path.dirname(name), lambda: os.open(name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666))
        try:
            with _SWAPS:
                _lock(descriptor, self.locate(path))
                yield
        finally:
            os.close(descriptor)  # releases the lock

    def _require(self, path: str, etag: str | None, found: os.stat_result, content: bytes | None) -> None:
        """Raise InputChanged unless the file is in the state that `etag` names."""
        if etag is None:
            return
        by_content = etag.startswith(DIGEST_PREFIX)
        current = _digest_etag(self.read(path) if content is None else content) if by_content else _stat_etag(found)
        if current != etag:
            raise InputChanged(f"{self.locate(path)}: found etag {shown(current)}, expected {shown(etag)}")

    def _counted(self, content: bytes) -> bytes:
        self.stats.add(bytes_read=len(content))
        return content

    @contextlib.contextmanager
    def _translating(self, path: str) -> Iterator[None]:
        """Errors of the operating system in our tree."""
        try:
            yield
        except ShardmillError:
            raise
        except OSError as error:
            raise translated(error, self.locate(path)) from error


class _LocalUpload:
    """A temporary file that becomes an object; `commits`: one that may speak of objects written before it."""

    def __init__(self, store: LocalStore, path: str, *, conditional: bool, commits: bool) -> None:
        self._store = store
        self._path = path
        self._final = store._full(path)  # noqa: SLF001
        self._conditional = conditional
        self._commits = commits
        self._written = self._started = 0
        with store._translating(path):  # noqa: SLF001
            self._temporary, self._file = store._temporary()  # noqa: SLF001

    def write(self, data: memoryview) -> None:
        with self._store._translating(self._path):  # noqa: SLF001
            self._file.write(data)
            self._written += data.nbytes
            if self._written - self._started >= WRITE_BACK_BYTES:
                self._file.flush()
                _begin_write_back(self._file.fileno(), self._started, self._written - self._started)
                self._started = self._written
        self._store.stats.add(bytes_written=data.nbytes)

    def finish(self) -> bool:
        folder = os.path.dirname(self._final)
        with self._store._translating(self._path):  # noqa: SLF001
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            if self._commits:
                self._store._sync_names()  # noqa: SLF001  what this object may speak of must be there before it is
            publish = _publish_new if self._conditional else _publish
            try:
                created = self._store._in_folder(folder, lambda: publish(self._temporary, self._final))  # noqa: SLF001
            except NotADirectoryError as error:
                raise StorageError(f"{self._final}: a part of this path is a file, not a folder; use another name") from error
            self._store.stats.add(requests=1)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
            if self._commits:
                _sync_folder(folder)
            else:
                self._store._unsynced.add(folder)  # noqa: SLF001
        return created

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # closing flushes, which fails again on a full disk
            self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)


def _begin_write_back(descriptor: int, start: int, length: int) -> None:
    """Ask the kernel to begin writing a range to the disk, so that the sync at the end has little left to wait for."""
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(descriptor, ctypes.c_int64(start), ctypes.c_int64(length), SYNC_FILE_RANGE_WRITE)


def _publish(temporary: str, final: str) -> bool:
    os.replace(temporary, final)
    return True


def _publish_new(temporary: str, final: str) -> bool:
    """Give the temporary file its name unless something has it."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        # NFS repeats a request whose answer was lost and is then told that the link exists: it is ours if the file has two names.
        return os.stat(temporary).st_nlink > 1
    except OSError as error:
        if error.errno in NO_HARD_LINKS:
            return _rename_new(temporary, final)
        raise
    return True


def _rename_new(temporary: str, final: str) -> bool:
    """What `_publish_new` does, where there are no hard links (FAT, some FUSE mounts): Linux's rename that refuses to replace."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        code = errno.ENOSYS
    elif rename(AT_FDCWD, os.fsencode(temporary), AT_FDCWD, os.fsencode(final), RENAME_NOREPLACE) == 0:
        return True
    else:
        code = ctypes.get_errno()
    match code:
        case errno.EEXIST:
            return False
        case errno.ENOSYS | errno.EINVAL | errno.EOPNOTSUPP:
            raise UnsafeStore(
                f"{final}: this file system has neither hard links nor a rename that refuses to replace, so nothing can be committed "
                "safely; use another file system or an object store as output.uri"
            )
        case _:
            raise OSError(code, os.strerror(code), final)


def _lock(descriptor: int, uri: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise UnsafeStore(f"{uri}: this file system has no file locks; mount it with them or use another output.uri") from error
        raise


def _make_folder(folder: str) -> None:
    """Make a folder and those above it, durably: each is synced into the one that holds it."""
    above = os.path.dirname(folder)
    try:
        os.mkdir(folder)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(above)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)
    _sync_folder(above)


def _sync_folder(folder: str) -> None:
    """Make the names in a folder durable. One that was pruned in the meantime has none to lose."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # FUSE and CIFS mounts that cannot sync a folder; they write names through
            raise
    finally:
        os.close(descriptor)


def _opened(full: str) -> BinaryIO:
    return open(full, "rb", buffering=0)


def _pread(descriptor: int, size: int, start: int) -> bytes:
    """As many of the bytes as there are: one call of the system reads 2 GiB at most."""
    first = os.pread(descriptor, size, start)
    if len(first) == size or not first:
        return first
    parts = [first]
    done = len(first)
    while done < size and (part := os.pread(descriptor, size - done, start + done)):
        parts.append(part)
        done += len(part)
    return b"".join(parts)


def _object_info(path: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(path=path, size=found.st_size, etag=_stat_etag(found), modified=found.st_mtime)


def _stat_etag(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


def _digest_etag(content: bytes) -> str:
    return DIGEST_PREFIX + hashlib.sha256(content).hexdigest()
