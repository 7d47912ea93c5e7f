"""C4's filters: lines, signals and text against plain Python, decisions, presets, and what any bytes do to them."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS
from pydantic import ValidationError

from operators.c4 import C4Paragraph, C4Quality
from operators.kernels import boilerplate

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")
NAMES = [signal.name for signal in C4Quality.SIGNALS]
PROSE = "It was a good day for all of them. They went home. The sun shone. Nobody spoke! Why would they? So it was."

PHRASES = [
    "javascript",
    "JavaScript",
    "lorem ipsum",
    "Lorem\u00a0ipsum",
    "Terms of Use",
    "privacy policy",
    "coo\u212aie policy",
    "uses Coo\u212aies",
    "use of cookies",
    "use cookies",
    "cookie pol\u0130cy",
    "LOREM \u0130PSUM",
    "java[1]script",
]
MARKS = [*".?!\"'", "...", "{", "[", "]", "[1]", "[\u0663\u0664]", "[edit]", "[citation needed]", "[]", "[12", "[[3]]", "[1]."]
SPACES = [" ", "  ", "\n", "\r\n", "\n\n", "\t", "\u2028", "\x85", "\u3000", "\x1c", "\x1f"]
PIECES = st.sampled_from(["word", "Another", "a", "e.g.", "\u00e9\u4f60", "\u3002", "verylongword", *PHRASES, *MARKS]) | st.text(max_size=2)
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from([" ", *SPACES])), max_size=25).map(lambda pairs: "".join(map("".join, pairs)))
LIMITS = {
    "split_paragraph": st.booleans(),
    "remove_citations": st.booleans(),
    "filter_no_terminal_punct": st.booleans(),
    "min_num_sentences": st.sampled_from([None, -1, 0, 1, 2, 5]),
    "min_words_per_line": st.sampled_from([None, -1, 0, 2, 3]),
    "max_word_length": st.sampled_from([None, -1, 0, 3, 9, 1000]),
    "filter_lorem_ipsum": st.booleans(),
    "filter_javascript": st.booleans(),
    "filter_curly_bracket": st.booleans(),
    "filter_policy": st.booleans(),
}


def applied(texts, **given_settings):
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    result = C4Quality(**given_settings).open(ASSETS)(batch)
    result.batch.validate(full=True)
    reasons = result.reasons.to_pylist() if result.reasons is not None else [None] * len(texts)
    return reasons, result.batch.column("text").to_pylist(), result.batch


def limit(value):
    return -1 if value is None else value


def fate(rules, line):
    """What becomes of a line in plain Python, the line that is left, and its citations."""
    line = line.strip()
    words = line.split()
    longest = limit(rules.max_word_length)
    if longest != -1 and any(len(word) > longest for word in words):
        return "lines_too_long_word", line, 0
    citations = 0
    if rules.remove_citations:
        line, citations = CITATION.subn("", line)
    lower = line.lower()
    tests = (
        (
            "lines_no_terminal_punct",
            rules.filter_no_terminal_punct and (not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...")),
        ),
        ("lines_too_few_words", len(words) < limit(rules.min_words_per_line)),
        ("lines_lorem_ipsum", rules.filter_lorem_ipsum and "lorem ipsum" in lower),
        ("lines_javascript", rules.filter_javascript and "javascript" in lower),
        ("lines_curly_bracket", rules.filter_curly_bracket and "{" in line),
        ("lines_policy", rules.filter_policy and any(phrase in lower for phrase in POLICY)),
    )
    return next((name for name, failed in tests if failed), "lines_kept"), line, citations


def expected(rules, text):
    """Signals, reason and text in plain Python; sentences by datatrove."""
    sentences_of = pytest.importorskip("datatrove.utils.text").split_into_sentences
    signals = dict.fromkeys(NAMES, 0)
    kept, reason = [], None
    for unit in text.splitlines() if rules.split_paragraph else sentences_of(text):
        name, line, citations = fate(rules, unit)
        signals["lines"] += 1
        signals[name] += 1
        signals["citations"] += citations
        if name in ("lines_lorem_ipsum", "lines_curly_bracket"):
            reason = reason or name.removeprefix("lines_")
        if name == "lines_kept":
            signals["sentences"] += len(sentences_of(line)) if rules.split_paragraph else 1
            kept.append(line)
    if reason is None and signals["sentences"] < limit(rules.min_num_sentences):
        reason = "too_few_sentences"
    joined = ("\n" if rules.split_paragraph else " ").join(kept).strip()
    return signals, reason, text if reason else joined


@settings(deadline=None, max_examples=300)
@given(st.lists(TEXTS, max_size=4), st.fixed_dictionaries(LIMITS))
def test_lines_signals_and_text_are_plain_pythons(texts, chosen):
    """Under any settings, any texts have Python's signals, reasons and remaining text, all measured or not."""
    rules = C4Quality(**chosen)
    reference = [expected(rules, text) for text in texts]
    reasons, edited, batch = applied(texts, keep_signals=True, **chosen)
    assert batch.column("c4_quality").to_pylist() == [signals for signals, _, _ in reference]
    assert (reasons, edited) == ([reason for _, reason, _ in reference], [text for _, _, text in reference])
    assert applied(texts, **chosen)[:2] == (reasons, edited)


@settings(deadline=None, max_examples=200)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_annotating_edits_and_drops_nothing(texts):
    """`annotate` only adds the signals, the same that are kept otherwise."""
    reasons, same, batch = applied(texts, annotate=True)
    assert (reasons, same) == ([None] * len(texts), texts)
    assert batch.column("c4_quality").equals(applied(texts, keep_signals=True)[2].column("c4_quality"))


@settings(deadline=None, max_examples=500)
@given(
    st.lists(st.sampled_from([*PHRASES, *MARKS, "coo", "vac", "f u", "{", "x", " ", "xxxxxxxx"]) | st.text(max_size=3), max_size=12).map(
        "".join
    ),
    st.integers(0, 9),
)
def test_nothing_is_missed_by_the_quick_look(text, shift):
    """What the pass over eight bytes at a time rules out is not in the text, wherever in the buffer that lies."""
    raw = text.encode()
    data = np.frombuffer(b"{" * shift + raw + b"[javascript{", np.uint8)
    found = boilerplate.candidates(data, shift, shift + len(raw))
    kinds = boilerplate.phrases(data, shift, shift + len(raw))
    lower = text.lower()
    assert bool(found & boilerplate.CURLY) == ("{" in text)
    assert bool(found & boilerplate.BRACKET) == ("[" in text)
    assert bool(kinds & boilerplate.JAVASCRIPT) == ("javascript" in lower)
    assert bool(kinds & boilerplate.LOREM_IPSUM) == ("lorem ipsum" in lower)
    assert bool(kinds & boilerplate.POLICY) == any(phrase in lower for phrase in POLICY)
    assert found & boilerplate.PHRASE or not kinds


def test_phrases_end_where_the_line_ends():
    """A phrase that goes on in the next line is none."""
    text = f"{PROSE}\nThey speak of java\nscript here, and of lorem\nipsum, and more."
    assert applied([text], filter_no_terminal_punct=False)[1] == [text]


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ("Only prose that ends well.", True),
        ('He said "so it is"', True),
        ("There is no end to it", False),
        ("And then it went on...", False),
        ("Two words.", False),
        ("Turn on JavaScript to see this.", False),
        ("This site uses cookies for that.", False),
        ("word " + "x" * 1001 + " of the longest.", False),
        ("word " + "\u00e9" * 1000 + " of the longest.", True),
    ],
)
def test_lines_that_are_no_prose_are_cut(line, stays):
    """Each test cuts its line, and the rest stays as it was."""
    assert applied([f"{PROSE}\n{line}\n{PROSE}"])[:2] == ([None], [f"{PROSE}\n{line}\n{PROSE}" if stays else f"{PROSE}\n{PROSE}"])


def test_first_reason_in_the_text_counts():
    """A document goes for what comes first in it, and its text stays for whoever looks at it."""
    latin, bracket = "This is lorem ipsum, no more.", "if (this) { is code; }."
    texts = [f"{PROSE}\n{latin}\n{bracket}", f"{PROSE}\n{bracket}\n{latin}", "Too short, this one."]
    reasons, same, _ = applied(texts)
    assert (reasons, same) == (["lorem_ipsum", "curly_bracket", "too_few_sentences"], texts)
    assert applied(texts, keep_signals=True)[0] == reasons


def test_texts_that_do_not_change_are_not_copied():
    """Where no text of a batch changes, its buffers come out as they went in."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array([PROSE, "short", PROSE], pa.large_string())})
    result = C4Quality().open(ASSETS)(batch)
    assert result.batch.column("text").buffers()[2].address == batch.column("text").buffers()[2].address


def test_presets_differ_where_their_sources_do():
    """FineWeb keeps lines without terminal marks; C4's paper wants longer lines and fewer sentences."""
    text = f"{PROSE}\nNo mark at the end of it\nFour words in it."
    outcomes = {
        name: applied([text, "One two three four five. It is. It was."], preset=name)[:2]
        for name in ("datatrove@0.10", "fineweb@v1", "c4@paper")
    }
    short = "One two three four five. It is. It was."
    assert outcomes["datatrove@0.10"] == ([None, "too_few_sentences"], [f"{PROSE}\nFour words in it.", short])
    assert outcomes["fineweb@v1"] == ([None, "too_few_sentences"], [text, short])
    assert outcomes["c4@paper"] == ([None, None], [PROSE, short])
    assert C4Quality(preset="c4@paper", min_num_sentences=9).min_words_per_line == 5


def test_settings_that_make_no_sense_are_refused():
    """Limits below -1 and unknown presets are errors."""
    for wrong in ({"min_num_sentences": -2}, {"preset": "c4@9"}, {"max_word_length": "long"}):
        with pytest.raises(ValidationError):
            C4Quality.model_validate(wrong)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.binary(max_size=50)
        | st.lists(
            st.sampled_from([b"[", b"[1", b"]", b"\xe2\x84", b"\xaa", b"coo", b"ies", b". ", b"\xe2\x80", b"\n", b"\xf0\x9f", b"{"]),
            max_size=20,
        ).map(b"".join),
        max_size=4,
    ),
    st.sampled_from(["english", "unicode"]),
    st.booleans(),
)
def test_any_bytes_are_judged(raws, words, split_paragraph):
    """Bytes that are no UTF-8 get a verdict like others, the same in any company, and no text grows but by blanks between sentences."""
    offsets = np.cumsum([0, *map(len, raws)]).astype(np.int64)
    text = pa.LargeStringArray.from_buffers(len(raws), pa.py_buffer(offsets), pa.py_buffer(b"".join(raws)))
    batch = pa.RecordBatch.from_arrays([text], ["text"])
    judge = C4Quality(words=words, split_paragraph=split_paragraph, min_num_sentences=1, min_words_per_line=None).open(ASSETS)
    result = judge(batch)
    edited = result.batch.column("text").cast(pa.large_binary()).to_pylist()
    alone = [judge(batch.slice(row, 1)) for row in range(len(raws))]
    assert result.reasons.to_pylist() == [each.reasons.to_pylist()[0] for each in alone]
    assert edited == [each.batch.column("text").cast(pa.large_binary()).to_pylist()[0] for each in alone]
    assert all(len(new) <= (1 if split_paragraph else 2) * len(old) for new, old in zip(edited, raws, strict=True))


def test_long_and_short_documents_go_through():
    """Documents of 50 MB, of millions of lines and of one word, one of marks alone, an empty and a one-character one are judged."""
    line = "Three words here.\n"
    texts = [line * (50_000_000 // len(line)), "x" * 50_000_000, "", "x", ". " * 1_000_000]
    reasons, edited, _ = applied(texts)
    assert reasons == [None, *["too_few_sentences"] * 4]
    assert edited == [texts[0].strip(), *texts[1:]]


def test_null_is_an_error_and_disturbs_nobody():
    """A null text stays null between texts that change."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array([f" {PROSE}", None, f"{PROSE}\nx"], pa.large_string())})
    result = C4Quality().open(ASSETS)(batch)
    assert result.batch.column("text").to_pylist() == [PROSE, None, PROSE]
    assert list(result.errors) == [1]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(st.sampled_from(["\u00e9" * 3, "ab", "abc", "", "\U0001f600" * 2, "abcdef"]), max_size=5).map("\n".join), max_size=4),
    st.integers(0, 4),
    st.integers(0, 6),
)
def test_paragraphs_are_long_lines(texts, fewest, length):
    """A document stays with enough lines of enough characters."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})
    reasons = C4Paragraph(min_paragraphs=fewest, min_paragraph_len=length).open(ASSETS)(batch).reasons
    enough = [sum(len(line) >= length for line in text.split("\n")) >= fewest for text in texts]
    assert reasons.to_pylist() == [None if each else "too_few_paragraphs" for each in enough]
