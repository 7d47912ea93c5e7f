"""How many sets there are, told from the sizes that are left of them when each member is kept with a small probability.

A set of s members shows k of them with probability B(k; s, f). Many mixtures of sizes explain the same sizes seen: the likelihood tells
which do, and what lies between the least and the largest number of sets among these is the interval. Pure arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

ABUNDANT: Final = 10
"""Members seen from which on a set's size is told by these alone: its relative error is below a third (the cut of Chao and Lee 1992)."""
Z: Final = 1.96
DROP: Final = 1.92
"""Of the log-likelihood, half the 95 % quantile of chi-squared with one degree of freedom (Wilks 1938)."""
GRID_FACTOR: Final = 1.25
CLOSE: Final = 0.003
"""Of the log-likelihood: nearer to the maximum is not worth another step, beside a drop of two."""
MAX_STEPS: Final = 30
MAX_HALVINGS: Final = 30
NUM_BISECTIONS: Final = 14


@dataclass(frozen=True, slots=True)
class Fraction:
    """Sets for each member over all of a population: the value that fits best, and the bounds of those that fit."""

    value: float
    low: float
    high: float


def sets_per_member(sizes: Int64s, rate: float, inflation: float = 1.0) -> Fraction:
    """The number of sets in the population divided by that of its members.

    Rare sets: the nonparametric maximum likelihood of the mixture of sizes (Norris and Pollock, Environmental and Ecological Statistics 5,
    1998) under the constraint that sizes sum up to the members that there are, which the sampling rate tells; the interval is the profile
    likelihood's. Abundant ones count as they were seen.

    Args:
        sizes: Members seen of each set of which any was seen.
        rate: With which each member is seen, by itself.
        inflation: Of the variance against independent sets: the bounds are where the likelihood falls so many times further.
    """
    if rate >= 1.0 or not len(sizes):
        value = len(sizes) / max(int(sizes.sum()), 1) if len(sizes) else 1.0
        return Fraction(value, value, value)
    is_rare = sizes <= ABUNDANT
    members, rare = float(sizes.sum()), float(sizes[is_rare].sum())
    abundant = float((~is_rare).sum()) * rate / max(members - rare, 1.0)
    # How many members there are is told from those seen, which were kept or not by chance.
    counted = Z * abundant * math.sqrt(inflation * (1 - rate) / members)
    if not rare:
        return Fraction(abundant, max(abundant - counted, 0.0), min(abundant + counted, 1.0))
    counts = np.bincount(sizes[is_rare], minlength=ABUNDANT + 1)[1:].astype(np.float64)
    fit = _Fit(counts, rate, DROP * inflation)
    share = rare / members
    value = share * fit.value + (1 - share) * abundant
    # Which part of the members seen is of rare sets is known from members that were kept or not by chance.
    spread = Z * abs(fit.value - abundant) * math.sqrt(inflation * share * (1 - share) * (1 - rate) / members)
    below, above = (math.hypot(share * (bound - fit.value), spread, (1 - share) * counted) for bound in fit.bounds())
    return Fraction(value, max(value - below, 0.0), min(value + above, 1.0))


class _Fit:
    """The mixture of sizes of sets of which at most ABUNDANT members were seen.

    `weights` are parts of the `members` seen in such sets, by the size of the set. A set of size s shows `mean` of them on average, the
    cases in which it shows more than ABUNDANT left out. So there are members * w / mean sets of that size, which show k members in
    B(k; s, f) of the cases; the numbers seen are Poisson.
    """

    def __init__(self, counts: Floats, rate: float, drop: float) -> None:
        self._counts = counts
        self._drop = drop
        self._members = float((counts * np.arange(1, len(counts) + 1)).sum())
        self.sizes = _grid(rate)
        shown = _shown(rate)
        mean = np.arange(1, ABUNDANT + 1) @ shown[1:]
        self._expected = self._members * shown[1:] / mean  # k by s
        self._per_member = rate * shown.sum(axis=0) / mean
        self._cost = self._expected.sum(axis=0)
        only_single = not counts[1:].any()
        even = np.full(len(self.sizes), 1.0 / len(self.sizes))
        self._best = np.eye(len(self.sizes))[0] if only_single else self._climbed(even, 0.0)
        self._top = self._likelihood(self._best)
        self.value = 1.0 if only_single else float((self._best * self._per_member).sum())

    def bounds(self) -> tuple[float, float]:
        """The least and the largest sets per member that the counts allow."""
        return min(self._bound(-1.0), self.value), max(self._bound(1.0), self.value)

    def _bound(self, sign: float) -> float:
        """The strongest pull to one side that costs no more than `drop`, found by bisection over its logarithm."""
        low, high = 0.0, math.log(self._members * 1e4 + 10)
        weights, value = self._best, self.value
        for _ in range(NUM_BISECTIONS):
            pull = (low + high) / 2
            tried = self._climbed(0.5 * weights + 0.5 / len(weights), sign * math.exp(pull))
            if self._top - self._likelihood(tried) <= self._drop:
                low = pull
                value = float((tried * self._per_member).sum())
            else:
                high = pull
        return value

    def _likelihood(self, weights: Floats) -> float:
        expected = self._expected @ weights
        seen = self._counts > 0
        return float((self._counts[seen] * np.log(np.maximum(expected[seen], 1e-300))).sum() - expected.sum())

    def _climbed(self, weights: Floats, pull: float) -> Floats:
        """Weights that maximize the likelihood plus `pull` times the sets per member, from any that are all positive.

        A barrier keeps them positive, and is lowered until it is worth less than CLOSE (Boyd and Vandenberghe, Convex Optimization, 2004,
        11.3).
        """
        barrier = 1.0
        while True:
            for _ in range(MAX_STEPS):
                step, gain = self._newton(weights, pull, barrier)
                weights = self._along(weights, step, gain, pull, barrier)
                if gain < CLOSE:
                    break
            if barrier * len(weights) < CLOSE:
                return weights
            barrier /= 8

    def _value(self, weights: Floats, pull: float, barrier: float) -> float:
        return self._likelihood(weights) + pull * float(weights @ self._per_member) + barrier * float(np.log(weights).sum())

    def _newton(self, weights: Floats, pull: float, barrier: float) -> tuple[Floats, float]:
        """Newton's step along the simplex, relative to the weights, and what it would gain if the value were a parabola, twice."""
        expected = np.maximum(self._expected @ weights, 1e-300)
        slope = weights * ((self._counts / expected) @ self._expected - self._cost + pull * self._per_member) + barrier
        rows = self._expected * weights * (np.sqrt(self._counts) / expected)[:, None]
        curvature = rows.T @ rows
        curvature[np.diag_indices(len(weights))] += barrier
        solved = np.linalg.solve(curvature, np.stack([slope, weights], axis=1))
        step = solved[:, 0] - solved[:, 1] * float(weights @ solved[:, 0]) / float(weights @ solved[:, 1])
        return step, float(slope @ step)

    def _along(self, weights: Floats, step: Floats, gain: float, pull: float, barrier: float) -> Floats:
        """As far along a step as the value grows."""
        length = min(1.0, 0.95 / max(-float(step.min()), 1e-300))
        before = self._value(weights, pull, barrier)
        for _ in range(MAX_HALVINGS):
            tried = weights * (1.0 + length * step)
            tried /= tried.sum()
            if self._value(tried, pull, barrier) >= before + 0.1 * length * gain - 1e-9 * abs(before):
                return tried
            length /= 2
        return weights


@lru_cache(maxsize=8)
def _grid(rate: float) -> Floats:
    """Sizes of sets, every one at first and then by a factor, up to where hardly one would show so few members."""
    largest = 2.5 * ABUNDANT / rate
    sizes = [1]
    while sizes[-1] < largest:
        sizes.append(max(sizes[-1] + 1, int(sizes[-1] * GRID_FACTOR)))
    return np.array(sizes, np.float64)


@lru_cache(maxsize=8)
def _shown(rate: float) -> Floats:
    """Probability that a set of each size of the grid shows k members, k from 0 to ABUNDANT: a row for each k."""
    return np.array([[_binomial(k, int(size), rate) for size in _grid(rate)] for k in range(ABUNDANT + 1)])


def _binomial(k: int, n: int, p: float) -> float:
    if k > n:
        return 0.0
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
    return math.exp(log)
