"""What a verification says: checks with their outcome, a bounded number of problems each.

Owns the words and the bounds. Knows nothing of what is checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

MAX_PROBLEMS: Final = 20
"""Problems of one check that are told in full: thousands of damaged shards have one cause."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold: the file or entry that it is about, and what was found and expected."""

    subject: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and whether it holds.

    Attributes:
        name: Of the promise; a promise that is broken in several places has a check for each.
        ok: False where it does not hold.
        message: What was proven, or what differs.
        subject: The file or entry that differs; empty where all is well.
        checked: False where it could not be looked at, which the message explains; `ok` is then True.
    """

    name: str
    ok: bool
    message: str
    subject: str = ""
    checked: bool = True

    def to_json(self) -> dict[str, Any]:
        """As `shardmill verify --json` prints it."""
        return {"name": self.name, "ok": self.ok, "checked": self.checked, "subject": self.subject, "message": self.message}


class Checks:
    """Collects checks, in the order in which they are made."""

    def __init__(self) -> None:
        self.made: list[Check] = []

    def judge(self, name: str, problems: Iterable[Problem], proven: str) -> bool:
        """Add a check: failed with each of the problems, or passed with what is proven then. Returns whether it passed."""
        found = list(islice(problems, MAX_PROBLEMS + 1))
        self.made += [Check(name, ok=False, message=problem.message, subject=problem.subject) for problem in found[:MAX_PROBLEMS]]
        if len(found) > MAX_PROBLEMS:
            self.made.append(Check(name, ok=False, message=f"there are more than these {MAX_PROBLEMS} problems; the others are not told"))
        if not found:
            self.made.append(Check(name, ok=True, message=proven))
        return not found

    def skip(self, name: str, why: str) -> None:
        """Add a check that cannot be made."""
        self.made.append(Check(name, ok=True, message=why, checked=False))
