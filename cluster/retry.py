"""When failed work is tried again: a budget for each kind of failure, and how long to wait.

Bounds as marin's zephyr has them, the best tested in the field: 3 tries where the same again would fail again, 20 where it may pass.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

BUDGETS = {"task": 3, "infrastructure": 20, "memory": 2, "systemic": 1, "worker": 4}
"""Tries of one piece of work before the kind of failure is final; `worker`: its process died, nobody knows why."""

BASE_SECONDS = 0.5
MAX_SECONDS = 60.0


@dataclass(slots=True)
class Attempts:
    """Failures of one piece of work, by kind."""

    failures: Counter[str] = field(default_factory=Counter)

    def failed(self, kind: str) -> bool:
        """Count a failure; True if the budget of its kind is used up."""
        self.failures[kind] += 1
        return self.failures[kind] >= BUDGETS[kind]

    def delay_seconds(self, kind: str, jitter: float) -> float:
        """How long to wait before the next try: exponential, with full jitter (`jitter` in [0, 1]) where many may have failed at once."""
        if kind != "infrastructure":
            return 0.0
        return jitter * min(MAX_SECONDS, BASE_SECONDS * 2.0 ** self.failures[kind])
