"""Buckets: keys scattered, sorted and proposed, against numpy and plain Python."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.buckets import bucket_sizes, propose, scatter, sort_rows, unique_pairs
from operators.kernels.radix import SMALL, as_signed, as_word, sort_order, sort_pairs

TOP = 2**64 - 1
FEW = st.integers(0, 3)
WORD = st.one_of(FEW, st.integers(0, TOP), st.sampled_from([0, TOP, 1 << 63, (1 << 63) - 1, 1 << 11]))
PLACE = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))


def words(values):
    return np.array(values, np.uint64)


def spread(rng, num, kind):
    """Words of several shapes: random, few different, the same but for a few bits, in order, backwards."""
    match kind:
        case "random":
            return rng.integers(0, TOP, num, np.uint64)
        case "few":
            return rng.integers(0, 5, num).astype(np.uint64) * words(0x0123456789ABCDEF)
        case "ends":
            return rng.integers(0, 2, num).astype(np.uint64) << words(63) | rng.integers(0, 2, num).astype(np.uint64)
        case "sorted":
            return np.arange(num, dtype=np.uint64)
        case "backwards":
            return np.arange(num, dtype=np.uint64)[::-1].copy()
        case "skewed":
            return np.where(rng.random(num) < 0.9, words(7), rng.integers(0, TOP, num, np.uint64))
    raise AssertionError(kind)


KINDS = ("random", "few", "ends", "sorted", "backwards", "skewed")


@pytest.mark.parametrize("bits", [0, 1, 5])
@pytest.mark.parametrize("shift", [0, 7, 59])
def test_scatter_groups_every_key_by_its_digit_in_row_order(bits, shift):
    """A stable sort by digit of all keys, row after row, is what comes out."""
    bands = np.random.default_rng(bits + shift).integers(0, TOP, (300, 14), np.uint64)
    found = scatter(bands, bits, shift)
    digits = (bands.ravel() >> words(shift)) & words(2**bits - 1)
    order = np.argsort(digits, kind="stable")
    assert (found.keys == bands.ravel()[order]).all()
    assert (found.rows == order // 14).all()
    assert found.bounds.tolist() == [0, *np.cumsum(np.bincount(digits.astype(np.int64), minlength=2**bits)).tolist()]


def test_scatter_takes_no_rows_and_odd_layouts():
    """No rows give no keys; columns of a larger table give what their copy gives."""
    empty = scatter(np.zeros((0, 14), np.uint64), 3, 61)
    assert len(empty.keys) == len(empty.rows) == 0
    assert empty.bounds.tolist() == [0] * 9
    table = np.random.default_rng(1).integers(0, TOP, (50, 8), np.uint64)
    for one, other in zip(scatter(table[::2, 1:4], 4, 3), scatter(table[::2, 1:4].copy(), 4, 3), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize(("bits", "shift"), [(-1, 0), (25, 0), (8, 57), (1, -1), (0, 65)])
def test_scatter_refuses_a_digit_that_is_none(bits, shift):
    """A digit beyond 64 bits, or too wide, is an error before anything is read."""
    with pytest.raises(ValueError, match="within 64"):
        scatter(np.zeros((1, 1), np.uint64), bits, shift)


def test_columns_of_another_kind_or_length_are_refused():
    """Nothing is read by its bits as what it is not, nor beyond its end."""
    with pytest.raises(ValueError, match="int64; expected uint64"):
        scatter(np.ones((1, 1), np.int64), 0, 0)
    with pytest.raises(ValueError, match="2, rows and bands"):
        scatter(np.ones(3, np.uint64), 0, 0)
    with pytest.raises(ValueError, match="found 1 values; expected 2"):
        sort_rows(words([1, 2]), [words([1])])
    with pytest.raises(ValueError, match="found 1 values; expected 2"):
        unique_pairs(np.array([1, 2]), np.array([1]))
    with pytest.raises(ValueError, match="no word"):
        sort_order([])


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(0, 4), st.integers(0, 3 * SMALL))
def test_rows_are_sorted_by_key_then_words_and_stay_in_order_where_equal(data, num_words, num_rows):
    """The order is that of Python's stable sort of tuples."""
    columns = [data.draw(st.lists(WORD, min_size=num_rows, max_size=num_rows)) for _ in range(num_words + 1)]
    rows = list(zip(*columns, strict=True))
    order = sort_rows(words(columns[0]), [words(column) for column in columns[1:]])
    assert order.tolist() == sorted(range(num_rows), key=rows.__getitem__)


@pytest.mark.parametrize(("one", "other"), list(itertools.product(KINDS, KINDS)))
def test_large_sorts_are_those_of_numpy(one, other):
    """Whatever the distribution of keys and words, the order is that of `lexsort`."""
    rng = np.random.default_rng(5)
    key, word = spread(rng, 30_011, one), spread(rng, 30_011, other)
    assert (sort_rows(key, [word]) == np.lexsort((word, key))).all()


@pytest.mark.parametrize("num_rows", [SMALL, SMALL + 1, 5000])
@pytest.mark.parametrize("place", [0, -2])
def test_one_row_out_of_order_is_found_wherever_it_is(num_rows, place):
    """Rows in order but for the first or the last two are sorted, and rows in order are left."""
    high = np.arange(num_rows, dtype=np.uint64)
    wanted = high.copy()
    for _ in range(2):
        low = high.copy()
        sort_pairs(high, low)
        assert (high == wanted).all()
        assert (low == wanted).all()
        high[[place, place + 1]] = high[[place + 1, place]]


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_sorted_in_place(kind):
    """Both words of a pair move together."""
    rng = np.random.default_rng(6)
    high, low = spread(rng, 5000, kind), rng.integers(0, 50, 5000).astype(np.uint64)
    wanted = sorted(zip(high.tolist(), low.tolist(), strict=True))
    sort_pairs(high, low)
    assert list(zip(high.tolist(), low.tolist(), strict=True)) == wanted


@settings(deadline=None)
@given(st.lists(PLACE, max_size=30))
def test_signed_numbers_sort_as_their_words(values):
    """`as_word` keeps the order and comes back."""
    found = np.array(values, np.int64)
    assert (np.argsort(as_word(found), kind="stable") == np.argsort(found, kind="stable")).all()
    assert (as_signed(as_word(found)) == found).all()


def proposals(keys, cap, is_new):
    """Each new row with the first rows of its bucket."""
    pairs = []
    for row, key in enumerate(keys):
        bucket = [other for other in range(row) if keys[other] == key]
        pairs += [(row, other) for other in bucket[:cap] if is_new[row]]
    return pairs


ROWS = st.lists(st.tuples(FEW, st.booleans()), max_size=40).map(lambda rows: sorted(rows, key=lambda row: row[0]))


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(1, 6), st.integers(0, 20))
def test_proposals_are_the_first_of_the_bucket_in_pieces_of_any_size(rows, cap, more):
    """What is proposed is the plain rule, and does not depend on how many fit a call."""
    keys, is_new = ([row[column] for row in rows] for column in range(2))
    pairs, start = [], 0
    while start < len(rows):
        found = propose(words(keys), cap, np.array(is_new, np.bool_), start, cap + more)
        assert len(found.later) <= cap + more
        assert found.next_row > start
        pairs += zip(found.later.tolist(), found.earlier.tolist(), strict=True)
        start = found.next_row
    assert pairs == proposals(keys, cap, is_new)


def test_a_bucket_of_a_million_is_linear_and_bounded():
    """Every row of one bucket meets at most `cap` others, in calls of bounded size."""
    keys, start, total, calls = np.full(1_000_000, 7, np.uint64), 0, 0, 0
    while start < len(keys):
        found = propose(keys, 16, start=start, most=100_000)
        assert len(found.later) <= 100_000
        total, start, calls = total + len(found.later), found.next_row, calls + 1
    assert total == sum(min(row, 16) for row in range(len(keys)))
    assert calls == pytest.approx(160, abs=2)


def test_proposing_takes_no_rows_and_a_start_behind_the_end():
    """Nothing is proposed, and nothing is left to do."""
    assert propose(words([]), 3).next_row == 0
    found = propose(words([1, 1]), 3, start=5)
    assert (len(found.later), found.next_row) == (0, 2)


@pytest.mark.parametrize(("cap", "start", "most"), [(0, 0, 5), (6, 0, 5), (2, -1, 5)])
def test_proposing_refuses_what_could_never_end(cap, start, most):
    """Room for less than one row's pairs is an error."""
    with pytest.raises(ValueError, match="expected 1 <= cap <= most"):
        propose(words([1]), cap, start=start, most=most)


@settings(deadline=None)
@given(st.lists(FEW, max_size=30).map(sorted), st.integers(1, 5))
def test_sizes_are_those_of_the_buckets_that_are_large_enough(keys, least):
    """First row and size of each run of equal keys."""
    runs = [(keys.index(key), keys.count(key)) for key in sorted(set(keys))]
    starts, sizes = bucket_sizes(words(keys), least)
    assert list(zip(starts.tolist(), sizes.tolist(), strict=True)) == [run for run in runs if run[1] >= least]


@settings(deadline=None)
@given(st.lists(st.tuples(PLACE, PLACE), max_size=60))
def test_unique_pairs_are_the_set_sorted_by_second_then_first(pairs):
    """Each different pair once."""
    a, b = (np.array([pair[end] for pair in pairs], np.int64) for end in range(2))
    ones, others = unique_pairs(a, b)
    assert list(zip(ones.tolist(), others.tolist(), strict=True)) == sorted(set(pairs), key=lambda pair: (pair[1], pair[0]))
