"""Where the buckets of a signal's histogram lie: at round numbers, so that a person reads them, and where the documents are.

Shares and means get buckets of one width, what is counted gets buckets that grow by a factor. Pure and deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from operators.decision import Floats

MOST_BUCKETS: Final = 40
LINEAR_UNITS: Final = ("fraction", "ratio", "mean")
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Widths of buckets are these times a power of ten."""
TAIL: Final = 0.005
"""Share of the documents that may lie beyond the last edge, in the last bucket: one strange document must not press all others into one."""
WHOLE: Final = 1.0
LEAST_WIDTH: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Buckets:
    """Edges of buckets, ascending; the first and the last bucket hold what lies beyond, too."""

    edges: tuple[float, ...]
    is_log: bool

    def counts(self, values: Floats) -> tuple[int, ...]:
        """How many values lie in each bucket; one at an edge lies above it."""
        places = np.searchsorted(self.edges, values, side="right") - 1
        places = np.clip(places, 0, len(self.edges) - 2)
        return tuple(np.bincount(places, minlength=len(self.edges) - 1).tolist())


def buckets_of(values: Floats, unit: str, limits: Sequence[float]) -> Buckets:
    """Buckets for some values of a signal, none of them nan, that show its limits, too."""
    shown = [limit for limit in limits if math.isfinite(limit)]
    finite = values[np.isfinite(values)]
    if unit in LINEAR_UNITS:
        return Buckets(_linear(finite, unit, shown), is_log=False)
    return Buckets(_growing(finite, shown), is_log=True)


def _linear(values: Floats, unit: str, limits: list[float]) -> tuple[float, ...]:
    """Buckets of one width from a round number on; those of shares end at 1 at most, unless there are greater ones."""
    low = min([0.0, *limits]) if len(values) == 0 else min(_quantile(values, TAIL), *limits, math.inf)
    most = _most(values)
    high = max([0.0, *(1.25 * limit for limit in limits), most])
    if unit == "fraction" and max([most, *limits]) <= WHOLE:
        low, high = max(0.0, low), WHOLE if high > WHOLE / 2 else high
    low = 0.0 if 0 <= low <= high / 2 else low
    if high <= low:
        high = low + WHOLE
    width = _round_width(max(LEAST_WIDTH, (high - low) / MOST_BUCKETS))
    first = math.floor(low / width + 1e-9)
    last = max(first + 1, math.ceil(high / width - 1e-9))
    if last - first > MOST_BUCKETS:  # a low that was rounded down takes one more
        last = first + MOST_BUCKETS
    return tuple(round(place * width, 12) for place in range(first, last + 1))


def _most(values: Floats) -> float:
    """Where values of one width end: behind nearly all, but at twice of what most have, where few have a lot more."""
    if len(values) == 0:
        return 0.0
    tail, usual = _quantile(values, 1 - TAIL), _quantile(values, 1 - 10 * TAIL)
    return min(tail, 2 * usual) if usual > 0 else tail


def _growing(values: Floats, limits: list[float]) -> tuple[float, ...]:
    """Buckets that grow by a factor, between whole numbers; zeros lie in one of their own, from a half on."""
    positive = [value for value in limits if value > 0]
    low = max(1.0, min([_quantile(values, TAIL) if len(values) else 1.0, *positive]))
    high = max([low + 1, *(1.25 * limit for limit in positive), _quantile(values, 1 - TAIL) + 1 if len(values) else 2.0])
    has_less = bool(len(values)) and float(values.min()) < low
    steps = MOST_BUCKETS - 1 - has_less
    edges = sorted({float(math.floor(low * (high / low) ** (place / steps) + 1e-9)) for place in range(steps)} | {float(math.ceil(high))})
    return (edges[0] / 2, *edges) if has_less and edges[0] <= 1 else tuple(edges)


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share, method="higher" if share > 0.5 else "lower"))


def _round_width(least: float) -> float:
    """The least round number that is no less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))
