"""From what became of a sample to what becomes of the input: the keep rate of each operator and of them all, with intervals.

Owns how the parts are put together. How documents were drawn, and what duplicates a sample hides, is told by others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from operators.base import GroupOperator, Operator
from pipelines.dryrun_fates import Fates, Mask
from pipelines.intervals import Scheme, product, proportion
from pipelines.study import Estimate, OperatorEstimate


@dataclass(frozen=True, slots=True)
class Corrected:
    """The keep rate of an operator that compares documents, over the whole input, and how it was told.

    Attributes:
        rate: Without an interval of its own (`low` is `high`) where all that is known is what the documents that were looked at show.
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


def kept_of_all(operators: Sequence[Operator], fates: Fates, scheme: Scheme, made: Sequence[OperatorEstimate], read: Estimate) -> Estimate:
    """The part of all rows that goes through everything.

    That of the operators that judge each document by itself is counted in the sample, among documents that are no duplicates in it; those
    of the others are multiplied with it, as if what the one does said nothing of what the other does.

    Args:
        operators: Of the pipeline.
        fates: Of the sample's documents.
        scheme: How they were drawn.
        made: What each operator does.
        read: The part of all rows that can be read as documents.
    """
    compares = np.array([isinstance(operator, GroupOperator) for operator in operators] + [False], np.bool_)
    went_as_duplicate: Mask = compares[fates.left]
    by_itself = proportion(scheme, ~went_as_duplicate, fates.stayed)
    others = [one.keep_rate for one, is_compared in zip(made, compares, strict=False) if is_compared]
    return product([read, by_itself, *others])
