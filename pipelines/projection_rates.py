"""What work costs for a byte, from the units of a sample's run. Pure.

The first unit of a stage pays for what a worker loads once, so that the others tell what a byte costs, and it tells what a start costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.ledger import READER
from pipelines.projection_estimates import Floats
from pipelines.projection_measured import Measured, UnitWork
from pipelines.study import Estimate

UNIT_SECONDS: Final = 0.003
"""CPU of a unit of next to nothing: 1.5 ms (`bench_overhead.py`), and 0.24 ms for each file on a disk, of which it writes some."""
NOISE: Final = 0.3
"""Of a rate, at least: on one machine rates swing by a third with what else runs there (docs/measurements.md)."""
COPIED_BYTES: Final = 1.2e9
"""Copied and hashed in a CPU second: what it costs to write the dropped documents' columns, which the sample does and the run may not."""
SIDE_ROW_BYTES: Final = 130
"""Of a row of the table of dropped documents as units write it, without columns of the input (127 in the 2 GB corpus)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """CPU seconds as they were measured.

    Attributes:
        read: For a byte in Arrow that comes in.
        operators: For a byte of text that reaches each.
        engine: Of everything else in the units of a stage, from 1 on, for a byte in Arrow that comes into the stage.
        unit_seconds: The same for a unit, however small.
        start_seconds: What a worker loads once.
    """

    read: Estimate
    operators: dict[str, Estimate]
    engine: dict[int, Estimate]
    unit_seconds: dict[int, float]
    start_seconds: float


def measured_rates(measured: Measured, stages: Sequence[Sequence[str]], *, carries_dropped: bool) -> Rates:
    """What each part of the work costs.

    Args:
        measured: The sample.
        stages: Names of what the units of each stage apply: operators, and those whose keys or tallies they make.
        carries_dropped: Whether the real run's table of dropped documents has the input's columns, as the sample's does.
    """
    documents = measured.documents
    places = {name: position for position, name in enumerate(measured.names)}
    operators: dict[str, Estimate] = {}
    engine: dict[int, Estimate] = {}
    unit_seconds: dict[int, float] = {}
    spare, before = _spare(measured), 0
    for number, names in enumerate(stages, 1):
        units = _warm([unit for unit in measured.units if unit.stage == number])
        for name in names:
            reached = documents.text_bytes * documents.reach(places[name])
            operators[name] = _rate(units, reached, [unit.operators.get(name, 0.0) for unit in units])
        came = documents.arrow_bytes * documents.reach(before)
        own = [_engine_seconds(unit, spare, carries_dropped=carries_dropped) for unit in units]
        unit_seconds[number] = fixed_part(own, [float(came[unit.first : unit.stop].sum()) for unit in units])
        engine[number] = _rate(units, came, [max(0.0, seconds - unit_seconds[number]) for seconds in own])
        before += len(names)
    reading = _warm([unit for unit in measured.units if unit.stage == 1])
    read = _rate(reading, documents.arrow_bytes, [unit.operators.get(READER, 0.0) for unit in reading])
    return Rates(read, operators, engine, unit_seconds, _start_seconds(measured))


def fixed_part(seconds: Sequence[float], amounts: Sequence[float]) -> float:
    """What each unit takes however small it is: where the straight line through the units' times meets nothing.

    Units of a sample are a hundredth of real ones, so that this is most of what they take, and of real ones next to nothing. Where the
    units are all of one size no line can be drawn, and what an empty unit takes elsewhere counts.
    """
    if not seconds:
        return UNIT_SECONDS
    least, most = min(amounts), max(amounts)
    if len(seconds) < 3 or most <= 0 or least > 0.75 * most:
        return min(UNIT_SECONDS, *(one / 2 for one in seconds))
    slope, start = np.polyfit(amounts, seconds, 1).tolist()
    return float(min(max(start, 0.0), *seconds)) if slope > 0 else min(seconds)


def _warm(units: Sequence[UnitWork]) -> Sequence[UnitWork]:
    return units[1:] if len(units) > 1 else units


def _spare(measured: Measured) -> float:
    """Which part of the engine's own seconds was that of an observer."""
    own = sum(unit.seconds - sum(unit.operators.values()) for unit in measured.units)
    return min(0.95, measured.spare / own) if own > 0 else 0.0


def _engine_seconds(unit: UnitWork, spare: float, *, carries_dropped: bool) -> float:
    own = max(0.0, unit.seconds - sum(unit.operators.values())) * (1 - spare)
    carried = 0 if carries_dropped else unit.bytes.get("dropped", 0)
    return max(own / 4, own - carried / COPIED_BYTES)


def _rate(units: Sequence[UnitWork], amounts: Floats, seconds: Sequence[float]) -> Estimate:
    """Seconds for one of an amount, over some units; the bounds are those of its spread between them, at least the machine's own."""
    done = np.array(seconds, np.float64)
    some = np.array([amounts[unit.first : unit.stop].sum() for unit in units], np.float64)
    total = float(some.sum())
    if total <= 0:
        return Estimate(0.0, 0.0, 0.0)
    value = float(done.sum()) / total
    error = 0.0
    if len(units) > 1 and value > 0:
        error = 1.96 * float(np.sqrt(((done - value * some) ** 2).sum() * len(units) / (len(units) - 1))) / total / value
    half = min(1.0, max(NOISE, error))
    return Estimate(value, value / (1 + half), value * (1 + half))


def _start_seconds(measured: Measured) -> float:
    """CPU of what a worker loads once: what the first unit of each stage took beyond what its documents cost in the others."""
    total = 0.0
    for number in {unit.stage for unit in measured.units}:
        units = [unit for unit in measured.units if unit.stage == number]
        if len(units) < 2:
            continue
        first, rest = units[0], units[1:]
        rows = sum(unit.stop - unit.first for unit in rest)
        usual = sum(unit.seconds for unit in rest) * (first.stop - first.first) / rows if rows else 0.0
        total += max(0.0, first.seconds - usual)
    return total
