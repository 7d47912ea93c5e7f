"""Repeated parts, frequent and repeated runs of words: the kernels against plain Python."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels import ngrams

PIECES = ["a", "b", "ab", "ba", "bc", "c", "é", "日", "日本", "word", "longer", "letters", "x" * 8, "y" * 13, "z" * 40, "🙂"]
WORDS = st.lists(st.sampled_from(PIECES), max_size=60)
REPEATING = st.builds(
    lambda once, block, times, again: [*once, *block * times, *again, *block],
    WORDS,
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=15),
    st.integers(0, 4),
    st.lists(st.sampled_from(PIECES), max_size=20),
)


def num_repeats(parts):
    """datatrove's `find_duplicates`: how many occurred before, and their characters."""
    repeats = [part for index, part in enumerate(parts) if part in parts[:index]]
    return len(repeats), sum(map(len, repeats))


def top(words, n):
    """datatrove's `find_top_duplicate`."""
    run, count = Counter(" ".join(words[at : at + n]) for at in range(len(words) - n + 1)).most_common(1)[0]
    return len(run) * count


def repeated(words, n):
    """datatrove's `find_all_duplicate`."""
    seen, chars, at = set(), 0, 0
    while at < len(words) - n + 1:
        run = "".join(words[at : at + n])
        if run in seen:
            chars += len(run)
            at += n
        else:
            seen.add(run)
            at += 1
    return chars


class Gathered:
    """Words as the kernels take them, and scratch."""

    def __init__(self, words: list[str]) -> None:
        encoded = [word.encode() for word in words]
        self.num_words = np.int64(len(words))
        bounds = np.cumsum([0, *(len(word) + 1 for word in encoded)])
        data = np.frombuffer(b" ".join(encoded) + b"!", np.uint8)
        self.starts = bounds.astype(np.int32)
        self.ends = np.append(bounds[1:] - 1, 0).astype(np.int32)
        self.joined = np.empty(len(data) + ngrams.PAD, np.uint8)
        self.hashes = np.empty(len(words), np.uint64)
        ngrams.gather(data, np.int64(0), self.starts, self.ends, self.num_words, self.joined, self.hashes)
        self.cells = np.empty(1 << int(ngrams.cells_bits(self.num_words)), np.int32)
        self.slots = np.empty(1 << int(ngrams.bits_for(2 * self.num_words)), np.uint64)
        self.counts, self.tally = np.empty(len(words), np.int32), np.empty(len(words), np.int32)

    def top(self, n):
        ngrams.count_pairs(self.hashes, self.num_words, self.cells, self.counts)
        bound = ngrams.top_bound(self.ends, self.num_words, np.int64(n), self.counts)
        args = (self.joined, self.starts, self.ends, self.hashes, self.num_words, np.int64(n), self.counts, self.slots, self.tally)
        return ngrams.top_chars(*args), bound

    def repeated(self, sizes):
        picked = self.counts
        left = ngrams.pick(self.joined, self.starts, self.num_words, np.int64(sizes[0]), self.cells, picked, self.tally)
        found = []
        for n in sizes:
            args = (self.joined, self.starts, self.ends, self.num_words, np.int64(n), picked, np.int64(left), self.tally, self.slots)
            chars, left = ngrams.repeated_chars(*args)
            found.append(chars)
        return found


@given(st.text(alphabet="a\n b\u2028é", max_size=40), st.sampled_from([1, 2]))
@settings(max_examples=400, deadline=None)
def test_repeated_parts_are_what_a_split_and_a_set_find(text, least):
    """Parts between line feeds, how many occurred before, and the characters of those."""
    data = np.frombuffer(b"<<<" + text.encode() + b"\n", np.uint8)
    scratch = [np.empty(len(data) + 1, np.int32) for _ in range(2)]
    slots = np.empty(256, np.uint64)
    found = ngrams.repeated_parts(data, np.int64(3), np.int64(len(data) - 1), np.int64(least), *scratch, slots)
    parts = re.split(rf"\n{{{least},}}", text)
    assert found == (len(parts), *num_repeats(parts))


@given(st.one_of(WORDS, REPEATING), st.integers(2, 4))
@settings(max_examples=400, deadline=None)
def test_top_run_is_what_a_counter_finds(words, n):
    """The first of the most frequent runs, and a bound that is never below it."""
    if len(words) >= n:
        chars, bound = Gathered(words).top(n)
        assert chars == top(words, n) <= bound


@given(st.one_of(WORDS, REPEATING))
@settings(max_examples=400, deadline=None)
def test_repeated_runs_are_what_a_set_of_joined_words_finds(words):
    """Runs of any number of words, compared without what stands between them, left to right."""
    sizes = list(range(1, 11))
    assert Gathered(words).repeated(sizes) == [repeated(words, n) for n in sizes]


@given(REPEATING)
@settings(max_examples=200, deadline=None)
def test_some_sizes_may_be_left_out(words):
    """The answer for a number of words does not depend on which others were asked for."""
    assert Gathered(words).repeated([5, 8, 10]) == [repeated(words, n) for n in (5, 8, 10)]


@pytest.mark.parametrize("cuts", [("ab", "c"), ("a", "bc")])
def test_words_that_are_split_differently_are_the_same_run(cuts):
    """The key has no separator: "ab c" repeats "a bc"."""
    tail = ["one", "two", "three", "four"]
    words = ["ab", "c", *tail[:3], *cuts, *tail[:3]]
    assert Gathered(words).repeated([5]) == [len("abconetwothree")]
    assert Gathered(["ab", "c", "a", "bc"]).top(2)[0] == len("ab c")


def test_runs_that_share_a_long_beginning_are_told_apart():
    """Runs longer than every window that differ in the last letter alone are not the same."""
    words = [word for index in range(50) for word in ("w" * 20, "v" * 20, "u" * 20, "t" * 20, f"end{index:02}")]
    assert Gathered(words).repeated([5, 6]) == [repeated(words, n) for n in (5, 6)]


def test_many_words_share_cells_and_stay_exact():
    """A text of more words than there are cells of its own for is measured exactly."""
    rng = np.random.default_rng(3)
    words = [f"w{number}" for number in rng.integers(0, 3000, 40_000)] + ["again"] * 50
    made = Gathered(words)
    made.cells = np.empty(1 << 22, np.int32)
    assert made.top(2)[0] == top(words, 2)
    assert made.repeated([5, 10]) == [repeated(words, n) for n in (5, 10)]
