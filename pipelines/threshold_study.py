"""What an operator's thresholds do to some documents, from signals alone: what each would drop, what moving it changes, histograms.

Nothing is computed again: moving a threshold compares the same signals with another number. Owns the keeping of signals and the moving;
where buckets lie is in signal_buckets.py, what is tested is told by the operator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from operators.decision import Bools, Floats, Measured, Measures, Signal, Test, failing
from pipelines.signal_buckets import buckets_of
from pipelines.study import Histogram, Limit, Moved, Threshold

Scalar = TypeVar("Scalar", bound=np.generic)
Direction = Literal["looser", "tighter"]

MOST_DOCUMENTS: Final = 100_000
"""Documents whose signals are kept, some 20 MB; a sample has a fiftieth of that."""
STEP: Final = 0.1
"""By how much of its value a threshold is moved."""
DIGITS: Final = 12
"""Decimals of a moved threshold: 1.1 times 0.65 is 0.715, not 0.7150000000000001."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Documents in the order in which they came.

    Attributes:
        values: float64 (rows, signals).
        limits: float64 (rows, tests).
        failing: bool (rows, tests).
        dropped: bool, by row.
        otherwise: bool, by row: dropped for what is no declared test.
    """

    values: Floats
    limits: Floats
    failing: Bools
    dropped: Bools
    otherwise: Bools

    @classmethod
    def none(cls, measures: Measures) -> Self:
        """No document."""
        signals, tests = len(measures.signals), len(measures.tests)
        flat = np.zeros(0, np.bool_)
        return cls(np.zeros((0, signals)), np.zeros((0, tests)), np.zeros((0, tests), np.bool_), flat, flat)

    @classmethod
    def of(cls, measures: Measures, measured: Measured, reasons: Sequence[str | None]) -> Self:
        """The documents of a batch."""
        tested = {test.reason for test in measures.tests}
        dropped = np.array([reason is not None for reason in reasons], np.bool_)
        otherwise = np.array([reason is not None and reason not in tested for reason in reasons], np.bool_)
        return cls(measured.values, measured.limits, failing(measures, measured), dropped, otherwise)

    def first(self, rows: int) -> Observed:
        """So many of them."""
        if rows >= len(self.dropped):
            return self
        chosen = np.arange(rows)
        return Observed(self.values[chosen], self.limits[chosen], self.failing[chosen], self.dropped[chosen], self.otherwise[chosen])


class ThresholdStudy:
    """The signals of the documents that reached one operator, with what became of them; memory is bounded by `MOST_DOCUMENTS`.

    Attributes:
        left_out: Documents beyond that bound, of which nothing is kept.
    """

    def __init__(self, operator: str, measures: Measures) -> None:
        self.operator = operator
        self.measures = measures
        self.left_out = 0
        self._parts = [Observed.none(measures)]

    @property
    def rows(self) -> int:
        """Documents that are studied."""
        return sum(len(part.dropped) for part in self._parts)

    def add(self, measured: Measured, reasons: pa.Array | Sequence[str | None] | None) -> None:
        """Take a batch: what was measured of it, and for what the operator drops each document; without reasons it drops none."""
        told = [None] * len(measured.values) if reasons is None else reasons.to_pylist() if isinstance(reasons, pa.Array) else reasons
        room = MOST_DOCUMENTS - self.rows
        self.left_out += max(0, len(told) - room)
        self._parts.append(Observed.of(self.measures, measured, told).first(room))

    def thresholds(self) -> tuple[Threshold, ...]:
        """What each threshold does, in the order of the tests; nothing of one that no document has."""
        seen, found = self._seen(), []
        for place, test in enumerate(self.measures.tests):
            limit = limit_of(test, seen.limits[:, place])
            if limit is not None:
                now, looser, tighter = (self._moved(seen, place, limit, direction) for direction in (None, "looser", "tighter"))
                found.append(Threshold(self.operator, limit, str(test.signal), len(seen.dropped), now, looser, tighter))
        return tuple(found)

    def histograms(self) -> tuple[Histogram, ...]:
        """How each signal is distributed, with the limits on it."""
        seen = self._seen()
        drawn: dict[str, dict[tuple[str, str], Limit]] = {signal.name: {} for signal in self.measures.signals}
        for place, test in enumerate(self.measures.tests):
            limit = limit_of(test, seen.limits[:, place])
            if limit is not None:  # one setting's limit is one line, though it may be tested for two reasons
                drawn[str(test.signal)].setdefault((limit.setting, limit.side), limit)
        return tuple(
            self._histogram(signal, seen.values[:, column], seen.dropped, list(drawn[signal.name].values()))
            for column, signal in enumerate(self.measures.signals)
        )

    def _histogram(self, signal: Signal, values: Floats, dropped: Bools, limits: list[Limit]) -> Histogram:
        present = ~np.isnan(values)
        ends = [value for limit in limits for value in (limit.value, limit.low, limit.high) if value is not None]
        buckets = buckets_of(values[present], signal.unit, ends)
        return Histogram(
            operator=self.operator,
            signal=signal.name,
            unit=signal.unit,
            doc=signal.doc,
            edges=buckets.edges,
            counts=buckets.counts(values[present]),
            dropped=buckets.counts(values[present & dropped]),
            absent=int(np.count_nonzero(~present)),
            limits=tuple(limits),
            is_log=buckets.is_log,
        )

    def _moved(self, seen: Observed, place: int, limit: Limit, direction: Direction | None) -> Moved:
        """What a threshold does at another value; all tests of its setting move with it."""
        tests, found = self.measures.tests, seen.failing.copy()
        for other, test in enumerate(tests):
            if test.is_threshold and test.setting == tests[place].setting:
                values = seen.values[:, self.measures.place(test)]
                found[:, other] = test.fails(values, moved(test, seen.limits[:, other], direction))
        value = moved(tests[place], np.array([limit.value]), direction)
        dropped = found.any(axis=1) | seen.otherwise
        return Moved(float(value[0]), int(np.count_nonzero(found[:, place])), int(np.count_nonzero(dropped)))

    def _seen(self) -> Observed:
        """All that came, as one."""
        if len(self._parts) > 1:
            columns = zip(*((part.values, part.limits, part.failing, part.dropped, part.otherwise) for part in self._parts), strict=True)
            self._parts = [Observed(*(np.concatenate(column) for column in columns))]
        return self._parts[0]


def moved(test: Test, limits: Floats, direction: Direction | None) -> Floats:
    """Limits by a tenth looser or tighter, an integer by one at least, within what its setting may be; no direction: as they are."""
    if direction is None:
        return limits
    rises = (test.side == "above") == (direction == "looser")
    found = np.round(limits + (STEP if rises else -STEP) * np.abs(limits), DIGITS)
    if test.is_whole:
        found = np.rint(found)
        found = np.where(found == limits, limits + (1 if rises else -1), found)
    return np.minimum(found, np.maximum(test.high, limits)) if rises else np.maximum(found, np.minimum(test.low, limits))


def limit_of(test: Test, of_rows: npt.NDArray[np.float64]) -> Limit | None:
    """A threshold as it is told, from the limits of some documents where it depends on them; None if it is none, or none is known."""
    if not test.is_threshold:
        return None
    if test.value is not None:
        return Limit(test.setting, test.reason, test.side, float(test.value))
    known = of_rows[np.isfinite(of_rows)]
    if len(known) == 0:
        return None
    low, high = float(known.min()), float(known.max())
    median = float(np.quantile(known, 0.5, method="lower"))
    return Limit(test.setting, test.reason, test.side, median, *((low, high) if low < high else (None, None)))


def signals_by_row(measures: Measures, measured: Measured, operator: str, row: int) -> Mapping[str, float | None]:
    """One document's measurements, by `operator.signal`."""
    values = measured.values[row].tolist()
    return {
        f"{operator}.{signal.name}": None if math.isnan(value) else value for signal, value in zip(measures.signals, values, strict=True)
    }
