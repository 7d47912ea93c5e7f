"""How far a run is: counted as records come, shown on a terminal, and said by the lease's heartbeat for `status`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from pipelines.commit import Record
from pipelines.work import Work

RATE_SECONDS: Final = 0.2
KINDS: Final = {
    "unit": "units",
    "partition": "exchange: partitions",
    "spread": "exchange: partitions of buckets",
    "buckets": "exchange: candidates",
    "verify": "exchange: comparisons",
    "meet": "exchange: verified pairs",
    "contract": "exchange: components",
    "links": "exchange: components",
    "star": "exchange: components",
    "label": "exchange: components",
    "decide": "exchange: decisions",
    "resolve": "exchange: decisions",
    "cut": "exchange: decisions",
    "slice": "exchange: decisions",
    "count": "exchange: decisions",
    "gather": "exchange: verdicts",
    "sample": "learning: the sample",
    "learn": "learning: one task learns from the sample",
    "retain": "history: kept keys",
    "shard": "packing: shards",
    "tokens": "packing: token shards",
    "table": "packing: side tables",
}


class Watch(Protocol):
    """Who wants to know how far a run is."""

    def phase(self, title: str, works: Sequence[Work], done: int) -> None:
        """A phase begins: its work, and how much of it was committed before."""

    def record(self, record: Record, work: Work) -> None:
        """A piece of work is committed."""

    def note(self, message: str) -> None:
        """Something that a person should read."""

    def waiting(self, why: str) -> None:
        """No task can run, and why; empty: that has passed."""

    def close(self) -> None:
        """The run is over."""


class Silent:
    """Counts for the heartbeat and shows nothing."""

    def __init__(self) -> None:
        self.title = "starting"
        self.done = 0
        self.total = 0
        self.why_waiting = ""

    def phase(self, title: str, works: Sequence[Work], done: int) -> None:
        """Begin to count."""
        self.title, self.total, self.done = title, len(works), done

    def record(self, record: Record, work: Work) -> None:  # noqa: ARG002  part of the contract
        """Count one."""
        self.done += 1

    def note(self, message: str) -> None:
        """Nobody reads it."""

    def waiting(self, why: str) -> None:
        """Remember it for the heartbeat, and say it."""
        self.why_waiting = why
        self.note(why or "the wait is over")

    def close(self) -> None:
        """Nothing is open."""

    def describe(self) -> str:
        """For the heartbeat: `stage 1 of 2, units: 3 of 64`, and what it waits for."""
        said = f"{self.title}: {self.done} of {self.total}" if self.total else self.title
        return f"{said}; {self.why_waiting}" if self.why_waiting else said


class Terminal(Silent):
    """A line a phase with rows/s, MB/s and the time left, on standard error."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, transient=False)
        self._task: TaskID | None = None
        self._begun = 0.0
        self._rows = 0
        self._bytes = 0
        self._progress.start()

    def phase(self, title: str, works: Sequence[Work], done: int) -> None:
        """A new line; the one before stays."""
        super().phase(title, works, done)
        self._begun, self._rows, self._bytes = time.monotonic(), 0, 0
        if self._task is not None:
            self._progress.stop_task(self._task)
        self._task = self._progress.add_task(title, total=len(works), completed=done, rate="")

    def record(self, record: Record, work: Work) -> None:
        """Move the line on."""
        super().record(record, work)
        self._rows += work.rows
        self._bytes += work.bytes
        if self._task is not None:
            self._progress.update(self._task, advance=1, rate=self._rate())

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._begun, RATE_SECONDS)
        size = f"{self._bytes / seconds / 1e6:,.1f} MB/s"
        return f"{self._rows / seconds:,.0f} rows/s, {size}" if self._rows else size

    def note(self, message: str) -> None:
        """Print a line above the progress."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the lines as they are."""
        self._progress.stop()


class Lines(Silent):
    """A line of text a phase, for logs and files."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def phase(self, title: str, works: Sequence[Work], done: int) -> None:
        """Say what begins."""
        super().phase(title, works, done)
        before = f", {done} done before" if done else ""
        self.note(f"{title}: {len(works)}{before}")

    def note(self, message: str) -> None:
        """Print a line: whole, so that a log can be searched."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)
