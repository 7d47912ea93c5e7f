"""The row accounting: what came in is what went out, was dropped or was quarantined, and each row once.

Owns the equation and its proof. Knows nothing of files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Self

from pipelines.errors import LedgerImbalance

READER = "read"
"""Name under which rows are counted that could not be read; no operator may have it."""


def most_allowed(fraction: float, total: int) -> int:
    """How many of `total` a fraction allows, as the decimal that was written: 0.29 of 100 are 29, though 0.29 * 100 is below 29."""
    return int(Fraction(repr(fraction)) * total)


@dataclass(slots=True)
class OperatorCount:
    """What one operator did to the rows that reached it.

    `edits` counts what an operator that cuts texts took out: `passages`, their `chars`, and the `documents` that it changed.
    """

    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)

    def add(self, other: OperatorCount) -> None:
        """Add another count of the same operator."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        self.seconds += other.seconds
        for mine, theirs in ((self.dropped, other.dropped), (self.quarantined, other.quarantined), (self.edits, other.edits)):
            if theirs:  # updating with nothing costs a microsecond, and 200,000 units mostly have nothing
                mine.update(theirs)

    def to_json(self) -> dict[str, Any]:
        """As it stands in a record: counters sorted by name."""
        data = {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "seconds": round(self.seconds, 6),
            "dropped": dict(sorted(self.dropped.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }
        return {**data, "edits": dict(sorted(self.edits.items()))} if self.edits else data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        count = cls(data["rows_in"], data["rows_out"], data["seconds"])
        for name in ("dropped", "quarantined", "edits"):
            if data.get(name):
                setattr(count, name, Counter(data[name]))
        return count


@dataclass(slots=True)
class Ledger:
    """The accounting of a unit, a stage or a run.

    Invariant when proven: `rows_in = rows_out + sum(dropped) + sum(quarantined)`, and each operator's likewise.
    """

    rows_in: int = 0
    rows_out: int = 0
    operators: dict[str, OperatorCount] = field(default_factory=dict)

    def operator(self, name: str) -> OperatorCount:
        """The count of an operator, made at its first use."""
        return self.operators.setdefault(name, OperatorCount())

    def add(self, other: Ledger) -> None:
        """Add the ledger of another unit of the same stage."""
        self.rows_in += other.rows_in
        self.rows_out += other.rows_out
        for name, count in other.operators.items():
            self.operator(name).add(count)

    @property
    def num_dropped(self) -> int:
        """Rows dropped by all operators."""
        return sum(sum(count.dropped.values()) for count in self.operators.values())

    @property
    def num_quarantined(self) -> int:
        """Rows quarantined by reading and by all operators."""
        return sum(sum(count.quarantined.values()) for count in self.operators.values())

    def dropped(self) -> dict[str, dict[str, int]]:
        """Rows dropped by operator and reason, operators in the pipeline's order, reasons sorted."""
        return {name: dict(sorted(count.dropped.items())) for name, count in self.operators.items() if count.dropped}

    def quarantined(self) -> dict[str, int]:
        """Rows quarantined by error, sorted."""
        total: Counter[str] = Counter()
        for count in self.operators.values():
            total.update(count.quarantined)
        return dict(sorted(total.items()))

    def prove(self, subject: str, *, rows_in: int, rows_out: int, num_dropped: int, num_quarantined: int) -> None:
        """Check the equation against what was counted elsewhere: the inventory and the rows in the parts as written.

        Raises:
            LedgerImbalance: With the subject, the operator where one is to blame, and the difference.
        """
        for name, count in self.operators.items():
            gone = sum(count.dropped.values()) + sum(count.quarantined.values())
            if count.rows_in != count.rows_out + gone:
                raise LedgerImbalance(
                    f"{subject}: operator {name!r}: {count.rows_in} rows in, but {count.rows_out} out and {gone} dropped or quarantined"
                )
        found = (self.rows_in, self.rows_out, self.num_dropped, self.num_quarantined)
        expected = (rows_in, rows_out, num_dropped, num_quarantined)
        names = ("rows_in", "rows_out", "dropped", "quarantined")
        for name, have, want in zip(names, found, expected, strict=True):
            if have != want:
                raise LedgerImbalance(f"{subject}: the ledger counts {have} rows as {name}, the files hold {want}")
        if self.rows_in != self.rows_out + self.num_dropped + self.num_quarantined:
            raise LedgerImbalance(
                f"{subject}: {self.rows_in} rows in, but {self.rows_out} out + {self.num_dropped} dropped + {self.num_quarantined} "
                "quarantined"
            )

    def to_json(self) -> dict[str, Any]:
        """As it stands in a record."""
        operators = {name: count.to_json() for name, count in self.operators.items()}
        return {"rows_in": self.rows_in, "rows_out": self.rows_out, "operators": operators}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`."""
        operators = {name: OperatorCount.from_json(count) for name, count in data["operators"].items()}
        return cls(data["rows_in"], data["rows_out"], operators)


def total(ledgers: Iterable[Ledger], names: Iterable[str]) -> Ledger:
    """Add the ledgers of one stage's units; operators in the order of `names`."""
    whole = Ledger(operators={name: OperatorCount() for name in names})
    for ledger in ledgers:
        whole.add(ledger)
    return whole


def chained(stages: Iterable[Ledger]) -> Ledger:
    """Join the ledgers of consecutive stages: the rows in of the first, the rows out of the last.

    Raises:
        LedgerImbalance: A stage did not get all rows that the one before it gave.
    """
    whole: Ledger | None = None
    for number, ledger in enumerate(stages):
        if whole is None:
            whole = Ledger(ledger.rows_in, ledger.rows_out, {})
        elif whole.rows_out != ledger.rows_in:
            raise LedgerImbalance(f"stage {number}: {ledger.rows_in} rows in, but the stage before gave {whole.rows_out}")
        whole.rows_out = ledger.rows_out
        for name, count in ledger.operators.items():
            whole.operator(name).add(count)
    if whole is None:
        raise LedgerImbalance("a run has no stage")
    return whole
