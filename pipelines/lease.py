"""One writer at a time on an output: a lease that saves double work. Safety never rests on it, but on conditional writes.

Time is the store's clock. A holder that died on this very machine is known as dead at once; one that is silent elsewhere, or stopped, is
taken over when its heartbeat is older than the lease.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import orjson

from pipelines.commit import ROOT, TornRecord, new_attempt, sealed, unsealed
from pipelines.errors import Conflict, LeaseHeld, LeaseLost, NotFound, ShardmillError
from pipelines.storage import Store

PATH: Final = f"{ROOT}/lease.json"
LEASE_SECONDS: Final = float(os.environ.get("SHARDMILL_LEASE_SECONDS", "30"))
"""A silent holder elsewhere is dead after this time; it says that it lives four times as often."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lease, in words that tell on the same machine whether it still lives."""

    holder: str
    epoch: int
    host: str
    machine: str
    pid: int
    started: str
    doing: str = ""

    @classmethod
    def this_process(cls, epoch: int) -> Self:
        """The current process as a new holder."""
        return cls(new_attempt(), epoch, socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()))

    @property
    def is_dead_here(self) -> bool:
        """True if the holder ran on this machine and its process is gone."""
        return self.machine == _machine() and _started(self.pid) != self.started


def _machine() -> str:
    """This boot of this machine, and this process namespace: process ids mean nothing outside."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks, so that a reused id is another process; empty if there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


class Lease:
    """The lease of an output, or of something else that is at `path`, held for the time of the block; a thread keeps it alive."""

    def __init__(self, store: Store, describe: Callable[[], str] = str, seconds: float = LEASE_SECONDS, path: str = PATH) -> None:
        self._store = store
        self._path = path
        self._describe = describe
        self._seconds = seconds
        self._etag: str | None = None
        self._stop = threading.Event()
        self._lost: str | None = None
        self._thread: threading.Thread | None = None
        self.holder = Holder.this_process(0)

    @property
    def epoch(self) -> int:
        """Grows by one with every holder; stands in every record."""
        return self.holder.epoch

    def __enter__(self) -> Self:
        found, etag = current(self._store, self._path)
        if found is not None:
            self._refuse_if_alive(found)
        epoch = 1 + (found.epoch if found is not None else _past_epoch(self._store, etag, self._path))
        self.holder = Holder.this_process(epoch)
        try:
            self._etag = self._store.replace(self._path, self._content(), etag=etag)
        except Conflict as error:
            raise LeaseHeld(f"{self._store.uri}: another run took the lease at the same moment; it is at work, wait for it") from error
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._lost is None:
            try:
                self._store.replace(self._path, sealed({"released": True, "epoch": self.epoch, "done": kind is None}), etag=self._etag)
            except ShardmillError:
                return  # taken over, or the store is away: the lease runs out by itself

    def check(self) -> None:
        """Say whether the lease is still ours.

        Raises:
            LeaseLost: Another run took over, because this one was silent for longer than the lease lasts.
        """
        if self._lost is not None:
            raise LeaseLost(self._lost)

    def confirm(self) -> None:
        """Renew now, before a step that others would see.

        Raises:
            LeaseLost: Another run took over.
        """
        self._renew()
        self.check()

    def _refuse_if_alive(self, found: Holder) -> None:
        if found.is_dead_here:
            return
        age = self._store.now() - self._store.info(self._path).modified
        if age < self._seconds:
            raise LeaseHeld(
                f"{self._store.uri}: another run is writing this output: process {found.pid} on {found.host}, heard of {max(age, 0):.0f} "
                "s ago"
                f"{': ' + found.doing if found.doing else ''}; wait for it, or stop it: it is taken over {self._seconds:.0f} s after its "
                "last sign"
            )

    def _content(self) -> bytes:
        return sealed({**asdict(self.holder), "doing": self._describe()})

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            self._renew()
            if self._lost is not None:
                return

    def _renew(self) -> None:
        with _RENEWING:
            if self._lost is not None:
                return
            try:
                self._replace()
            except ShardmillError:
                return  # the store does not answer: the next beat tries again; conditional commits keep us safe meanwhile

    def _replace(self) -> None:
        try:
            self._etag = self._store.replace(self._path, self._content(), etag=self._etag)
        except Conflict:
            self._note_loss()

    def _note_loss(self) -> None:
        found, etag = current(self._store, self._path)
        if found is not None and found.holder == self.holder.holder:
            self._etag = etag  # our own write, whose answer was lost
            return
        by = "nobody" if found is None else f"process {found.pid} on {found.host}"
        self._lost = (
            f"{self._store.uri}: the lease was taken over by {by} while this run was stopped or cut off; that run goes on, this one ends"
        )


_RENEWING = threading.Lock()


def current(store: Store, path: str = PATH) -> tuple[Holder | None, str | None]:
    """Who holds the lease (None: nobody), and the etag of what says so."""
    try:
        data, etag = store.read_versioned(path)
    except NotFound:
        return None, None
    try:
        body: dict[str, Any] = unsealed(data)
    except (TornRecord, orjson.JSONDecodeError):
        return None, etag
    return (None if body.get("released") else Holder(**body)), etag


def was_cut_short(store: Store) -> bool:
    """True unless the last holder came to its end: it died, failed, or still holds the lease."""
    try:
        body: dict[str, Any] = unsealed(store.read(PATH))
    except NotFound:
        return False
    except (TornRecord, orjson.JSONDecodeError):
        return True
    return not body.get("done", False)


def _past_epoch(store: Store, etag: str | None, path: str) -> int:
    if etag is None:
        return 0
    try:
        return int(unsealed(store.read(path)).get("epoch", 0))
    except (TornRecord, NotFound):
        return 0
