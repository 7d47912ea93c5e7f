"""What thresholds do, told from signals: counts, moves, histograms."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, TEXTS, documents
from thresholds_made import study_of

from operators import ExactDedup, GopherQuality, LengthFilter, PiiRedact
from operators.decision import Measured, Measures, Signal, Test, failing, fixed_limits
from pipelines import threshold_study
from pipelines.signal_buckets import MOST_BUCKETS, buckets_of
from pipelines.study import Limit, Moved
from pipelines.threshold_study import ThresholdStudy, signals_by_row

SIGNALS = (Signal("share", "fraction", "A share.", "here"), Signal("words", "words", "Words.", "here"))
TESTS = (
    Test("flagged", None),
    Test("repeats", "share", "max_share", "above", 0.5, high=1),
    Test("short", "words", "min_words", "below", 10, is_whole=True),
)


def measures():
    return Measures(SIGNALS, TESTS, lambda _: pytest.fail("nothing is measured again"))


def measured(rows, flagged=()):
    values = np.array(rows, np.float64).reshape(len(rows), 2)
    return Measured(values, fixed_limits(TESTS, len(rows)), {0: np.isin(np.arange(len(rows)), flagged)})


def studied(rows, reasons, flagged=()):
    study = ThresholdStudy("filter", measures())
    study.add(measured(rows, flagged), reasons)
    return study


def test_each_threshold_is_told_alone_and_with_the_others():
    """Alone it drops what fails it, whatever was tested before; the operator drops what fails any test, or goes for another reason."""
    rows = [(0.6, 5), (0.52, 50), (0.4, 9), (0.3, 11), (0.1, 50), (math.nan, 50), (0.1, 70)]
    study = studied(rows, ["repeats", "repeats", "short", None, "flagged", None, "custom"], flagged=[4])
    share, words = study.thresholds()
    assert (share.limit, share.signal, share.rows_in) == (Limit("max_share", "repeats", "above", 0.5), "share", 7)
    assert share.now == Moved(0.5, 2, 5)
    assert share.looser == Moved(0.55, 1, 4)
    assert share.tighter == Moved(0.45, 2, 5)
    assert words.now == Moved(10, 2, 5)
    assert words.looser == Moved(9, 1, 4)
    assert words.tighter == Moved(11, 2, 5)


def test_tests_of_one_setting_move_together():
    """A setting that two tests use is one: moved, both have another limit; alone, each is counted by itself."""
    tests = (Test("first", "share", "max_share", value=0.5, high=1), Test("second", "words", "max_share", value=0.5, high=1))
    study = ThresholdStudy("filter", Measures(SIGNALS, tests, lambda _: pytest.fail("nothing is measured again")))
    study.add(Measured(np.array([[0.52, 0.0], [0.0, 0.52], [0.0, 0.9]]), fixed_limits(tests, 3)), ["first", "second", "second"])
    first, second = study.thresholds()
    assert (first.now, first.looser) == (Moved(0.5, 1, 3), Moved(0.55, 0, 1))
    assert (second.now, second.looser) == (Moved(0.5, 2, 3), Moved(0.55, 1, 1))


@given(
    rows=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40)), max_size=20),
    cut=st.integers(0, 20),
)
@settings(max_examples=60, deadline=None)
def test_batches_make_no_difference(rows, cut):
    """However documents came, the study is of all of them; looser never drops more, tighter never less."""
    reasons = ["short" if words < 10 else None for _, words in rows]
    whole = studied(rows, reasons)
    split = studied(rows[:cut], reasons[:cut])
    split.thresholds()
    split.add(measured(rows[cut:]), pa.array(reasons[cut:], pa.string()))
    assert split.thresholds() == whole.thresholds()
    assert split.histograms() == whole.histograms()
    for each in whole.thresholds():
        assert each.looser.alone <= each.now.alone <= each.tighter.alone
        assert each.looser.dropped <= each.now.dropped <= each.tighter.dropped
        assert each.now.alone <= each.now.dropped


def test_histograms_count_every_document_once():
    """In a bucket or as absent; the dropped ones among them; with the limits."""
    share, words = studied([(0.6, 5), (math.nan, 3), (0.2, math.inf)], ["repeats", "short", None]).histograms()
    assert (sum(share.counts), share.absent, sum(share.dropped)) == (2, 1, 1)
    assert (sum(words.counts), words.absent, sum(words.dropped)) == (3, 0, 2)
    assert (share.is_log, words.is_log) == (False, True)
    assert share.limits == (Limit("max_share", "repeats", "above", 0.5),)
    assert (share.signal, share.unit, share.doc, share.operator) == ("share", "fraction", "A share.", "filter")


def test_memory_is_bounded(monkeypatch):
    """Beyond the bound documents are counted, and not kept."""
    monkeypatch.setattr(threshold_study, "MOST_DOCUMENTS", 3)
    study = studied([(0.6, 5)] * 2, ["repeats"] * 2)
    study.add(measured([(0.6, 5)] * 4), None)
    assert (study.rows, study.left_out) == (3, 3)
    assert study.thresholds()[0].rows_in == 3


def test_a_study_without_documents_has_empty_histograms():
    """Thresholds stand there with zeros, so that a reader sees them."""
    study = ThresholdStudy("filter", measures())
    assert [each.now.dropped for each in study.thresholds()] == [0, 0]
    assert [sum(each.counts) for each in study.histograms()] == [0, 0]


VALUES = st.one_of(st.floats(0, 1), st.floats(0, 1e7), st.integers(0, 10**9).map(float), st.sampled_from([0.0, 1.0, math.inf]))


@given(
    values=st.lists(VALUES, max_size=60),
    unit=st.sampled_from(["fraction", "ratio", "mean", "words", "characters"]),
    limits=st.lists(st.one_of(st.floats(0, 1), st.integers(0, 10**6).map(float)), max_size=3),
)
@settings(max_examples=150, deadline=None)
@example(values=[0.0] * 5, unit="words", limits=[])
@example(values=[7.0] * 5, unit="words", limits=[7.0])
@example(values=[1e-12], unit="fraction", limits=[])
def test_buckets_are_few_ascending_and_hold_everything(values, unit, limits):
    """At most 40, edges in order, every value in one; limits are inside; a value at an edge lies above it."""
    array = np.array(values, np.float64)
    buckets = buckets_of(array, unit, limits)
    assert 1 <= len(buckets.edges) - 1 <= MOST_BUCKETS
    assert all(first < second for first, second in pairwise(buckets.edges))
    assert all(math.isfinite(edge) for edge in buckets.edges)
    assert sum(buckets.counts(array)) == len(values)
    assert all(buckets.edges[0] <= limit <= buckets.edges[-1] for limit in limits if limit >= 1 or not buckets.is_log)
    assert buckets_of(array[::-1].copy(), unit, limits) == buckets
    for place, edge in enumerate(buckets.edges[1:-1], start=1):
        assert buckets.counts(np.array([edge]))[place] == 1


def test_shares_end_at_one_and_counts_at_whole_numbers():
    """Round edges that a person reads; zeros have a bucket of their own."""
    shares = buckets_of(np.linspace(0, 1, 50), "fraction", [0.9])
    assert (shares.edges[0], shares.edges[-1]) == (0, 1)
    counts = buckets_of(np.array([0.0, 1.0, 2.0, 3.0, 500.0]), "words", [])
    assert counts.edges[:3] == (0.5, 1, 2)
    assert counts.counts(np.array([0.0, 0.0, 1.0]))[:2] == (2, 1)
    assert all(edge == int(edge) for edge in counts.edges[1:])


def test_an_operator_that_measures_nothing_has_no_study():
    """There are signals or there is no study; what measures is studied with the reasons that it gave."""
    assert study_of(PiiRedact(), "pii", ASSETS, []) is None
    operator, batch = LengthFilter(min_chars=100), documents()
    study = study_of(operator, "length", ASSETS, [(batch, operator.open(ASSETS)(batch).reasons)] * 2)
    assert study.rows == 2 * len(TEXTS)
    assert study.thresholds()[0].now.dropped == 2 * sum(len(text) < 100 for text in TEXTS)
    assert not hasattr(ExactDedup(), "open_measures")


def test_signals_of_a_document_are_named_after_their_operator():
    """`operator.signal`, null where there is none."""
    found = GopherQuality().open_measures(ASSETS)
    signals = signals_by_row(found, found.measure(documents()), "quality-2", 2)
    assert signals["quality-2.num_words"] == 0
    assert signals["quality-2.hash_ratio"] is None


def test_what_is_not_measured_cannot_be_tested():
    """A test of a signal that nobody measures is an error, no silence."""
    wrong = Measures(SIGNALS, (Test("lost", "nowhere", "max", "above", 1),), lambda _: pytest.fail("not asked"))
    with pytest.raises(ValueError, match="nowhere"):
        failing(wrong, Measured(np.zeros((1, 2)), np.ones((1, 1))))
