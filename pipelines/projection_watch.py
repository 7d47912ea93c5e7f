"""Keeps what a sample's run commits: the records that say what each piece of work took and wrote.

In this process only, through the door by which a run tells how far it is. Knows nothing of what is reckoned from the records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipelines.commit import Record
from pipelines.progress import Silent, Watch
from pipelines.work import Work

STAGE: Final = re.compile(r"stage (\d+) of \d+,")
"""How a phase of a stage's own is called (`run.py`)."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A piece of work that was done.

    Attributes:
        stage: From 1; 0: behind all stages.
        rows: Documents that came in, where it is a unit.
    """

    stage: int
    rows: int
    record: Record


class Recorded(Silent):
    """A watch that keeps all records of a run, in the order in which they came, and hands everything on to another one."""

    def __init__(self, told: Watch | None = None) -> None:
        """`told`: who else wants to know how far the run is."""
        super().__init__()
        self._told = told or Silent()
        self._stage = 0
        self.committed: list[Committed] = []

    def phase(self, title: str, works: Sequence[Work], done: int) -> None:
        """Take note of the stage; of one that begins anew, with its units split, the records before count no more."""
        super().phase(title, works, done)
        found = STAGE.match(title)
        self._stage = int(found[1]) if found else 0
        if self._stage == 1 and works and works[0].kind == "unit":
            self.committed.clear()
        self._told.phase(title, works, done)

    def record(self, record: Record, work: Work) -> None:
        """Keep a record."""
        super().record(record, work)
        self.committed.append(Committed(self._stage, work.rows, record))
        self._told.record(record, work)

    def note(self, message: str) -> None:
        """Hand it on."""
        self._told.note(message)

    def waiting(self, why: str) -> None:
        """Hand it on."""
        self.why_waiting = why
        self._told.waiting(why)

    def close(self) -> None:
        """Hand it on."""
        self._told.close()
