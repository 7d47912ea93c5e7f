"""What a run tells while it copes: work that is tried again, and silence that lasts.

A run that retries for minutes must not look like one that hangs. A line a kind of trouble and minute, however many units meet it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cluster.retry import BUDGETS
from pipelines.errors import ShardmillError
from pipelines.legible import counted, seconds
from pipelines.redaction import redact_environment, redact_uri
from pipelines.runbook import STUCK, entry_for, pointer

AGAIN_SECONDS: Final = 60.0
MAX_CHARS: Final = 400
"""Of an error: what happened stands behind the path of an object, which is long."""
SILENCE_SECONDS: Final = 300.0
"""Units are cut to take seconds; a phase in which nothing was committed for so long is told, and again after twice the time."""


@dataclass(slots=True)
class _Told:
    since: float
    untold: int = 0


@dataclass(slots=True)
class Trouble:
    """Tells of failures that are tried again, and of silence.

    Attributes:
        note: Told each line.
    """

    note: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    _told: dict[str, _Told] = field(default_factory=dict)
    _heard: float | None = None
    _silence: float = SILENCE_SECONDS

    def retried(self, kind: str, failures: int, delay_seconds: float, error: ShardmillError) -> None:
        """A piece of work failed for the n-th time in its kind, and is tried again."""
        now = self.clock()
        entry = entry_for(error)
        told = self._told.get(entry or kind)
        if told is not None and now - told.since < AGAIN_SECONDS:
            told.untold += 1
            return
        others = f"; {counted(told.untold, 'other failure')} of this kind since the last line" if told is not None and told.untold else ""
        self._told[entry or kind] = _Told(now)
        when = f" in {seconds(delay_seconds)}" if delay_seconds >= 1 else ""
        what = _bounded(redact_environment(redact_uri(error.message)))
        where = f"; {pointer(entry)}" if entry is not None else ""
        self.note(f"tried again{when} ({failures} of {BUDGETS[kind] - 1}): {what}{others}{where}")

    def working(self) -> None:
        """Something was committed, or a phase begins."""
        self._heard, self._silence = self.clock(), SILENCE_SECONDS

    def waiting(self, num_tasks: int) -> None:
        """The driver waits for tasks: tell it, if nothing has come for long."""
        if self._heard is None:
            self.working()
            return
        silent = self.clock() - self._heard
        if silent >= self._silence:
            self._silence *= 2
            self.note(f"nothing was committed for {seconds(silent)}; {counted(num_tasks, 'task')} under way; {pointer(STUCK)}")


def _bounded(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
