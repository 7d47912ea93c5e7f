"""Quantiles of the beta and of Student's t distribution, for intervals.

SciPy has them, takes half a second to import and is no dependency of ours. Tests compare with it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

NUM_BISECTIONS: Final = 60
MAX_TERMS: Final = 10_000
TINY: Final = 1e-300
PRECISION: Final = 1e-15


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22), evaluated as Lentz does."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    front = a * math.log(x) + b * math.log1p(-x) - (math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))
    return math.exp(front) * _fraction(x, a, b) / a


def _fraction(x: float, a: float, b: float) -> float:
    value, c, d = 1.0, 1.0, 0.0
    for m in range(MAX_TERMS):
        for term in _terms(x, a, b, m):
            d = 1.0 / _off_zero(1.0 + term * d)
            c = _off_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < PRECISION and m:
            break
    return 1.0 / value


def _terms(x: float, a: float, b: float, m: int) -> tuple[float, float]:
    odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    even = (m + 1) * (b - m - 1) * x / ((a + 2 * m + 1) * (a + 2 * m + 2))
    return odd, even


def _off_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


@lru_cache(maxsize=4096)
def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x below which a beta variable lies with a probability; 0.0 for a = 0 and 1.0 for b = 0, as Clopper and Pearson need it."""
    if a <= 0.0:
        return 0.0
    if b <= 0.0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(NUM_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_cdf(middle, a, b) < probability else (low, middle)
    return (low + high) / 2


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """The x below which Student's t lies with a probability of at least a half; an infinite df is the normal distribution."""
    if math.isinf(df) or df > 1e7:
        df = 1e7
    x = beta_quantile(2.0 * (1.0 - probability), df / 2.0, 0.5)
    return math.sqrt(df * (1.0 - x) / x) if x > 0 else math.inf
