"""The signals of a sample: measured of each batch as it comes to an operator, kept by document, studied for thresholds.

Owns what happens where an operator cannot measure: the dry run goes on without its signals, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from operators.base import Assets, BatchOperator, Operator, Result, RowError
from operators.decision import Floats, Measures
from pipelines.chain import bounded
from pipelines.operator_warnings import heard
from pipelines.rows import Rows
from pipelines.study import Histogram, Threshold
from pipelines.threshold_study import ThresholdStudy


@dataclass(slots=True)
class _Measuring:
    """What measures one operator's signals, and those of each document; nan where there is none."""

    measures: Measures
    study: ThresholdStudy
    values: Floats


class Signals:
    """Measures what comes to the operators of a pipeline.

    Args:
        operators: In the pipeline's order.
        assets: As the operators are opened with.
        rows: Documents of the sample.
    """

    def __init__(self, operators: Sequence[Operator], assets: Assets, rows: int) -> None:
        self._failures: list[str] = []
        self._measuring: dict[str, _Measuring] = {}
        for operator in operators:
            if isinstance(operator, BatchOperator):
                self._open(operator, assets, rows)

    def _open(self, operator: BatchOperator, assets: Assets, rows: int) -> None:
        name = str(operator.name)
        try:
            with heard():  # it was told when the operator was opened
                measures = operator.open_measures(assets)
        except Exception as error:  # noqa: BLE001  an operator of the user's own, which the run does not need
            self._failed(name, error)
            return
        if measures is not None:
            values = np.full((rows, len(measures.signals)), np.nan)
            self._measuring[name] = _Measuring(measures, ThresholdStudy(name, measures), values)

    def add(self, name: str, rows: Rows, result: Result, errors: Mapping[int, RowError]) -> None:
        """Measure what came to an operator, which has answered for all of it but those with errors."""
        found = self._measuring.get(name)
        if found is None or not len(rows):
            return
        if errors:
            healthy = np.ones(len(rows), np.bool_)
            healthy[list(errors)] = False
            rows = rows.filter(healthy)
        try:
            measured = found.measures.measure(rows.batch)
            found.study.add(measured, result.reasons)
            found.values[rows.row] = measured.values
        except Exception as error:  # noqa: BLE001  as above
            del self._measuring[name]
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self._failures.append(f"the signals of {name} could not be measured: {type(error).__name__}: {bounded(error)}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be measured, and why."""
        some = (
            f"thresholds and histograms of {name} are of the first {found.study.rows:,} documents that reached it, not of the "
            f"{found.study.left_out:,} after them"
            for name, found in self._measuring.items()
            if found.study.left_out
        )
        return (*self._failures, *some)

    def thresholds(self) -> tuple[Threshold, ...]:
        """What each threshold does, in the pipeline's order."""
        return tuple(one for found in self._measuring.values() for one in found.study.thresholds())

    def histograms(self) -> tuple[Histogram, ...]:
        """How the signals are distributed."""
        return tuple(one for found in self._measuring.values() for one in found.study.histograms())

    def of(self, row: int, names: Sequence[str]) -> dict[str, float | None]:
        """The signals that a document has, of some operators, as `operator.signal`."""
        return {f"{name}.{signal}": value for name in names for signal, value in self.of_operator(row, name).items() if value is not None}

    def of_operator(self, row: int, name: str) -> dict[str, float | None]:
        """The signals of one operator, by their own names; none where it has none."""
        found = self._measuring.get(name)
        if found is None:
            return {}
        values = found.values[row].tolist()
        return {signal.name: None if math.isnan(value) else value for signal, value in zip(found.measures.signals, values, strict=True)}
