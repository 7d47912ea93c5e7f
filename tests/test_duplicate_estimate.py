"""Keep rates of operators that remove duplicates: their intervals hold the truth though a sample holds few of the pairs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.duplicate_estimate import duplicates_kept, passages_kept, sets_of
from pipelines.thinned_sets import sets_per_member


def sizes_of(kind: str, random: np.random.Generator) -> np.ndarray:
    """Sizes of sets of 40,000 documents or so."""
    singles = np.ones(36_000, int)
    match kind:
        case "none":
            return np.ones(40_000, int)
        case "pairs":
            return np.r_[np.full(2000, 2), singles]
        case "fives":
            return np.r_[np.full(800, 5), singles]
        case "heavy":
            return np.minimum(random.zipf(2.2, 20_000), 2000)
        case "template":
            return np.r_[[4000], singles]
        case _:
            return np.r_[np.full(400, 100), np.ones(40_000, int)]


@pytest.mark.parametrize("rate", [0.3, 0.03])
@pytest.mark.parametrize("kind", ["none", "pairs", "fives", "heavy", "template", "hundreds"])
def test_thinned_sets_tell_how_many_there_were(kind, rate):
    """The number of sets lies in the interval, where the rate seen is far from it."""
    random = np.random.default_rng(5)
    sizes = sizes_of(kind, random)
    truth = len(sizes) / sizes.sum()
    held = 0
    for _ in range(4):
        seen = random.binomial(sizes, rate)
        seen = seen[seen > 0]
        found = sets_per_member(seen, rate, inflation=2.0)
        assert 0 <= found.low <= found.value <= found.high <= 1
        held += found.low <= truth <= found.high
    assert held >= 3
    if rate == 0.3:
        assert found.value == pytest.approx(truth, abs=0.02)
        assert found.high - found.low < 0.05


def test_whole_sets_are_counted():
    """At a rate of one nothing is estimated."""
    found = sets_per_member(np.array([1, 2, 3]), 1.0)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_one_document(seed):
    """Where all documents are copies of a few, how many there are is known but for chance, and the interval says so."""
    sizes = np.full(20, 3000)
    seen = np.random.default_rng(seed).binomial(sizes, 0.3)
    found = sets_per_member(seen, 0.3, inflation=2.0)
    assert found.low < 1 / 3000 < found.high
    assert found.high - found.low < 0.1 * found.value


def test_a_tiny_sample_promises_little():
    """Where a pair would hardly be seen, seeing none says little, and the interval says that."""
    found = sets_per_member(np.ones(2000, int), 0.001)
    assert found.high == 1.0
    assert found.low < 0.5


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.floats(1e-4, 1.0))
def test_any_sizes_give_bounds_in_order(sizes, rate):
    """Whatever was seen: 0 <= low <= value <= high <= 1, and no warning."""
    found = sets_per_member(np.array(sizes), rate)
    assert 0 <= found.low <= found.value <= found.high <= 1


def corpus(copies_are_near: bool) -> tuple[np.ndarray, np.ndarray]:
    """Sets of 60,000 documents in 600 row groups; copies lie in the same row group, or anywhere."""
    random = np.random.default_rng(7)
    sets = np.arange(60_000)
    copies = random.permutation(60_000)[:12_000]
    sets[copies] = (copies // 100 * 100 + random.integers(0, 100, 12_000)) if copies_are_near else random.integers(0, 60_000, 12_000)
    return sets_of(60_000, np.arange(60_000), sets), np.repeat(np.arange(600), 100)


@pytest.mark.parametrize("wide_rate", [1.0, 0.4])
@pytest.mark.parametrize("copies_are_near", [True, False])
def test_clusters_are_told_apart(copies_are_near, wide_rate):
    """Copies within a row group are seen as often as it is drawn, those elsewhere far less: either way the interval holds the truth."""
    sets, groups = corpus(copies_are_near)
    truth = len(np.unique(sets)) / len(sets)
    held = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        chosen = np.isin(groups, random.permutation(600)[:90]) & (random.random(60_000) < wide_rate)
        design = SimpleNamespace(rows=60_000, rows_read=9_000)
        sample = SimpleNamespace(design=design, wide_is_census=False, wide_rate=wide_rate)
        found = duplicates_kept(sample, groups[chosen], sets[chosen])
        held += found.keep_rate.low <= truth <= found.keep_rate.high
        assert found.is_corrected
        assert found.keep_rate.high - found.keep_rate.low < (0.3 if wide_rate == 1 else 0.6)
        if not copies_are_near:
            assert found.seen - truth > 0.08
    assert held >= 3


def test_a_census_is_exact():
    """Where every document was compared the rate seen is the rate."""
    sample = SimpleNamespace(design=SimpleNamespace(rows=6, rows_read=6), wide_is_census=True, wide_rate=1.0)
    found = duplicates_kept(sample, np.zeros(6, int), np.array([0, 0, 1, 2, 2, 2]))
    assert (found.keep_rate.low, found.keep_rate.value, found.keep_rate.high) == (0.5, 0.5, 0.5)
    assert not found.is_corrected


def test_no_document_tells_nothing():
    """Where none reached the operator its rate may be anything."""
    sample = SimpleNamespace(design=SimpleNamespace(rows=600, rows_read=6), wide_is_census=False, wide_rate=1.0)
    found = duplicates_kept(sample, np.zeros(0, int), np.zeros(0, int))
    assert (found.keep_rate.low, found.keep_rate.high) == (0.0, 1.0)


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_chains_of_removals_are_one_set(number, links):
    """Documents that removals join, directly or not, have one number, others different ones."""
    links = [(one % number, other % number) for one, other in links]
    found = sets_of(number, np.array([one for one, _ in links], int), np.array([other for _, other in links], int))
    sets = [{place} for place in range(number)]
    for one, other in links:
        joined = sets[one] | sets[other]
        for place in joined:
            sets[place] = joined
    assert all(set(np.flatnonzero(found == found[place]).tolist()) == sets[place] for place in range(number))


def test_the_second_operator_is_told_with_the_first():
    """Copies whose originals a sample has not come to the second operator in it: told alone its rate would be too low."""
    random = np.random.default_rng(11)
    exact, near = np.arange(60_000), np.arange(60_000)
    copies = random.permutation(60_000)[:12_000]
    exact[copies] = random.integers(0, 60_000, 12_000)
    exact = sets_of(60_000, np.arange(60_000), exact)
    changed = random.permutation(60_000)[:6_000]
    near[changed] = random.integers(0, 60_000, 6_000)
    both = sets_of(60_000, np.tile(np.arange(60_000), 2), np.concatenate([exact, near]))
    truth = len(np.unique(both)) / len(np.unique(exact))
    groups = np.repeat(np.arange(600), 100)
    held = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        chosen = np.isin(groups, random.permutation(600)[:120])
        sample = SimpleNamespace(design=SimpleNamespace(rows=60_000, rows_read=12_000), wide_is_census=False, wide_rate=1.0)
        found = duplicates_kept(sample, groups[chosen], both[chosen], exact[chosen])
        held += found.keep_rate.low <= truth <= found.keep_rate.high
        assert found.keep_rate.high - found.keep_rate.low < 0.2
    assert held >= 3


def test_passages_are_cut_at_least_where_they_are_seen():
    """The rate seen is within its bounds, all of it in a census, and its lower bound tells that most repetitions are not seen."""
    passed = np.arange(1000) % 50 > 0
    cluster = np.arange(1000) // 50
    part = SimpleNamespace(design=SimpleNamespace(rows=10_000, rows_read=1000), wide_is_census=False, wide_rate=1.0)
    found = passages_kept(part, cluster, passed)
    assert found.keep_rate.value == passed.mean()
    assert found.keep_rate.low < 0.9 < passed.mean() < found.keep_rate.high < 1
    whole = SimpleNamespace(design=SimpleNamespace(rows=1000, rows_read=1000), wide_is_census=True, wide_rate=1.0)
    assert passages_kept(whole, cluster, passed).keep_rate.low == passed.mean() == passages_kept(whole, cluster, passed).keep_rate.high
    assert passages_kept(part, cluster[:0], passed[:0]).keep_rate.low == 0.0
