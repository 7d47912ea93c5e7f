"""Kernels of lines, stripped ends, repeated lines and sentence starts, against Python's own strings and spaCy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels import lines as kernels
from operators.kernels.jit import kernel
from operators.kernels.marks import SENTENCE_MARKS, TERMINAL_PUNCTUATION
from operators.kernels.sentence_starts import lexicon, max_sentences, sentence_starts
from operators.kernels.words_unicode import ENGLISH, UNICODE

BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
SPACES = "".join(chr(code) for code in range(0x110000) if chr(code).isspace())
PIECES = st.sampled_from(
    [
        "a",
        "Word",
        "e.g.",
        "U.S.",
        "3.5",
        "don't",
        "\u00e9t\u00e9",
        "\u4f60",
        "\U0001f600",
        "\u1361",
        "\u2030",
        "\u00b7",
        "\u0084",
        *SPACES,
        *'.!?"()\u3002\u2026',
    ],
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join)


def read_only(raw):
    """Bytes as kernels take them, in the middle of others that must not be read."""
    data = np.frombuffer(b".\n\xe2" + raw + b"\x80\xa8\n.", np.uint8)
    return data, 3, 3 + len(raw)


def decoded(data, start, stop):
    return data[start:stop].tobytes().decode()


@kernel
def _breaks(data, start, stop, found):
    count, at = 0, start
    while at < stop:
        found[count, 0] = at
        found[count, 1], at = kernels.next_break(data, at, stop)
        count += 1
    return count


@kernel
def _repeated(data, start, stop):
    count, at = 0, start
    while at <= stop:
        end = kernels.next_newline(data, at, stop)
        count += not kernels.is_blank(data, at, end)
        at = end + 1
    slots = kernels.num_slots(count)
    return kernels.repeated_chars(data, start, stop, np.empty(slots, np.int32), np.empty(slots, np.uint32), slots)


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_lines_end_where_splitlines_ends_them(text):
    """Any text has the lines that `str.splitlines` gives."""
    data, start, stop = read_only(text.encode())
    found = np.zeros((len(data) + 1, 2), np.int64)
    count = _breaks(data, start, stop, found)
    assert [decoded(data, *bounds) for bounds in found[:count]] == text.splitlines()


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_text_is_stripped_as_by_strip(text):
    """The white space at the ends goes, as with `str.strip`, and blank is what has nothing else."""
    data, start, stop = read_only(text.encode())
    assert decoded(data, *kernels.strip(data, start, stop)) == text.strip()
    assert kernels.is_blank(data, start, stop) == (not text.strip())


def test_every_character_is_white_space_as_for_python():
    """The white space that is spelt out in the kernel is this Python's, character by character."""
    for code in [*range(0xD800), *range(0xE000, 0x11000)]:
        raw = np.frombuffer(chr(code).encode(), np.uint8)
        raw.flags.writeable = False
        assert kernels.space_size(raw, 0, len(raw)) == (len(raw) if chr(code).isspace() else 0), hex(code)
    assert max(map(ord, SPACES)) < 0x11000


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(["same line", "same line ", "\u00e9\u4f60", "", " ", "longer line of text", "x" * 40]) | st.text(max_size=4),
        max_size=20,
    )
)
def test_repeated_lines_are_counted_in_characters(lines):
    """Lines that repeat an earlier one count, by bytes and not by hash; blank ones don't."""
    text = "\n".join(lines)
    seen, expected = set(), 0
    for line in text.split("\n"):
        if line.strip():
            expected += len(line) if line in seen else 0
            seen.add(line)
    data, start, stop = read_only(text.encode())
    assert _repeated(data, start, stop) == expected


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60), st.integers(0, 8))
def test_bytes_are_copied_whole(raw, shift):
    """Any number of bytes arrives, and within one memory towards its beginning too."""
    data, start, stop = read_only(raw)
    out = np.zeros(len(raw) + 4, np.uint8)
    assert kernels.copy(data, start, stop, out, 1) == len(raw) + 1
    assert out.tobytes() == b"\0" + raw + b"\0\0\0"
    both = np.frombuffer(b"-" * shift + raw + b"--", np.uint8).copy()
    view = both.view()
    view.flags.writeable = False
    kernels.copy(view, shift, shift + len(raw), both, 0)
    assert both.tobytes()[: len(raw)] == raw


@settings(deadline=None, max_examples=200)
@given(
    st.binary(max_size=40)
    | st.lists(st.sampled_from([b"\xe2\x80", b"\xc2", b"\xa8", b"\r", b"\n", b"\xf0\x9f", b"a", b" "]), max_size=20).map(b"".join)
)
def test_any_bytes_go_through(raw):
    """Bytes that are no UTF-8 neither crash a kernel nor make it read or stay anywhere else."""
    data, start, stop = read_only(raw)
    found = np.zeros((len(data) + 1, 2), np.int64)
    for first, last in found[: _breaks(data, start, stop, found)]:
        assert start <= first <= last <= stop
    first, last = kernels.strip(data, start, stop)
    assert start <= first <= last <= stop
    assert 0 <= _repeated(data, start, stop) <= len(raw)
    assert 1 <= starts_of(data, start, stop, UNICODE)[0] <= len(raw) + 1


def starts_of(data, start, stop, mode=ENGLISH, limit=2**62):
    known = lexicon()
    words = np.empty((2, stop - start + 1), np.int32)
    found = np.empty(max_sentences(known.marks, data, start, stop), np.int64)
    count = sentence_starts(mode, known, data, start, stop, words[0], words[1], limit, found)
    return count, found[:count]


def test_marks_are_those_of_the_libraries():
    """The marks stored here are spaCy's and datatrove's."""
    sentencizer = pytest.importorskip("spacy.pipeline.sentencizer")
    text = pytest.importorskip("datatrove.utils.text")
    assert sorted(SENTENCE_MARKS) == sorted(set(sentencizer.Sentencizer.default_punct_chars))
    assert sorted(TERMINAL_PUNCTUATION) == sorted(text.TERMINAL_PUNCTUATION)


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_sentences_are_those_of_datatrove(text):
    """Any text has as many sentences as datatrove finds with spaCy, and they hold the same but for white space at their ends."""
    datatrove = pytest.importorskip("datatrove.utils.text")
    expected = datatrove.split_into_sentences(text)
    data, start, stop = read_only(text.encode())
    count, found = starts_of(data, start, stop)
    bounds = [*found.tolist(), stop]
    assert count == len(expected)
    assert [decoded(data, *pair).strip() for pair in pairwise(bounds)] == [each.strip() for each in expected]
    assert starts_of(data, start, stop, limit=2)[0] == min(2, count)


def test_sentences_of_other_languages_end_with_their_marks():
    """By Unicode's words a sentence ends with the mark of its script."""
    text = "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u6211\u4eec\u51fa\u53bb\u5427\uff01\u597d"
    data, start, stop = read_only(text.encode())
    assert starts_of(data, start, stop, UNICODE)[0] == 3
