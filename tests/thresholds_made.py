"""A study of an operator over batches, as the tests of thresholds need it."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from operators.base import Assets, BatchOperator
from pipelines.threshold_study import ThresholdStudy


def study_of(
    operator: BatchOperator, name: str, assets: Assets, batches: Iterable[tuple[pa.RecordBatch, pa.Array | None]]
) -> ThresholdStudy | None:
    """The study of an operator over batches as they reached it, each with the reasons that it gave; None if it measures nothing.

    Raises:
        OperatorError: As the operator's `open` does.
    """
    measures = operator.open_measures(assets)
    if measures is None:
        return None
    study = ThresholdStudy(name, measures)
    for batch, reasons in batches:
        study.add(measures.measure(batch), reasons)
    return study
