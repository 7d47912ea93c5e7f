"""Histograms of signals and what thresholds do, from a small sample of a run's input sent through its operators again.

Owns the bounds of that sample. Only where operators of the pipeline declare tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from operators.base import Result
from operators.decision import Measures
from pipelines.identity import hexadecimal
from pipelines.replay import CannotReplay, Replay
from pipelines.sample import read_sample
from pipelines.sampling import Bounds, draw
from pipelines.shown_texts import InputTexts
from pipelines.storage import Sources
from pipelines.study import Histogram, Threshold
from pipelines.threshold_study import ThresholdStudy
from pipelines.unit import MADE_ID

DOCUMENTS: Final = 1000
BOUNDS: Final = Bounds(max_bytes=48 << 20, max_clusters=64, min_clusters=16, wide_bytes=0)
"""Bytes of the input, and row groups, that are read for it."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the sample told. `studied`: its documents; 0 if there was nothing to study."""

    histograms: tuple[Histogram, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    studied: int = 0


def declares_tests(replay: Replay) -> bool:
    """Whether an operator of the pipeline measures anything."""
    return any(operator.declared_tests() for operator in replay.batch_operators)


def study_signals(texts: InputTexts, sources: Sources, replay: Replay, seed: int, note: Callable[[str], None]) -> Signals:
    """Study the operators that declare tests, as far as documents can be sent through the pipeline again."""
    sample = read_sample(sources, texts.inventory, texts.options, draw(texts.inventory, DOCUMENTS, seed, BOUNDS))
    table = sample.documents.table
    if texts.has_made_ids:
        numbers = texts.places.number_of(sample.documents.file, sample.documents.row)
        table = table.append_column(pa.field(MADE_ID, pa.string()), hexadecimal(texts.places.keys_of(numbers)))
    last = max((at for at, operator in enumerate(replay.batch_operators) if operator.declared_tests()), default=-1)
    studies: list[ThresholdStudy] = []
    batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)
    try:
        for at, (operator, reached, result) in enumerate(replay.steps(batch)):
            measures = operator.open_measures(replay.assets) if operator.declared_tests() else None
            if measures is not None:
                studies.append(_study(operator.name or operator.type, measures, reached, result))
            if at == last:
                break
    except CannotReplay as error:
        note(f"signals are shown only of operators before {error}")
    return Signals(
        tuple(one for study in studies for one in study.histograms()),
        tuple(one for study in studies for one in study.thresholds()),
        batch.num_rows if studies else 0,
    )


def _study(name: str, measures: Measures, reached: pa.RecordBatch, result: Result) -> ThresholdStudy:
    found = ThresholdStudy(name, measures)
    reasons = [None] * reached.num_rows if result.reasons is None else result.reasons.to_pylist()
    found.add(measures.measure(reached), reasons)
    return found
