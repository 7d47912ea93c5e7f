"""Intervals hold what they promise: over many samples of known inputs, 95 % of them hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled import drawn_rows, inventory_of

from pipelines.intervals import Scheme, clopper_pearson, product, proportion, ratio, total
from pipelines.quantiles import beta_cdf, beta_quantile, t_quantile
from pipelines.sample import scheme_of
from pipelines.sampling import Bounds, draw
from pipelines.study import Estimate


def one_by_one(number: int, rate: float = 0.0) -> Scheme:
    """Documents drawn one by one, out of one stratum."""
    zeros = np.zeros(number, np.int32)
    return Scheme(zeros, np.arange(number), np.ones(number), np.array([number]), np.array([rate]))


def test_quantiles_are_as_scipy_says():
    """Beta and t, over the range that intervals use."""
    stats = pytest.importorskip("scipy.stats", reason="scipy is only used to check against; known values are checked below")
    for a in (0.3, 1.0, 2.5, 40.0, 1999.5):
        for b in (0.5, 1.0, 7.0, 300.0, 2e5):
            for p in (0.025, 0.5, 0.975):
                x = stats.beta.ppf(p, a, b)
                assert beta_quantile(p, a, b) == pytest.approx(x, rel=1e-7, abs=1e-15)
                assert beta_cdf(x, a, b) == pytest.approx(p, rel=1e-7)
    for df in (1, 2, 5, 30, 2000):
        assert t_quantile(0.975, df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-6)


def test_quantiles_that_are_known():
    """t with one degree of freedom, the normal distribution, and the rule of three."""
    assert t_quantile(0.975, 1) == pytest.approx(12.7062, rel=1e-4)
    assert t_quantile(0.975, math.inf) == pytest.approx(1.95996, rel=1e-4)
    assert clopper_pearson(0.0, 100) == pytest.approx((0.0, 0.036217), abs=1e-5)
    assert clopper_pearson(1.0, 100) == pytest.approx((0.963783, 1.0), abs=1e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=80))
def test_a_proportion_lies_in_its_interval(documents):
    """Whatever is kept of whatever reaches an operator: 0 <= low <= value <= high <= 1."""
    reached = np.array([one for one, _ in documents], np.bool_)
    kept = np.array([one for _, one in documents], np.bool_)
    found = proportion(one_by_one(len(documents)), reached, kept)
    assert 0 <= found.low <= found.value <= found.high <= 1
    if reached.any():
        assert found.value == pytest.approx((kept & reached).sum() / reached.sum())
        assert found.low < found.high


def test_a_census_has_no_error():
    """Where every document was drawn the interval is the value."""
    kept = np.arange(50) % 7 > 0
    found = proportion(one_by_one(50, rate=1.0), np.ones(50, np.bool_), kept)
    assert found == Estimate(kept.mean(), kept.mean(), kept.mean())
    bytes_of = np.arange(50, dtype=float)
    assert total(one_by_one(50, rate=1.0), bytes_of, 50) == Estimate(*(pytest.approx(bytes_of.sum()),) * 3)


def test_nothing_reached_is_nothing_known():
    """Without a document the interval is everything."""
    assert proportion(one_by_one(5), np.zeros(5, np.bool_), np.ones(5, np.bool_)) == Estimate(1.0, 0.0, 1.0)


def test_documents_alike_tell_less():
    """Ten row groups of which each is all kept or all dropped are ten observations, not a thousand."""
    stratum, unit = np.zeros(1000, np.int32), np.repeat(np.arange(10), 100)
    alike = Scheme(stratum, unit, np.ones(1000), np.array([10]), np.zeros(1))
    kept = unit % 2 == 0
    everything = np.ones(1000, np.bool_)
    wide, narrow = proportion(alike, everything, kept), proportion(one_by_one(1000), everything, kept)
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)


def coverage(labels, inventory, bounds, documents=400, seeds=range(80)):
    """How often the interval of a mean over drawn documents holds that of all; which documents there are is by `labels`."""
    hits = 0
    truth = labels.mean()
    for seed in seeds:
        design = draw(inventory, documents, seed, bounds)
        rows, clusters = drawn_rows(inventory, design)
        found = proportion(scheme_of(design, clusters), np.ones(len(rows), np.bool_), labels[rows])
        hits += found.low <= truth <= found.high
    return hits / len(seeds)


FILES = [[30, 80, 200, 10, 400]] * 60


@pytest.mark.parametrize("rate", [0.003, 0.5, 0.98])
def test_covers_what_is_independent(rate):
    """Documents kept at random, also at rates near 0 and 1."""
    inventory = inventory_of(FILES)
    labels = np.random.default_rng(1).random(inventory.rows) < rate
    assert coverage(labels, inventory, Bounds(max_bytes=10_000_000)) >= 0.93


def test_covers_what_hangs_together():
    """Documents of a row group share their fate, and it changes along the input: the variance is between row groups."""
    inventory = inventory_of(FILES)
    random = np.random.default_rng(2)
    of_group = np.clip(random.beta(0.5, 0.5, len(inventory.group_rows)) * np.linspace(0.4, 1, len(inventory.group_rows)), 0, 1)
    labels = random.random(inventory.rows) < np.repeat(of_group, inventory.group_rows)
    assert coverage(labels, inventory, Bounds(max_bytes=10_000_000)) >= 0.91


def test_covers_where_all_row_groups_are_read():
    """Documents drawn one by one out of strata, a fifth of all."""
    inventory = inventory_of([[100, 300]] * 8)
    labels = np.random.default_rng(3).random(inventory.rows) < np.repeat(np.linspace(0, 1, 16), inventory.group_rows)
    assert coverage(labels, inventory, Bounds(), documents=600) >= 0.92


def test_totals_cover_too():
    """The bytes of all documents, told from those of some."""
    inventory = inventory_of(FILES)
    sizes = np.random.default_rng(4).lognormal(6, 1, inventory.rows)
    hits = 0
    for seed in range(80):
        design = draw(inventory, 400, seed, Bounds(max_bytes=10_000_000))
        rows, clusters = drawn_rows(inventory, design)
        found = total(scheme_of(design, clusters), sizes[rows], design.rows)
        hits += found.low <= sizes.sum() <= found.high
    assert hits / 80 >= 0.9


def test_a_ratio_of_nothing_is_nothing():
    """No documents, no bytes."""
    assert ratio(one_by_one(0), np.empty(0), np.empty(0)) == Estimate(0.0, 0.0, 0.0)
    assert total(one_by_one(3), np.zeros(3), 300) == Estimate(0.0, 0.0, 0.0)


def test_a_product_is_wider_than_its_parts():
    """Errors of keep rates one after the other add up as squares."""
    one = Estimate(0.5, 0.4, 0.6)
    found = product([one, one])
    assert found.value == 0.25
    assert 0.4 * 0.4 < found.low < 0.25 * 0.8
    assert 0.25 * 1.2 < found.high < 0.6 * 0.6
    assert product([one, Estimate(1.0, 1.0, 1.0)]) == Estimate(0.5, pytest.approx(0.4), pytest.approx(0.6))
    assert product([]) == Estimate(1.0, 1.0, 1.0)
    assert product([one, Estimate(0.0, 0.0, 0.1)]) == Estimate(0.0, 0.0, pytest.approx(0.06))
