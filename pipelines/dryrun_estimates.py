"""From what became of a sample to what becomes of the input: the keep rate of each operator and of them all, with intervals.

Owns how the parts are put together. How documents were drawn, and what duplicates a sample hides, is told by others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.base import Operator
from pipelines.dryrun_fates import Fates
from pipelines.intervals import Scheme, product, proportion
from pipelines.sample import Sample, scheme_of
from pipelines.study import Estimate, OperatorEstimate

HARDLY_HIDDEN: Final = 0.98
"""Of the documents that come to an operator: if so many would come in the real run, nothing is said."""


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
    left = _left(operators, fates, scheme, corrected)
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
                keep_rate=_of_some(proportion(scheme, came, passed), left[position]) if told is None else told.rate,
                is_corrected=told is not None and told.is_estimate,
                note=_note(left[position], bool((came & ~passed).any())) if told is None else told.note,
                cpu_seconds=cpu_seconds.get(name, 0.0),
                quarantined=fates.errors(position),
            )
        )
    return tuple(made)


def _left(operators: Sequence[Operator], fates: Fates, scheme: Scheme, corrected: Mapping[str, Corrected]) -> list[float]:
    """Which part of the sample's documents that come to each operator would come in the real run: not the duplicates that it hides."""
    found, left = [], 1.0
    for position, operator in enumerate(operators):
        found.append(left)
        told = corrected.get(str(operator.name))
        seen = proportion(scheme, fates.came(position), fates.passed(position))
        if told is not None and seen.value > 0:
            left = min(left * told.rate.value / seen.high, 1.0)
    return found


def _of_some(rate: Estimate, left: float) -> Estimate:
    """A keep rate where a part of the documents does not come, whichever these are: between none and all of them are among the kept."""
    if left >= 1.0:
        return rate
    if left <= 0.0:
        return Estimate(rate.value, 0.0, 1.0)
    return Estimate(rate.value, max((rate.low - (1.0 - left)) / left, 0.0), min(rate.high / left, 1.0))


def _note(left: float, drops: bool) -> str:
    if left > HARDLY_HIDDEN or not drops:
        return ""
    return (
        f"of the documents that come to it here up to {1 - left:.0%} are duplicates that a sample hides and the real run removes before; "
        "the interval is for whatever these are like"
    )


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
    least, most = 1.0, 1.0  # no errors of chance, which may cancel out, but what is not known of hidden duplicates
    for position, (operator, left) in enumerate(zip(operators, _left(operators, fates, scheme, corrected), strict=True)):
        told = corrected.get(str(operator.name))
        seen = proportion(scheme, fates.came(position), fates.passed(position)).value
        if seen > 0 and told is not None:
            parts.append(Estimate(told.rate.value / seen, told.rate.low / seen, told.rate.high / seen))
        elif seen > 0:
            some = _of_some(Estimate(seen, seen, seen), left)
            least, most = least * some.low / seen, most * some.high / seen
    found = product(parts)
    return Estimate(min(found.value, 1.0), min(found.low * least, 1.0), min(found.high * most, 1.0))
