"""What happens in a run, as metrics: counted as records come, told every few seconds by a thread of its own.

Counting costs the driver some microseconds a record, telling nothing. It never fails a run: the first error ends it, with a note.
"""

from __future__ import annotations

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from cluster.metrics import Metric, Metrics
from cluster.retry import BUDGETS
from pipelines import metrics as names
from pipelines.chain import bounded
from pipelines.commit import Record
from pipelines.drive import Tally
from pipelines.ledger import Ledger
from pipelines.work import Work

TELL_SECONDS: Final = 5.0
"""Half of the time after which Ray sends them on."""
MOST_WORDS: Final = 100
"""Reasons or errors of one operator that have a series of their own: a series costs memory for ever, in the agent and in Prometheus."""
WORD: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]{0,63}")
OTHER: Final = "other"
"""Stands for what is no word, as a reason or error of somebody's own operator may be, and for what comes after the first hundred."""

Key = tuple[Metric, tuple[str, ...]]
"""A series: its metric and the values of its own labels."""


class RunMetrics:
    """The metrics of one run by one driver, from `with` to its end."""

    def __init__(self, metrics: Metrics, pipeline: str, run_id: str, note: Callable[[str], None]) -> None:
        self._metrics = metrics
        self._run = (pipeline, run_id)
        self._note = note
        self._is_on = metrics.are_kept
        self._lock = threading.Lock()
        self._counts: defaultdict[Key, float] = defaultdict(float)
        self._gauges: dict[Key, float] = {}
        self._words: defaultdict[tuple[Metric, str], set[str]] = defaultdict(set)
        self._tally = Tally()
        self._tallied: dict[Key, int] = {}
        self._is_first = self._is_last = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_telling, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        if self._is_on:
            self._safely(self._begin)
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Tell the rest. The gauges say that nothing is left to do, also where the process goes on to other runs."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._is_on:
            self._gauges.update({key: 0.0 for key in self._gauges if key[0] is not names.LAST_PROGRESS})
            self._safely(self._tell)

    # --- what happens

    def follow(self, tally: Tally) -> None:
        """Tell what a driver tallies, from now on."""
        self._tally = tally

    def phase(self, stage: int, num_stages: int, works: Sequence[Work], done: int) -> None:
        """A phase begins: of a stage, counted from 1, or 0 after all stages; its work, and how much of it was committed before."""
        if self._is_on:
            self._safely(self._phase, stage, num_stages, works, done)

    def record(self, record: Record, work: Work) -> None:
        """A piece of work is committed."""
        if self._is_on:
            self._safely(self._record, record, work)

    # --- counting

    def _begin(self) -> None:
        """Make every series known whose labels are known, so that what happens first is seen as an increase."""
        for metric in names.METRICS:
            if metric.kind == "counter" and metric.labels == names.RUN_LABELS:
                self._counts[metric, ()] += 0
        for kind in BUDGETS:
            self._counts[names.RETRIES, (kind,)] += 0
        self._gauges |= {(names.RUNNING, ()): 1, (names.WORK_PLANNED, ()): 0, (names.WORK_LEFT, ()): 0}
        self._progressed()

    def _phase(self, stage: int, num_stages: int, works: Sequence[Work], done: int) -> None:
        kind = works[0].kind if works else "unit"
        with self._lock:
            self._is_first, self._is_last = stage == 1, stage == num_stages
            self._gauges.update({key: 0.0 for key in self._gauges if key[0] is names.PHASE})
            self._gauges[names.PHASE, (str(stage), kind)] = 1
            self._gauges[names.WORK_PLANNED, ()] = len(works)
            self._gauges[names.WORK_LEFT, ()] = len(works) - done
            self._progressed()

    def _progressed(self) -> None:
        self._gauges[names.LAST_PROGRESS, ()] = time.time()

    def _record(self, record: Record, work: Work) -> None:
        kind, usage = (work.kind,), record.usage
        with self._lock:
            counts = self._counts
            counts[names.WORK_DONE, kind] += 1
            counts[names.WORK_SECONDS, kind] += usage.get("seconds", 0)
            counts[names.STORAGE_REQUESTS, ()] += usage.get("requests", 0)
            counts[names.STORAGE_RETRIES, ()] += usage.get("retries", 0)
            self._gauges[names.WORK_LEFT, ()] -= 1
            self._progressed()
            if record.ledger is not None:
                self._unit(record.ledger, work)
            elif work.kind == "shard" and record.parts:
                counts[names.OUTPUT_SHARDS, ()] += 1
                counts[names.OUTPUT_BYTES, ()] += sum(part.bytes for part in record.parts.values())

    def _unit(self, ledger: Ledger, work: Work) -> None:
        counts = self._counts
        if self._is_first:
            counts[names.ROWS_IN, ()] += ledger.rows_in
            counts[names.INPUT_BYTES, ()] += work.bytes
        if self._is_last:
            counts[names.ROWS_OUT, ()] += ledger.rows_out
        for name, count in ledger.operators.items():
            operator = (name,)
            counts[names.OPERATOR_ROWS_IN, operator] += count.rows_in
            counts[names.OPERATOR_ROWS_OUT, operator] += count.rows_out
            counts[names.OPERATOR_SECONDS, operator] += count.seconds
            if count.dropped:
                self._by_word(names.ROWS_DROPPED, name, count.dropped.items())
            if count.quarantined:
                self._by_word(names.ROWS_QUARANTINED, name, count.quarantined.items())

    def _by_word(self, metric: Metric, operator: str, numbers: Iterable[tuple[str, int]]) -> None:
        known = self._words[metric, operator]
        for word, number in numbers:
            if word not in known and len(known) < MOST_WORDS and WORD.fullmatch(word) is not None:
                known.add(word)
            self._counts[metric, (operator, word if word in known else OTHER)] += number

    # --- telling

    def _keep_telling(self) -> None:
        while self._is_on and not self._over.wait(TELL_SECONDS):
            self._safely(self._tell)

    def _tell(self) -> None:
        with self._lock:
            self._count_tally()
            counts, self._counts = self._counts, defaultdict(float)
            gauges = dict(self._gauges)
        for key, value in counts.items():
            self._metrics.add(key[0], self._labels(key), value)
        for key, value in gauges.items():
            self._metrics.set(key[0], self._labels(key), value)

    def _count_tally(self) -> None:
        """What the driver has tallied since it was asked last; it goes on tallying meanwhile."""
        now: dict[Key, int] = {(names.RETRIES, (kind,)): number for kind, number in dict(self._tally.kinds).items()}
        now[names.TASKS_LOST, ()] = self._tally.losses
        now[names.TASKS_DOUBLED, ()] = self._tally.doubled
        for key, number in now.items():
            self._counts[key] += number - self._tallied.get(key, 0)
        self._tallied = now

    def _labels(self, key: Key) -> dict[str, str]:
        metric, values = key
        return dict(zip(metric.labels, (*self._run, *values), strict=True))

    def _safely(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001  whatever it is, the run matters more
            self._is_on = False
            self._note(f"metrics: {type(error).__name__}: {bounded(error)}; the run goes on without them")
