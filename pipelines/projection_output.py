"""What a run will leave: documents, bytes, shards, tokens, and the rows of the side tables. Pure.

Every figure is a share that the sample tells, multiplied by what the inventory knows for certain. What a sample cannot tell of duplicates
comes in with the operators' keep rates, which are corrected for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from operators.base import GroupOperator
from operators.passages import PassageOperator
from pipelines.intervals import ratio
from pipelines.projection_census import Census
from pipelines.projection_estimates import NOTHING, Floats, added, exact, mapped, scaled, times, widened
from pipelines.projection_measured import Documents, Measured
from pipelines.study import Estimate, OperatorEstimate
from pipelines.token_formats import SUFFIXES

ROW_BYTES: Final = {"dropped": 11.0, "duplicates": 19.0, "quarantine": 60.0}
"""Compressed bytes of a row of a side table where the sample left none: those of the 2 GB corpus; of a quarantined row assumed."""
EMPTY_BYTES: Final = 900
"""Of a Parquet file without a row."""
INDEX_BYTES: Final = {"megatron": 20, "datatrove": 8}
"""Beside the tokens of a document, by format (`token_formats.py`)."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What comes to each operator, over the whole input, in their order; last what is left behind all of them.

    Attributes:
        documents: How many.
        text_bytes: Of their texts, as they came.
        arrow_bytes: Of all their columns, as they came.
    """

    documents: tuple[Estimate, ...]
    text_bytes: tuple[Estimate, ...]
    arrow_bytes: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """What will lie in the output; sizes in bytes. `token_files` and `tokens` are None where there are none."""

    rows: Estimate
    bytes: Estimate
    uncompressed_bytes: Estimate
    shards: Estimate
    tokens: Estimate | None
    token_files: Estimate | None
    token_bytes: Estimate | None
    dropped_rows: Estimate
    duplicate_rows: Estimate
    quarantined_rows: Estimate
    table_bytes: dict[str, Estimate] = field(default_factory=dict)


def corrections(operators: Sequence[OperatorEstimate]) -> list[float]:
    """By how much what passes all operators before each is less than the sample shows; last that behind all of them.

    An operator that removes duplicates finds few of them in a sample: its estimate says how many there are in the whole.
    """
    found = [1.0]
    for one in operators:
        shown = one.rows_out / one.rows_in if one.rows_in else 1.0
        found.append(found[-1] * (one.keep_rate.value / shown if one.is_corrected and shown > 0 else 1.0))
    return found


def total_bytes(census: Census, measured: Measured) -> Estimate:
    """Bytes of all documents in Arrow: what the inventory says, as far as what was read of it was right."""
    reading = measured.reading
    if reading is not None and reading.group_bytes and census.group_bytes:
        return exact(census.group_bytes * reading.arrow_bytes / reading.group_bytes)
    documents = measured.documents
    return scaled(ratio(documents.scheme, documents.arrow_bytes, np.ones(len(documents.arrow_bytes))), census.rows)


def flow_of(census: Census, measured: Measured, operators: Sequence[OperatorEstimate]) -> Flow:
    """What comes to each operator."""
    documents = measured.documents
    total = total_bytes(census, measured)
    ones = np.ones(len(documents.arrow_bytes))
    number: list[Estimate] = []
    texts: list[Estimate] = []
    sizes: list[Estimate] = []
    for position, factor in enumerate(corrections(operators)):
        reach = documents.reach(position) if position < len(operators) else documents.kept
        number.append(scaled(ratio(documents.scheme, reach, ones), census.rows * factor))
        texts.append(scaled(times(total, ratio(documents.scheme, documents.text_bytes * reach, documents.arrow_bytes)), factor))
        sizes.append(scaled(times(total, ratio(documents.scheme, documents.arrow_bytes * reach, documents.arrow_bytes)), factor))
    return Flow(tuple(number), tuple(texts), tuple(sizes))


def output_of(census: Census, measured: Measured, operators: Sequence[OperatorEstimate], kept: Estimate, flow: Flow) -> Output:
    """What the run leaves.

    Args:
        census: What is known of the run.
        measured: The sample.
        operators: What each operator is expected to keep.
        kept: Which share of all documents is left in the end.
        flow: What comes to each operator.
    """
    documents = measured.documents
    factor = corrections(operators)[-1]
    rows = scaled(kept, census.rows)
    unpacked = _of_kept(census, measured, documents.out_bytes, kept, factor)
    tokens = None if documents.tokens is None else _of_kept(census, measured, documents.tokens, kept, factor)
    partitions = max(1, measured.partitions)
    target = census.config.output.target_shard_bytes
    shards = mapped(unpacked, lambda size: max(1.0, math.ceil(size / target)) + partitions - 1)
    quarantined = scaled(_share(documents, (documents.gone_at < -1).astype(np.float64)), census.rows)
    gone = Estimate(*(max(0.0, census.rows - value - quarantined.value) for value in (rows.value, rows.high, rows.low)))
    duplicates = added(_removed(flow, census, operators)) if operators else NOTHING
    counts = {"dropped": gone, "duplicates": duplicates, "quarantine": quarantined}
    files, size = _token_files(census, measured, tokens, rows, shards)
    return Output(
        rows=rows,
        bytes=mapped(scaled(unpacked, measured.compressed), lambda size: size + EMPTY_BYTES),
        uncompressed_bytes=unpacked,
        shards=shards,
        tokens=tokens,
        token_files=files,
        token_bytes=size,
        dropped_rows=gone,
        duplicate_rows=duplicates,
        quarantined_rows=quarantined,
        table_bytes={name: _table_bytes(measured, name, number) for name, number in counts.items()},
    )


def _share(documents: Documents, mask: Floats) -> Estimate:
    return ratio(documents.scheme, mask, np.ones(len(mask)))


def _of_kept(census: Census, measured: Measured, values: Floats, kept: Estimate, factor: float) -> Estimate:
    """The sum of a value over all documents that are left; with bounds at least as wide as those of their number."""
    documents = measured.documents
    total = total_bytes(census, measured)
    found = scaled(times(total, ratio(documents.scheme, values, documents.arrow_bytes)), factor)
    if found.value > 0:
        return widened(found, kept)
    # Nothing of the sample was kept: what may be kept after all is as large as anything that came.
    most = float(values.max(initial=0.0)) or (total.value / census.rows if census.rows else 0.0)
    return Estimate(0.0, 0.0, kept.high * census.rows * most)


def _removed(flow: Flow, census: Census, operators: Sequence[OperatorEstimate]) -> list[Estimate]:
    """Documents that each operator removes for another one; cutting passages removes none in that way."""
    found = []
    for number, (one, operator) in enumerate(zip(operators, census.config.operators, strict=True)):
        if isinstance(operator, GroupOperator) and not isinstance(operator, PassageOperator):
            rate = one.keep_rate
            found.append(times(flow.documents[number], Estimate(1 - rate.value, max(0.0, 1 - rate.high), 1 - rate.low)))
    return found


def _table_bytes(measured: Measured, name: str, rows: Estimate) -> Estimate:
    each = measured.row_bytes[name]
    return mapped(scaled(rows, ROW_BYTES[name] if each is None else each), lambda size: size + EMPTY_BYTES)


def _token_files(
    census: Census, measured: Measured, tokens: Estimate | None, rows: Estimate, shards: Estimate
) -> tuple[Estimate | None, Estimate | None]:
    wanted = census.config.output.token_shards
    if wanted is None or tokens is None:
        return None, None
    files = scaled(shards, sum(len(SUFFIXES[form]) for form in wanted.formats))
    width = measured.token_bytes or 4
    return files, added(part for form in wanted.formats for part in (scaled(tokens, width), scaled(rows, INDEX_BYTES[form])))
