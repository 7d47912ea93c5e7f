"""From what became of a sample to what becomes of the input: the keep rate of each operator and of them all, with intervals.

Owns how the parts are put together. How documents were drawn, and what duplicates a sample hides, is told by others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from operators.base import Operator
from pipelines.dryrun_fates import Fates
from pipelines.intervals import Scheme, product, proportion
from pipelines.sample import Sample, scheme_of
from pipelines.study import Estimate, OperatorEstimate


@dataclass(frozen=True, slots=True)
class Corrected:
    """The keep rate of an operator that compares documents, over the whole input, and how it was told.

    Attributes:
        rate: Without width (`low` is `high`) where every document of the input was compared.
        is_estimate: False if every document of the input was compared.
    """

    rate: Estimate
    note: str
    is_estimate: bool = True


def operator_estimates(
    operators: Sequence[Operator], fates: Fates, scheme: Scheme, corrected: Mapping[str, Corrected], cpu_seconds: Mapping[str, float]
) -> tuple[OperatorEstimate, ...]:
    """What each operator is expected to do, in the pipeline's order."""
    made = []
    for position, operator in enumerate(operators):
        name = str(operator.name)
        came, passed = fates.came(position), fates.passed(position)
        told = corrected.get(name)
        made.append(
            OperatorEstimate(
                name=name,
                type=operator.type,
                rows_in=int(came.sum()),
                rows_out=int(passed.sum()),
                reasons=fates.reasons(position),
                keep_rate=proportion(scheme, came, passed) if told is None else told.rate,
                is_corrected=told is not None and told.is_estimate,
                note="" if told is None else told.note,
                cpu_seconds=cpu_seconds.get(name, 0.0),
                quarantined=fates.errors(position),
            )
        )
    return tuple(made)


def readable(sample: Sample) -> Estimate:
    """The part of all rows that can be read as documents; damage stands together, so where not all was read its error is of row groups."""
    rate = 1 - sum(sample.damaged.values()) / max(sample.rows_read, 1)
    if rate >= 1 or sample.rows_read >= sample.design.rows:
        return Estimate(rate, rate, rate)
    lost = [np.full(sum(one.drawn.values()), one.cluster, np.int32) for one in sample.damage]
    cluster = np.concatenate([sample.documents.cluster, *lost])
    is_there = np.arange(len(cluster)) < len(sample.documents)
    found = proportion(scheme_of(sample.design, cluster), np.ones(len(cluster), np.bool_), is_there)
    return Estimate(rate, min(found.low, rate), max(found.high, rate))


def kept_of_all(
    operators: Sequence[Operator], fates: Fates, scheme: Scheme, corrected: Mapping[str, Corrected], read: Estimate
) -> Estimate:
    """The part of all rows that goes through everything: that of the sample, corrected as the keep rates of single operators are.

    Args:
        operators: Of the pipeline.
        fates: Of the sample's documents.
        scheme: How they were drawn.
        corrected: What is known better of an operator than from the sample.
        read: The part of all rows that can be read as documents.
    """
    parts = [read, proportion(scheme, np.ones(len(fates.left), np.bool_), fates.stayed)]
    for position, operator in enumerate(operators):
        told = corrected.get(str(operator.name))
        seen = proportion(scheme, fates.came(position), fates.passed(position)).value
        if told is not None and seen > 0:
            parts.append(Estimate(told.rate.value / seen, told.rate.low / seen, told.rate.high / seen))
    found = product(parts)
    return Estimate(min(found.value, 1.0), min(found.low, 1.0), min(found.high, 1.0))
