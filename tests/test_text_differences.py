"""Where two texts differ: the marks of both sides, and how long it may take."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.text_differences import Differing, common_prefix, differences

WORDS = st.lists(st.sampled_from(["one", "two", "three", " ", "\n", "河", "流", "é", "\u202e", "<b>", "\ud800"]), max_size=80).map("".join)
TEXTS = st.one_of(WORDS, st.text(max_size=400))


def unmarked(side: Differing) -> str:
    """The excerpt without what is marked."""
    kept, at = [], 0
    for mark in side.marks:
        kept.append(side.text[at : mark.start])
        at = mark.stop
    return "".join([*kept, side.text[at:]])


@given(TEXTS, TEXTS, st.integers(1, 60))
def test_without_the_marks_both_sides_are_equal(removed, kept, max_chars):
    """Marks are ordered, within the excerpts, and what is left without them is the same on both sides."""
    sides = differences(removed, kept, max_chars)
    for side, text in zip(sides, (removed, kept), strict=True):
        assert side.text == text[side.first_char : side.first_char + len(side.text)]
        assert len(side.text) <= max_chars
        assert side.num_chars == len(text)
        edges = [edge for mark in side.marks for edge in (mark.start, mark.stop)]
        assert edges == sorted(edges)
        assert all(0 <= mark.start < mark.stop <= len(side.text) for mark in side.marks)
    assert unmarked(sides[0]) == unmarked(sides[1])
    if removed == kept:
        assert not any(side.marks for side in sides)


@given(TEXTS, TEXTS)
def test_different_texts_have_a_mark_somewhere(removed, kept):
    """Two texts that differ are never shown as the same."""
    sides = differences(removed, kept)
    assert (removed != kept) == any(side.marks for side in sides)


@given(st.text(), st.text(), st.text())
def test_the_common_prefix_is_the_longest(prefix, one, other):
    """Up to there both are the same, and the next characters are not."""
    first, second = prefix + one, prefix + other
    found = common_prefix(first, second)
    assert first[:found] == second[:found]
    assert found == min(len(first), len(second)) or first[found] != second[found]


def test_only_the_changed_words_are_marked():
    """Of a sentence in which a word was exchanged and one added, these are marked."""
    one, other = differences("the quick brown fox jumps", "the quick red fox jumps high")
    assert [one.text[mark.start : mark.stop] for mark in one.marks] == ["brown"]
    assert [other.text[mark.start : mark.stop] for mark in other.marks] == ["red", " high"]


def test_of_long_texts_the_region_of_the_first_difference_is_shown():
    """The excerpt begins shortly before the first difference, at the same place of both."""
    common = "word " * 100_000
    one, other = differences(common + "alpha end", common + "beta end")
    assert one.first_char == other.first_char > 400_000
    assert [one.text[mark.start : mark.stop] for mark in one.marks] == ["alpha"]


@pytest.mark.parametrize("text", ["a " * 25_000_000, "ab" * 25_000_000, "a\n" * 25_000_000], ids=["words", "no spaces", "lines"])
def test_huge_and_repetitive_texts_take_no_time(text):
    """Two texts of 50 MB that differ at their end, or everywhere, are compared in a second or so."""
    started = time.process_time()
    one, _ = differences(text + "x", text + "y")
    differences(text, "b " * 1000)
    assert time.process_time() - started < 5
    assert one.marks
