"""What the pieces of work of a run took: the largest ones, and the sums by kind, counted as their records come.

Costs the driver some microseconds a record. Memory holds the largest ones and the numbers of the phase that is under way.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.commit import Record
from pipelines.study import WorkCost
from pipelines.work import Work

MAX_WORKS: Final = 200
ENGINE: Final = "engine"
"""Under this name stands what no operator took: writing, hashing, exchanging, packing."""


@dataclass(slots=True)
class KindTotal:
    """All pieces of one kind."""

    pieces: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    retries: int = 0


@dataclass(slots=True)
class WorkTally:
    """The work of one run.

    Attributes:
        failures: How often a piece of work failed so far, by its key, as the driver of this start of the run counts.
        earlier: Pieces of work that an earlier start of the run committed, or another run of the output.
    """

    failures: Callable[[str], int] = lambda _: 0
    totals: dict[str, KindTotal] = field(default_factory=dict)
    earlier: int = 0
    _largest: list[tuple[float, int, WorkCost]] = field(default_factory=list)
    _stage: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _seen: int = 0

    def start_again(self) -> None:
        """Forget everything: the run is planned anew, and what is committed comes again."""
        self.totals, self.earlier, self._largest, self._seen = {}, 0, [], 0

    def phase(self, stage: int, works: Sequence[Work]) -> None:
        """A phase begins: of a stage, counted from 1, or 0 after all stages, with its work in order."""
        self._stage = stage
        self._numbers = {work.key: number for number, work in enumerate(works)}

    def committed_before(self, body: Mapping[str, Any]) -> None:
        """Count a piece of work of the phase whose record was there when it began."""
        self.earlier += 1
        operators = {} if body["ledger"] is None else body["ledger"]["operators"]
        rows = 0 if body["ledger"] is None else body["ledger"]["rows_in"]
        self._count(body["key"], body["kind"], body["usage"], rows, {name: count["seconds"] for name, count in operators.items()})

    def record(self, record: Record, work: Work) -> None:
        """Count a piece of work that is committed now."""
        ledger = record.ledger
        seconds = {} if ledger is None else {name: count.seconds for name, count in ledger.operators.items()}
        self._count(record.key, work.kind, record.usage, 0 if ledger is None else ledger.rows_in, seconds)

    def _count(self, key: str, kind: str, usage: Mapping[str, Any], rows: int, by_operator: Mapping[str, float]) -> None:
        seconds, peak = float(usage.get("seconds", 0.0)), usage.get("peak_rss_bytes")
        failures = self.failures(key)
        total = self.totals.setdefault(kind, KindTotal())
        total.pieces += 1
        total.seconds += seconds
        total.peak_bytes = max(total.peak_bytes, peak or 0)
        total.retries += failures
        self._seen += 1
        if len(self._largest) < MAX_WORKS or seconds > self._largest[0][0]:
            parts = {name: round(value, 6) for name, value in by_operator.items() if value}
            parts[ENGINE] = round(max(0.0, seconds - sum(parts.values())), 6)
            cost = WorkCost(self._stage, kind, self._numbers.get(key, 0), rows, parts, peak, 1 + failures)
            push = heapq.heappush if len(self._largest) < MAX_WORKS else heapq.heappushpop
            push(self._largest, (seconds, -self._seen, cost))

    # --- told

    def works(self) -> tuple[WorkCost, ...]:
        """The pieces that took longest, those first."""
        return tuple(cost for *_, cost in sorted(self._largest, key=lambda entry: (-entry[0], -entry[1])))

    def work_totals(self) -> tuple[tuple[str, int, float, int | None, int], ...]:
        """Kind, pieces, CPU seconds, largest peak and attempts beyond the first, in the order in which the kinds came."""
        return tuple(
            (kind, total.pieces, round(total.seconds, 6), total.peak_bytes or None, total.retries) for kind, total in self.totals.items()
        )
