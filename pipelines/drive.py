"""The driver's loop: which work is missing, who does it, what came of it, and when to try again.

Bounded: a few tasks a slot are under way, jobs are made when they are sent, records are folded as they come. Data never crosses it.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cluster.retry import Attempts
from cluster.tasks import Done, Executor, Loss
from pipelines.commit import CommitLog, Record
from pipelines.errors import NodeLost, OutOfMemory, ShardmillError, UnitError, WorkerDied
from pipelines.lease import Lease
from pipelines.task_resources import Askings, Scarcity
from pipelines.trouble import Trouble
from pipelines.work import Work
from pipelines.worker import Failure, FailureKind, Place, Task, perform

TASKS_A_SLOT: Final = 2
"""Tasks under way for each slot: one runs, one waits, so that no slot is idle while the driver thinks."""
TASK_BYTES: Final = 32 << 20
"""Small pieces of work share a task up to this size: a task costs about 1 ms, whatever is in it."""
TASK_WORKS: Final = 64
FOLD_WORKS: Final = 64
"""After a phase of so many pieces of work the rest of their records is folded too; a few are read one by one."""
WAIT_SECONDS: Final = 0.5
MAX_FAILURES: Final = 10_000
"""Pieces of work whose failures are told one by one, for the report."""
SPECULATE_FACTOR: Final = 4.0
"""A task is run a second time when nothing else is left to send and it took this many times the usual: stragglers end most runs."""
SPECULATE_SECONDS: Final = 30.0


class TooLarge(WorkerDied):
    """A unit killed every worker that tried it; smaller pieces may pass. `unit` is its key, `stage` where it was."""

    unit: str = ""
    stage: str = ""


@dataclass(slots=True)
class Sent:
    """A task under way."""

    works: list[Work]
    since: float
    doubled: bool = False


@dataclass(slots=True)
class Tally:
    """What happened besides success; for status, progress and report. `failures`: how often some work failed, by its key."""

    retries: int = 0
    losses: int = 0
    doubled: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str, key: str = "") -> None:
        """Count a failure of a kind, of some work."""
        self.retries += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if key and (key in self.failures or len(self.failures) < MAX_FAILURES):
            self.failures[key] = self.failures.get(key, 0) + 1

    def failures_of(self, key: str) -> int:
        """How often some work failed."""
        return self.failures.get(key, 0)


class Driver:
    """Sees to it that work is committed."""

    def __init__(
        self,
        executor: Executor,
        lease: Lease,
        place: Place,
        on_record: Callable[[Record, Work], None],
        note: Callable[[str], None] = lambda _: None,
        askings: Askings | None = None,
        on_waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_waiting` is told why no task can run, and nothing (an empty text) when that has passed."""
        self.askings = askings or Askings()
        self.on_waiting = on_waiting
        self._executor = executor
        self._lease = lease
        self._place = place
        self._on_record = on_record
        self._token = 0
        self.tally = Tally()
        self.trouble = Trouble(note)

    def complete(self, log: CommitLog, works: Sequence[Work]) -> None:
        """Return when every piece of work is committed in the log; those that are already are not done again.

        Raises:
            TooLarge: A piece of work killed its workers until its budget was used up.
            ShardmillError: A piece of work failed for good, the same way in every budgeted try.
            LeaseLost: Another run took over.
        """
        missing = [work for work in works if work.key not in log]
        if missing:
            _Round(self, log, missing).run()
            if len(missing) >= FOLD_WORKS:
                log.fold()

    def next_token(self) -> int:
        """A number for a task."""
        self._token += 1
        return self._token

    @property
    def executor(self) -> Executor:
        """Where tasks run."""
        return self._executor

    def check(self) -> None:
        """Raise if this run is not the one that writes any more."""
        self._lease.check()

    def task(self, log: CommitLog, works: Sequence[Work], *, retried: bool) -> Task:
        """A task for some pieces of work of one log."""
        jobs = tuple((work.key, work.job()) for work in works)
        return Task(self._place, log.stage, log.epoch, jobs, retried)

    def note(self, log: CommitLog, record: Record, work: Work) -> None:
        """A piece of work is committed."""
        log.note(record)
        self.trouble.working()
        self._on_record(record, work)


class _Round:
    """One call of `complete`: a queue of work, tasks under way, failures counted."""

    def __init__(self, driver: Driver, log: CommitLog, works: Sequence[Work]) -> None:
        self._driver = driver
        self._log = log
        asked = driver.askings.of(log.stage, {work.kind for work in works})
        self._needs = asked.needs
        self._scarcity = Scarcity(asked, driver.askings.max_wait_seconds, driver.on_waiting)
        self._queue = deque(_batches(works, self._room()))
        self._sent: dict[int, Sent] = {}
        self._attempts: dict[str, Attempts] = {}
        self._later: list[tuple[float, Work]] = []
        self._left = {work.key: work for work in works}
        self._durations: list[float] = []
        self._jitter = random.Random(len(works))  # noqa: S311  spreads retries in time; in no result

    def run(self) -> None:
        self._driver.trouble.working()
        try:
            while self._left:
                self._driver.check()
                self._driver.trouble.waiting(len(self._sent))
                self._send()
                for done in self._driver.executor.wait(WAIT_SECONDS):
                    self._receive(done)
        except BaseException:
            self._driver.executor.cancel()
            raise
        if self._sent:  # second tries of what is done
            self._driver.executor.cancel()

    def _room(self) -> int:
        """Tasks that run at once on the nodes that are there now."""
        return self._driver.executor.room(self._needs)

    def _send(self) -> None:
        self._scarcity.look(self._driver.executor.lacking(self._needs))
        now = time.monotonic()
        ready = [work for due, work in self._later if due <= now]
        self._later = [(due, work) for due, work in self._later if due > now]
        self._queue.extend([work] for work in ready)
        limit = self._room() * TASKS_A_SLOT
        self._driver.executor.expect(len(self._sent) + len(self._queue), self._needs)
        while self._queue and len(self._sent) < limit:
            self._submit(self._queue.popleft(), now)
        if not self._queue and not self._later:
            self._speculate(now)
        if not self._sent and self._later:
            time.sleep(min(max(min(due for due, _ in self._later) - now, 0.0), 1.0))

    def _submit(self, works: list[Work], now: float, *, doubled: bool = False) -> None:
        token = self._driver.next_token()
        retried = doubled or any(work.key in self._attempts for work in works)
        self._sent[token] = Sent(works, now, doubled)
        self._driver.executor.submit(token, perform, self._driver.task(self._log, works, retried=retried), self._needs)

    def _speculate(self, now: float) -> None:
        """Run a straggler a second time: the commit lets exactly one of the two count."""
        free = self._room() - len(self._sent)
        if free <= 0 or not self._durations:
            return
        usual = sorted(self._durations)[len(self._durations) // 2]
        for sent in sorted(self._sent.values(), key=lambda sent: sent.since)[:free]:
            if not sent.doubled and now - sent.since > max(SPECULATE_SECONDS, SPECULATE_FACTOR * usual):
                sent.doubled = True
                self._driver.tally.doubled += 1
                self._submit([work for work in sent.works if work.key in self._left], now, doubled=True)

    def _receive(self, done: Done) -> None:
        sent = self._sent.pop(done.token, None)
        if sent is None:
            return
        if done.loss is not None:
            self._lost(sent, done)
            return
        self._durations.append(time.monotonic() - sent.since)
        answered = set()
        for answer in done.value:
            answered.add(answer.key)
            self._answer(answer)
        # What came after a systemic failure was not tried.
        self._queue.extend([work] for work in sent.works if work.key not in answered and work.key in self._left)

    def _answer(self, answer: Record | Failure) -> None:
        work = self._left.get(answer.key)
        if work is None:
            return
        if isinstance(answer, Record):
            del self._left[answer.key]
            self._driver.note(self._log, answer, work)
            return
        self._failed(work, str(answer.kind), answer.error)

    def _lost(self, sent: Sent, done: Done) -> None:
        """A task gave no answer: what it committed is asked of the store; the rest is tried again, each piece alone: a culprit shows."""
        self._driver.tally.losses += 1
        for work in sent.works:
            if work.key not in self._left:
                continue
            record = self._log.find(work.key)
            if record is not None:
                self._answer(record)
            elif len(sent.works) > 1 or done.loss is Loss.NODE:
                self._failed(work, FailureKind.INFRASTRUCTURE, _loss(work, done))
            else:
                kind = {Loss.MEMORY: "memory", Loss.WORKER: "worker"}.get(done.loss or Loss.ERROR, "task")
                self._failed(work, kind, _loss(work, done))

    def _failed(self, work: Work, kind: str, error: ShardmillError) -> None:
        attempts = self._attempts.setdefault(work.key, Attempts())
        self._driver.tally.count(kind, work.key)
        if attempts.failed(kind):
            if kind in ("memory", "worker"):
                raise _too_large(work, error, self._log.stage)
            raise error
        delay = attempts.delay_seconds(kind, self._jitter.random())
        self._driver.trouble.retried(kind, attempts.failures[kind], delay, error)
        self._later.append((time.monotonic() + delay, work))


LOSSES: Final = {Loss.MEMORY: OutOfMemory, Loss.WORKER: WorkerDied, Loss.NODE: NodeLost}


def _loss(work: Work, done: Done) -> UnitError:
    """What became of a piece of work whose task gave no answer."""
    return LOSSES.get(done.loss or Loss.ERROR, UnitError)(f"unit {work.key[:12]}: {done.message}")


def _too_large(work: Work, error: ShardmillError, stage: str) -> ShardmillError:
    if not work.unit:
        return error
    raised = TooLarge(error.message)
    raised.unit, raised.stage = work.unit, stage
    return raised


def _batches(works: Iterable[Work], slots: int) -> Iterator[list[Work]]:
    """Pieces of work grouped into tasks: small ones together, but never so many that a slot would have nothing to do."""
    listed = list(works)
    most = max(1, min(TASK_WORKS, len(listed) // (slots * 4)))
    held: list[Work] = []
    size = 0
    for work in listed:
        if held and (len(held) >= most or size + work.bytes > TASK_BYTES):
            yield held
            held, size = [], 0
        held.append(work)
        size += work.bytes
    if held:
        yield held
