"""How an operator decides: the signals that it measures of a document, and the tests that it makes of them, as data.

Owns what is told of a decision, so that thresholds can be studied and a document's fate explained from its signals alone. What is tested
here is what the operator's kernel tests; a contract test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Side = Literal["below", "above"]
"""On which side of a limit documents are dropped."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One measurement of a document.

    Attributes:
        name: Field of the struct column.
        unit: `fraction`, `characters`, `words`, `lines`, `sentences`, `count` …
        doc: What is measured, exactly.
        source: The paper or code that it comes from.
    """

    name: str
    unit: str
    doc: str
    source: str

    @property
    def type(self) -> pa.DataType:
        """Fractions and means are float64, what is counted int64."""
        return pa.float64() if self.unit in ("fraction", "ratio", "mean") else pa.int64()


@dataclass(frozen=True, slots=True)
class Test:
    """One test of a document, in the order in which its operator makes them; the first that fails gives the reason.

    Attributes:
        reason: Under which the document is dropped.
        signal: Name of what is compared; None for a flag: something that is so or is not, such as a word on a list.
        setting: What the limit is called in the pipeline file (`dup_n_grams[5]`); empty if nothing sets it.
        side: Documents on this side of the limit fail.
        value: The limit; None if it depends on the document, or there is none.
        is_inclusive: A document at the limit fails, too.
        is_whole: The setting is an integer.
        is_fixed: The limit is not for the user to move: it is what the test means.
        spares_zero: A document whose signal is 0 passes.
        low: The setting's least value …
        high: … and its greatest.
    """

    __test__ = False  # pytest would take it for tests

    reason: str
    signal: str | None
    setting: str = ""
    side: Side = "above"
    value: float | None = None
    is_inclusive: bool = False
    is_whole: bool = False
    is_fixed: bool = False
    spares_zero: bool = False
    low: float = 0.0
    high: float = math.inf

    @property
    def is_threshold(self) -> bool:
        """Whether there is a limit that its user could move."""
        return self.signal is not None and not self.is_fixed

    def fails(self, values: Floats, limits: Floats) -> Bools:
        """Which of some documents fail, by their signal and their limits; one that lacks either passes."""
        if self.side == "above":
            found = values >= limits if self.is_inclusive else values > limits
        else:
            found = values <= limits if self.is_inclusive else values < limits
        return np.asarray(found & (values != 0) if self.spares_zero else found, np.bool_)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured of a batch.

    Attributes:
        values: (rows, signals), nan where there is none.
        limits: (rows, tests), nan where a test is not made of a document or has none.
        flags: By test of that kind, its place among the tests: the rows that fail it.
    """

    values: Floats
    limits: Floats
    flags: Mapping[int, Bools] = field(default_factory=dict)


MeasureFn = Callable[[pa.RecordBatch], Measured]


@dataclass(frozen=True, slots=True)
class Measures:
    """An operator's decision, opened.

    Attributes:
        signals: What is measured.
        tests: What is tested, in the operator's order; flags among them.
        measure: From a batch as it reaches the operator to its measurements. Pure; a row never depends on those beside it.
    """

    signals: tuple[Signal, ...]
    tests: tuple[Test, ...]
    measure: MeasureFn

    def place(self, test: Test) -> int:
        """Column of a test's signal.

        Raises:
            ValueError: The test has a signal that is not measured: the operator declares something else than it opens.
        """
        return [signal.name for signal in self.signals].index(str(test.signal))


def failing(measures: Measures, measured: Measured) -> Bools:
    """Which documents fail which tests, (rows, tests)."""
    found = np.zeros((len(measured.values), len(measures.tests)), np.bool_)
    for place, test in enumerate(measures.tests):
        if test.signal is None:
            found[:, place] = measured.flags[place]
        else:
            found[:, place] = test.fails(measured.values[:, measures.place(test)], measured.limits[:, place])
    return found


def verdicts(measures: Measures, measured: Measured) -> list[str | None]:
    """The reason of the first test that each document fails; None for one that passes them all."""
    found = failing(measures, measured)
    reasons = [*(test.reason for test in measures.tests), None]
    first = np.where(found.any(axis=1), found.argmax(axis=1) if measures.tests else 0, len(measures.tests))
    return [reasons[place] for place in first.tolist()]


def fixed_limits(tests: Sequence[Test], num_rows: int) -> Floats:
    """The limits of tests that are the same for all documents, (rows, tests); a view of one row."""
    row = np.array([math.nan if test.value is None else test.value for test in tests], np.float64)
    return np.broadcast_to(row, (num_rows, len(tests)))
