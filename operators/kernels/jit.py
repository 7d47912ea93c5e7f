"""How kernels are compiled: once a node, kept on disk, whatever the number of workers and wherever the checkout lies.

Owns the decorator `kernel` and its cache. A kernel's compiled code is filed under the content of its module and of every module here that
it leads to, so that changed code is never mistaken for old (numba itself looks at one file), and a copy of the same code elsewhere, such
as Ray's working directory of the next job, finds it again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite  # type: ignore[import-untyped]
import numba
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from operators.kernels.interrupts import interrupts_kept
from operators.kernels.unused import remove_unused
from operators.sources import SourceTree

F = TypeVar("F", bound=Callable[..., Any])

CACHE_VARIABLE = "SHARDMILL_CACHE_DIR"
# Seconds; the longest kernel takes about 30 s to compile where another job has the other core.
MAX_WAIT = 90.0
POLL = 0.02
OPERATORS = Path(__file__).resolve().parents[1]


@cache
def cache_folder() -> Path:
    """Folder on this node for what is made once and used by every worker: `$SHARDMILL_CACHE_DIR`, else the user's cache folder.

    Where that cannot be written, a folder of this user's own among the temporary files. What is read from here is executed, so a
    folder that another user made is refused.
    """
    named = os.environ.get(CACHE_VARIABLE)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
    choices = [Path(named)] if named else [Path(home) / "shardmill", Path(tempfile.gettempdir()) / f"shardmill-cache-{os.getuid()}"]
    for folder in choices:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK):
                return folder
    tried = " and ".join(str(folder) for folder in choices)
    raise OSError(
        f"no folder for compiled kernels: {tried} cannot be written or belongs to another user; set {CACHE_VARIABLE} to one of yours"
    )


@lru_cache(maxsize=256)
def source_digest(file: str) -> str:
    """Digest of a module and of every module of `operators` that it leads to, and of the compiler."""
    digest = sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version_info[:2]}".encode())
    for path in sorted(SourceTree(OPERATORS, "operators").closure(Path(file).resolve())):
        digest.update(f"\0{path.relative_to(OPERATORS)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]


class _ContentLocator:
    """Where numba keeps the code of a function: in a folder named by the content of its sources."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file
        self._line = function.__code__.co_firstlineno
        self._digest = source_digest(file)

    @classmethod
    def from_function(cls, function: Any, file: str) -> _ContentLocator:
        """The locator of a function in a file."""
        return cls(function, file)

    def get_cache_path(self) -> str:
        """Folder of the module's code."""
        return str(cache_folder() / "kernels" / f"{Path(self._py_file).stem}-{self._digest}")

    def ensure_cache_path(self) -> None:
        """Make the folder."""
        os.makedirs(self.get_cache_path(), exist_ok=True, mode=0o700)  # noqa: PTH103

    def get_source_stamp(self) -> str:
        """What the code was compiled from."""
        return self._digest

    def get_disambiguator(self) -> str:
        """Tells functions of one name apart."""
        return str(self._line)


class _ContentCacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_ContentLocator,)


class _OnceCache(FunctionCache):  # type: ignore[misc]
    """A cache in which one process compiles a function while the others that need it wait for the result, for at most `MAX_WAIT`.

    numba compiles when `load_overload` finds nothing and then calls `save_overload`: from the one to the other, or until compiling
    fails, this process holds the function's lock. Functions that a kernel calls are compiled in between; as calls form no circle,
    neither do the locks. The lock saves work and nothing hangs on it: numba puts a finished file in place in one step.
    """

    _impl_class = _ContentCacheImpl

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self._held: int | None = None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function from disk; None if this process is the one to compile it."""
        found = super().load_overload(sig, target_context)
        if found is not None or self._held is not None:
            return found
        self._impl.locator.ensure_cache_path()
        lock = os.open(os.path.join(self._cache_path, f"{self._impl.filename_base}.lock"), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
        self._held = lock
        _wait_for(lock)
        found = super().load_overload(sig, target_context)
        if found is not None:
            self.release()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what this process compiled, and let the others go on."""
        try:
            super().save_overload(sig, data)
        finally:
            self.release()
        remove_unused(cache_folder())

    def release(self) -> None:
        """Let the others go on, whether the code was kept or compiling failed."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _wait_for(lock: int) -> None:
    """Return when this process has the lock, or when waiting has taken so long that compiling here is the shorter way."""
    for _ in range(round(MAX_WAIT / POLL)):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(POLL)


def kept_on_disk(compiled: Any, function: Callable[..., Any]) -> Any:
    """The compiled function with its code kept on this node; a failure to compile it leaves no process waiting."""
    once = _OnceCache(function)
    compile_uncached = compiled.compile

    def compile_once(sig: Any) -> Any:
        try:
            with interrupts_kept():
                return compile_uncached(sig)
        finally:
            once.release()

    compiled._cache = once  # noqa: SLF001  numba has no public door for another cache
    compiled.compile = compile_once
    return compiled


def kernel(function: F) -> F:
    """Compile a function on its first call; the GIL is released, division by zero gives inf or nan, the code is kept on this node."""
    # Not said, `_nrt` would be that of the kernel that happens to call it first, and a lean one's is false.
    return cast("F", kept_on_disk(njit(nogil=True, error_model="numpy", _nrt=True)(function), function))
