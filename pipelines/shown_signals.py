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
from pipelines.replay import CannotReplay, Replay
from pipelines.rows import one_batch
from pipelines.sample import read_sample
from pipelines.sampling import Bounds, draw
from pipelines.shown_texts import InputTexts
from pipelines.storage import Sources
from pipelines.study import Histogram, Threshold
from pipelines.threshold_study import ThresholdStudy

DOCUMENTS: Final = 1000
BOUNDS: Final = Bounds(max_bytes=48 << 20, max_clusters=64, min_clusters=16, wide_bytes=0)
"""Bytes of the input, and row groups, that are read for it."""
FEW_BYTES: Final = 8 << 20
"""Where all documents are fewer than the sample, and have no more bytes, they are the sample."""
THREADS: Final = 8


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
    batch = texts.few(DOCUMENTS, FEW_BYTES)
    if batch is None:
        batch = _drawn(texts, sources, seed)
    last = max((at for at, operator in enumerate(replay.batch_operators) if operator.declared_tests()), default=-1)
    studies: list[ThresholdStudy] = []
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


def _drawn(texts: InputTexts, sources: Sources, seed: int) -> pa.RecordBatch:
    """Documents from all over the input."""
    documents = read_sample(
        sources, texts.inventory, texts.options, draw(texts.inventory, DOCUMENTS, seed, BOUNDS), threads=THREADS
    ).documents
    batch = one_batch(documents.table)
    return texts.with_ids(batch, texts.keys(documents.file, documents.row))


def _study(name: str, measures: Measures, reached: pa.RecordBatch, result: Result) -> ThresholdStudy:
    found = ThresholdStudy(name, measures)
    reasons = [None] * reached.num_rows if result.reasons is None else result.reasons.to_pylist()
    found.add(measures.measure(reached), reasons)
    return found
