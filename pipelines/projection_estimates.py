"""Arithmetic of numbers that are known within bounds. Pure; how bounds come from a sample is in `intervals.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.study import Estimate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOTHING: Final = Estimate(0.0, 0.0, 0.0)


def exact(value: float) -> Estimate:
    """A number that is known."""
    return Estimate(float(value), float(value), float(value))


def times(one: Estimate, other: Estimate) -> Estimate:
    """Product of two that are not negative and have nothing to do with each other: their relative errors add as squares do."""
    value = one.value * other.value
    if value == 0:
        return Estimate(0.0, 0.0, one.high * other.high)
    low = 1 - math.hypot(1 - one.low / one.value, 1 - other.low / other.value)
    high = 1 + math.hypot(one.high / one.value - 1, other.high / other.value - 1)
    return Estimate(value, value * max(0.0, low), value * high)


def scaled(one: Estimate, factor: float) -> Estimate:
    """A multiple, by a number that is known and not negative."""
    return Estimate(one.value * factor, one.low * factor, one.high * factor)


def added(some: Iterable[Estimate]) -> Estimate:
    """The sum; its bounds are the sums of bounds, as if all erred together, which those of one sample do."""
    parts = list(some)
    return Estimate(sum(p.value for p in parts), sum(p.low for p in parts), sum(p.high for p in parts))


def mapped(one: Estimate, function: Callable[[float], float]) -> Estimate:
    """A function that never falls, of the number and of its bounds."""
    return Estimate(function(one.value), function(one.low), function(one.high))


def widened(one: Estimate, like: Estimate) -> Estimate:
    """The same number with bounds at least as far apart, relatively, as those of another."""
    if like.value <= 0:
        return one
    return Estimate(one.value, min(one.low, one.value * like.low / like.value), max(one.high, one.value * like.high / like.value))


def to_json(one: Estimate, digits: int | None = None) -> dict[str, Any]:
    """As it stands in JSON; without `digits` whole numbers, so that the bounds enclose what is between them."""
    if digits is None:
        return {"value": round(one.value), "low": math.floor(one.low + 1e-6), "high": math.ceil(one.high - 1e-6)}
    return {name: round(float(number), digits) for name, number in (("value", one.value), ("low", one.low), ("high", one.high))}
