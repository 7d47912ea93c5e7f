"""Number of sentences over Arrow buffers, as datatrove counts them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_samples import SHARED

from operators.kernels.buffers import text_buffers
from operators.kernels.sentence_starts import lexicon, sentence_starts
from operators.kernels.words_unicode import ENGLISH

EXAMPLES = [
    ("", 1),
    ("One. Two! Three?", 3),
    ("No end", 1),
    ("Mr. Smith said (he did.) \u201cGo.\u201d And went", 3),
    ("Wait... what?! Yes", 2),
    ("Hello.  World", 2),
    ("Hello.\n", 2),
    ("Hello. ", 1),
    ("\u4f60\u597d \u3002 \u4e16\u754c", 2),
    ("see a.b. (c) 3.5 . 4", 3),
]
PIECES = [
    "Hello",
    "a",
    "U.S.",
    "Mr.",
    "5",
    ".",
    "!",
    "?",
    "...",
    "\u3002",
    "\u0964",
    ")",
    "\u201d",
    "'",
    "$",
    "\u2026",
    "(",
    "don't",
    "\u00e9",
    "!?",
]
SPACES = ["", " ", " ", " ", "  ", "\n", "\t", "\u00a0", " \n"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.sampled_from(SPACES), max_size=24).map("".join)


def sentences(text: str, limit: int | None = None) -> tuple[int, list[int]]:
    """How many sentences the kernel of C4's rules finds, and the bytes at which they begin."""
    offsets, data = text_buffers(pa.array([text], pa.large_string()))
    starts, ends, found = np.empty(len(data) + 1, np.int32), np.empty(len(data) + 1, np.int32), np.empty(len(data) + 1, np.int64)
    most = len(data) + 1 if limit is None else limit
    count = int(sentence_starts(ENGLISH, lexicon(), data, offsets[0], offsets[1], starts, ends, most, found))
    return count, found[:count].tolist()


def counts(texts: list[str]) -> list[int]:
    """The numbers of sentences that the kernel finds."""
    return [sentences(text)[0] for text in texts]


@pytest.fixture(scope="session")
def datatrove_count():
    """`len(split_into_sentences(text))` of datatrove, for English."""
    pytest.importorskip("spacy")
    text = pytest.importorskip("datatrove.utils.text")
    return lambda value: len(text.split_into_sentences(value))


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_sentences(text, expected):
    """A sentence ends with a mark, and punctuation after the mark belongs to it."""
    assert counts([text]) == [expected]


@settings(deadline=None, max_examples=1000)
@given(TEXTS | st.text())
def test_sentences_are_those_of_datatrove(datatrove_count, text):
    """Whatever marks and white space stand side by side."""
    assume("IS_ALPHA" not in text)
    assert counts([text]) == [datatrove_count(text)]


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.integers(1, 9))
def test_counting_stops_at_the_limit(text, limit):
    """With a limit there are as many sentences as without, but no more than that, and they begin in the same places."""
    count, places = sentences(text)
    assert sentences(text, limit) == (min(count, limit), places[:limit])
    assert places == sorted(set(places))


def test_sentences_of_real_lines(datatrove_count):
    """Lines of books, papers, web pages, code and other languages."""
    paths = sorted((SHARED / "data" / "docs").glob("*.parquet"))
    if not paths:
        pytest.skip(f"real documents are absent: {SHARED / 'data' / 'docs'}")
    texts = [text for path in paths for text in pq.read_table(path, columns=["text"])["text"].to_pylist()[::100] if text]
    lines = [line.strip() for text in texts for line in text.splitlines()[:12] if "IS_ALPHA" not in line]
    found = counts(lines)
    assert [line for line, number in zip(lines, found, strict=True) if datatrove_count(line) != number] == []
