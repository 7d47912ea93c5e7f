"""What a sample of row groups says of the whole input, with the bounds between which it lies with a probability of 95 %.

Pure arithmetic over arrays. Documents of one row group resemble each other, so that 2,000 of them from 100 row groups tell less than 2,000
drawn one by one: variances are taken between the units that were drawn independently (row groups, or documents where all row groups of a
stratum were read), never between documents as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from pipelines.quantiles import beta_quantile, t_quantile
from pipelines.study import Estimate

Int64s = npt.NDArray[np.int64]
Int32s = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TAIL: Final = 0.025
"""Probability on each side of an interval."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How some documents were drawn.

    Attributes:
        stratum: Of each document.
        unit: Of each document: what was drawn independently; documents of one unit have the same number.
        weight: Rows of the input that each document stands for.
        picks: Of each stratum: units that were drawn in it, those included of which no document is here.
        rate: Of each stratum: the fraction of its units that were drawn; 0 where that is no matter.
    """

    stratum: Int32s
    unit: Int64s
    weight: Floats
    picks: Int64s
    rate: Floats

    def of(self, mask: Mask) -> Scheme:
        """For some of the documents."""
        return replace(self, stratum=self.stratum[mask], unit=self.unit[mask], weight=self.weight[mask])


def proportion(scheme: Scheme, reached: Mask, kept: Mask) -> Estimate:
    """The fraction of the documents that reach an operator which it keeps.

    Korn and Graubard's interval (Survey Methodology 24, 1998, 193-201): Clopper and Pearson's, which covers near 0 and 1 too, for as many
    documents as would tell as much were they drawn one by one (p (1 - p) / v), less for the few degrees of freedom of v. No more than were
    drawn (Parker et al., NCHS Vital and Health Statistics 2-175, 2017), a finite population apart. Where all or none are kept, v is 0 and
    says nothing: as many as were drawn. Nothing is known where none reach it: 0 to 1.
    """
    num_reached = int(reached.sum())
    if not num_reached:
        return Estimate(1.0, 0.0, 1.0)
    x = reached.astype(np.float64)
    y = (reached & kept).astype(np.float64)
    p, variance, df = _ratio(scheme, y, x)
    sampled = _sampled(scheme, x)
    if sampled >= 1.0:
        return Estimate(p, p, p)
    most = num_reached / (1.0 - sampled)
    effective = most
    if 0.0 < p < 1.0 and variance > 0:
        effective = p * (1.0 - p) / variance
        if num_reached > 1 and df >= 1:
            effective *= (t_quantile(1 - TAIL, num_reached - 1) / t_quantile(1 - TAIL, df)) ** 2
    low, high = clopper_pearson(p, min(effective, most))
    return Estimate(p, min(low, p), max(high, p))


def clopper_pearson(p: float, num_documents: float) -> tuple[float, float]:
    """The exact interval of a binomial proportion (Biometrika 26, 1934, 404-413), for numbers that need not be whole."""
    successes = p * num_documents
    failures = num_documents - successes
    return beta_quantile(TAIL, successes, failures + 1), beta_quantile(1 - TAIL, successes + 1, failures)


def ratio(scheme: Scheme, numerator: Floats, denominator: Floats) -> Estimate:
    """The ratio of two totals over the input, as bytes a document: Student's t interval around the combined ratio estimator."""
    if not float((scheme.weight * denominator).sum()):
        return Estimate(0.0, 0.0, 0.0)
    value, variance, df = _ratio(scheme, numerator, denominator)
    half = t_quantile(1 - TAIL, max(df, 1)) * math.sqrt(variance)
    low = value - half
    if (numerator >= 0).all() and (denominator >= 0).all():
        low = max(low, 0.0)
    return Estimate(value, low, value + half)


def total(scheme: Scheme, values: Floats, rows: float) -> Estimate:
    """The sum of a value over all documents, of which the input has so many: their mean times `rows`.

    It is no less than what the sample itself holds, if no value is negative.
    """
    mean = ratio(scheme, values, np.ones(len(values)))
    least = float(values.sum()) if (values >= 0).all() else -math.inf
    return Estimate(mean.value * rows, max(mean.low * rows, least), max(mean.high * rows, least))


def _ratio(scheme: Scheme, y: Floats, x: Floats) -> tuple[float, float, int]:
    """A ratio of totals, its variance and the degrees of freedom of that.

    The ultimate cluster variance of a linearized ratio in a stratified sample (Wolter, Introduction to Variance Estimation, 2007, 2.3 and
    6.5; Cochran, Sampling Techniques, 1977, 11.5): of the units' sums of w (y - R x) / X around their stratum's mean, n / (n - 1) a
    stratum. Taken as if units were drawn with replacement, which makes it a little too large for row groups; where documents are the units
    the finite population correction makes up for it. A stratum of one unit counts its square in full.
    """
    weight = scheme.weight
    size = float((weight * x).sum())
    value = float((weight * y).sum()) / size
    residual = weight * (y - value * x) / size
    _, first, number = np.unique(scheme.unit, return_index=True, return_inverse=True)
    sums = np.bincount(number, weights=residual)
    stratum = scheme.stratum[first]
    num_strata = len(scheme.picks)
    squares = np.bincount(stratum, weights=sums**2, minlength=num_strata)
    around = np.bincount(stratum, weights=sums, minlength=num_strata)
    picks = scheme.picks.astype(np.float64)
    many = picks > 1
    spread = np.where(many, picks / np.maximum(picks - 1, 1) * (squares - around**2 / np.maximum(picks, 1)), squares)
    variance = float(((1.0 - scheme.rate) * np.maximum(spread, 0.0)).sum())
    here = np.bincount(scheme.stratum[x != 0], minlength=num_strata) > 0
    return value, variance, max(int((picks[here] - 1).sum()), 1)


def _sampled(scheme: Scheme, x: Floats) -> float:
    """Which part of a domain's documents was drawn, where they were drawn one by one."""
    weight = scheme.weight * x
    return float((weight * scheme.rate[scheme.stratum]).sum() / weight.sum())


def product(estimates: Sequence[Estimate]) -> Estimate:
    """The product of independent positive estimates, as keep rates of operators one after the other; errors add as squared logarithms."""
    value = math.prod(one.value for one in estimates)
    if value <= 0 or any(one.low <= 0 for one in estimates):
        return Estimate(value, math.prod(max(one.low, 0.0) for one in estimates), math.prod(one.high for one in estimates))
    below = math.sqrt(sum(math.log(one.value / one.low) ** 2 for one in estimates))
    above = math.sqrt(sum(math.log(one.high / one.value) ** 2 for one in estimates))
    return Estimate(value, value * math.exp(-below), value * math.exp(above))
