"""Gopher's filters against plain Python, datatrove, and any bytes."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from operator_samples import PROSE, TEXTS, FakeAssets, opened, real_documents

from operators.gopher import STOP_WORDS, GopherQuality, GopherRepetition
from operators.kernels.buffers import text_buffers
from operators.kernels.punctuation import PUNCTUATION
from operators.kernels.unicode import tables
from operators.kernels.words_english import english_rules
from operators.kernels.words_unicode import ENGLISH, UNICODE, split_batch, word_tables

SYMBOLS = frozenset(PUNCTUATION)
REASONS = GopherQuality.REASONS

PIECES = [
    *("the", "be", "to", "of", "and", "that", "have", "with", "The", "word", "naïve", "日本語", "x" * 20, "don't", "e.g.", "3.14", "1st"),
    *("...", "..", ".....", "…", "#", "##", "-", "•", "- item", "• item", "word...", "word… ", "?!", "!", "“quoted”", "１", "\ufffd", "é"),
    *("\n", "\n\n", "\n\n\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", " ", "  ", "\t", "\u3000", "\0", "\x7f"),
]
SENTENCES = st.sampled_from(
    [PROSE, "one two three four five six ", "ab c d e f a bc d e f ", "a b a b a b ", "line of text\n", "paragraph\n\n"]
)
TEXT = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join),
    st.lists(st.one_of(SENTENCES, st.sampled_from(PIECES)), max_size=30).map("".join),
)


def words_of(text, mode=ENGLISH):
    """The kernel's own words: how text is split is tested elsewhere."""
    offsets, data = text_buffers(pa.array([text], pa.large_string()))
    _, bounds = split_batch(mode, english_rules(), word_tables(), tables(), offsets, data)
    return [bytes(data[start:stop]).decode() for start, stop in bounds]


def duplicates(parts):
    seen, count, chars = set(), 0, 0
    for part in parts:
        if part in seen:
            count += 1
            chars += len(part)
        seen.add(part)
    return count, chars


def repeated(words, n):
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


def repetition_signals(text, words):
    """What `GopherRepetition` measures, in plain Python."""
    if not text:
        return [None] * 13
    found = []
    for parts in (re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)):
        count, chars = duplicates(parts)
        found += [count / len(parts), chars / len(text)]
    for n in (2, 3, 4):
        runs = Counter(" ".join(words[at : at + n]) for at in range(len(words) - n + 1))
        run, count = runs.most_common(1)[0] if runs else ("", 0)
        found.append(len(run) * count / len(text) if runs else None)
    return found + [repeated(words, n) / len(text) for n in range(5, 11)]


def quality_signals(text, words, stop_words=STOP_WORDS):
    """What `GopherQuality` measures, in plain Python."""
    named = [word for word in words if any(char not in SYMBOLS for char in word)]
    mean = float(np.mean([len(word) for word in named])) if named else None
    if not words:
        return [0, 0, *[None] * 7]
    lines = text.splitlines()
    return [
        len(words),
        len(named),
        mean,
        text.count("#") / len(words),
        (text.count("...") + text.count("…")) / len(words),
        sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines),
        sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines),
        sum(any(char.isalpha() for char in word) for word in words) / len(words),
        len(set(stop_words) & set(words)),
    ]


def batch_of(*texts):
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string())})


def signals_of(operator, *texts):
    column = operator.open(FakeAssets())(batch_of(*texts)).batch.column(operator.type)
    return [list(row.values()) for row in column.to_pylist()]


def reasons_of(operator, *texts):
    return operator.open(FakeAssets())(batch_of(*texts)).reasons.to_pylist()


@pytest.mark.parametrize(("words", "mode"), [("english", ENGLISH), ("unicode", UNICODE)])
@given(text=TEXT)
@settings(max_examples=400, deadline=None)
@example(text="\n\n")
@example(text="\na\n")
def test_repetition_signals_are_those_of_plain_python(words, mode, text):
    """Every signal of any text is exactly what the definition says, given the words."""
    assert signals_of(GopherRepetition(annotate=True, words=words), text) == [repetition_signals(text, words_of(text, mode))]


@pytest.mark.parametrize(("words", "mode"), [("english", ENGLISH), ("unicode", UNICODE)])
@given(text=TEXT, stop_words=st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=40))
@settings(max_examples=400, deadline=None)
def test_quality_signals_are_those_of_plain_python(words, mode, text, stop_words):
    """Every signal of any text is exactly what the definition says, given the words; whatever the stop words are."""
    operator = GopherQuality(annotate=True, words=words, stop_words=stop_words, min_stop_words=None)
    expected = quality_signals(text, words_of(text, mode), stop_words)
    assert signals_of(operator, text) == [expected]


SHARE = st.one_of(st.none(), st.sampled_from([0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0]))


@given(text=TEXT, flat=st.lists(SHARE, min_size=4, max_size=4), runs=st.lists(SHARE, min_size=9, max_size=9))
@settings(max_examples=400, deadline=None)
def test_repetition_drops_at_the_first_test_that_fails(text, flat, runs):
    """Whatever the thresholds: the reason is the first share above its own; 0 is no test of lines and paragraphs."""
    flat = dict(zip(("dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"), flat, strict=True))
    top, dup = dict(zip((2, 3, 4), runs, strict=False)), dict(zip(range(5, 11), runs[3:], strict=True))
    limits = [*(value or None for value in flat.values()), *runs]
    found = repetition_signals(text, words_of(text))
    names = GopherRepetition.REASONS[1:]
    failed = [name for name, value, limit in zip(names, found, limits, strict=True) if None not in (value, limit) and value > limit]
    expected = ["empty"] if not text else failed[:1] or [None]
    operator = GopherRepetition(**flat, top_n_grams=top, dup_n_grams=dup)
    assert reasons_of(operator, text) == expected
    assert reasons_of(operator.model_copy(update={"keep_signals": True}), text) == expected


@given(text=TEXT, data=st.data())
@settings(max_examples=400, deadline=None)
def test_quality_drops_at_the_first_test_that_fails(text, data):
    """Whatever the thresholds: the reason is the first test of datatrove's order that fails; a text without words is too short."""
    number = {
        "min_doc_words": st.sampled_from([None, 0, 1, 3, 10]),
        "max_doc_words": st.sampled_from([None, 0, 2, 20]),
        "min_avg_word_length": st.sampled_from([None, 0, 1, 3, 4.5]),
        "max_avg_word_length": st.sampled_from([None, 0, 3, 10]),
        "min_stop_words": st.sampled_from([None, 0, 1, 2, 5]),
        **dict.fromkeys(
            ("max_symbol_word_ratio", "max_bullet_lines_ratio", "max_ellipsis_lines_ratio", "max_non_alpha_words_ratio"), SHARE
        ),
    }
    limit = data.draw(st.fixed_dictionaries(number))
    for what in ("doc_words", "avg_word_length"):
        assume(not limit[f"max_{what}"] or (limit[f"min_{what}"] or 0) <= limit[f"max_{what}"])
    num_words, named, mean, hashes, ellipses, bullets, ends, alphas, stops = quality_signals(text, words_of(text))
    tests = [
        ("min_doc_words", lambda least: named < least),
        ("max_doc_words", lambda most: named > most),
        ("min_avg_word_length", lambda least: mean is not None and mean < least),
        ("max_avg_word_length", lambda most: mean is not None and mean > most),
        ("max_symbol_word_ratio", lambda most: hashes > most),
        ("max_symbol_word_ratio", lambda most: ellipses > most),
        ("max_bullet_lines_ratio", lambda most: bullets > most),
        ("max_ellipsis_lines_ratio", lambda most: ends > most),
        ("max_non_alpha_words_ratio", lambda least: alphas < least),
        ("min_stop_words", lambda least: stops < least),
    ]
    expected = "gopher_short_doc"
    if num_words:
        failed = (reason for reason, (name, fails) in zip(REASONS, tests, strict=True) if limit[name] and fails(limit[name]))
        expected = next(failed, None)
    operator = GopherQuality(**limit)
    assert reasons_of(operator, text) == [expected]
    assert reasons_of(operator.model_copy(update={"keep_signals": True}), text) == [expected]


@given(blocks=st.lists(st.binary(max_size=40), max_size=8))
@settings(max_examples=300, deadline=None)
@example(blocks=[b"\xe2", b"\xe2\x80", b"...\xe2\x80", b"\xf0\x9f", b"\xc2"])
def test_any_bytes_are_judged(blocks):
    """Bytes that are no UTF-8, cut off anywhere, give some verdict and never an error."""
    offsets = np.cumsum([0, *map(len, blocks)]).astype(np.int64)
    text = pa.LargeStringArray.from_buffers(len(blocks), pa.py_buffer(offsets), pa.py_buffer(b"".join(blocks)))
    batch = pa.RecordBatch.from_arrays([text], ["text"])
    for operator in (GopherRepetition(), GopherRepetition(annotate=True), GopherQuality(), GopherQuality(annotate=True)):
        assert operator.open(FakeAssets())(batch).batch.num_rows == len(blocks)


@pytest.mark.parametrize("block", ["GopherRepetitionFilter", "GopherQualityFilter"])
def test_real_documents_are_judged_as_datatrove_does(block):
    """Verdict and reason are the same on pages, code, short and odd documents."""
    filters = pytest.importorskip("datatrove.pipeline.filters")
    from datatrove.data import Document

    batch = real_documents("web-thirdparty-00003", "edge-00000", "synthetic-00000", "code-00000", "multi-00003", limit=20)
    theirs = getattr(filters, block)()
    ours = opened(GopherRepetition() if block == "GopherRepetitionFilter" else GopherQuality())(batch)
    for row, reason in zip(batch.to_pylist(), ours.reasons.to_pylist(), strict=True):
        if len(row["text"]) > 50_000:
            continue
        verdict = theirs.filter(Document(text=row["text"], id=row["id"]))
        assert (None if verdict is True else verdict[1]) == reason, row["id"]


def test_vendored_punctuation_is_datatroves():
    """What a word must not consist of is the set that datatrove has."""
    theirs = pytest.importorskip("datatrove.utils.text")
    assert SYMBOLS == theirs.PUNCTUATION_SET


def test_texts_of_many_megabytes_go_through():
    """50 MB of prose, of one word, of marks, and of line feeds are judged, and the small documents beside them as ever."""
    size = 50_000_000
    long = {
        PROSE * (size // len(PROSE)): ("duplicated_5_n_grams", "gopher_long_doc"),
        "x" * size: (None, "gopher_short_doc"),
        "! " * (size // 10): ("top_2_gram", "gopher_short_doc"),
        "\n" * size: ("dup_line_frac", "gopher_short_doc"),
    }
    for text, (repetition, quality) in long.items():
        assert reasons_of(GopherRepetition(), "", text, TEXTS[0]) == ["empty", repetition, *reasons_of(GopherRepetition(), TEXTS[0])]
        assert reasons_of(GopherQuality(), TEXTS[0], text, TEXTS[1]) == [None, quality, "gopher_short_doc"]


def test_few_stop_words_are_found_wherever_they_stand():
    """Counting ends early only when there are enough of them."""
    text = "x " * 60 + "the end of"
    assert reasons_of(GopherQuality(min_avg_word_length=None), text, "x " * 60 + "the The") == [None, "gopher_enough_stop_words"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_n_grams": {5: 0.1}}, "expected 2, 3, 4"),
        ({"dup_n_grams": {4: 0.1}}, "expected 5, 6, 7, 8, 9, 10"),
        ({"dup_n_grams": [[5, 0.1], [5, 0.2]]}, "twice"),
        ({"dup_n_grams": [5, 6]}, "list of pairs"),
        ({"dup_line_frac": -0.1}, "at least 0"),
        ({"dup_n_grams": {5: -1}}, "at least 0"),
        ({"dup_line_frac": -1}, "at least 0"),
        ({"dup_line_frac": float("nan")}, "at least 0"),
        ({"dup_line_frac": 30}, "at most 1"),
        ({"top_n_grams": {2: 1.5}}, "at most 1"),
        ({"dup_n_grams": [[5, 15]]}, "at most 1"),
        ({"dup_n_grams": {5: True}}, "true is no threshold"),
        ({"dup_line_frac": "bylanguage"}, "dup_line_frac"),
        ({"preset": "gopher@papers"}, "gopher@paper"),
    ],
)
def test_wrong_thresholds_are_refused(given, message):
    """A threshold that could not be meant is told apart by its name and what was expected."""
    with pytest.raises(ValueError, match=message):
        GopherRepetition(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_doc_words": -1}, "at least 0"),
        ({"min_doc_words": True}, "true is no threshold"),
        ({"max_doc_words": float("inf")}, "at least 0"),
        ({"max_symbol_word_ratio": float("nan")}, "at least 0"),
        ({"max_bullet_lines_ratio": 90}, "at most 1"),
        ({"max_ellipsis_lines_ratio": 1.1}, "at most 1"),
        ({"max_non_alpha_words_ratio": 80}, "at most 1"),
        ({"min_doc_words": 50, "max_doc_words": 49}, "min_doc_words .50. is above max_doc_words .49."),
        ({"max_avg_word_length": 2}, "min_avg_word_length .3. is above max_avg_word_length .2."),
        ({"stop_words": []}, "no document could pass"),
        ({"stop_words": ["the", "the"]}, "1 different words"),
    ],
)
def test_settings_that_no_document_could_meet_are_refused(given, message):
    """Neither are numbers that are none, percentages in place of shares, nor bounds that leave nothing between them."""
    with pytest.raises(ValueError, match=message):
        GopherQuality(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"min_doc_words": 0, "max_doc_words": 0},
        {"max_doc_words": None},
        {"max_doc_words": 50},
        {"max_avg_word_length": 0},
        {"max_symbol_word_ratio": 2},
        {"max_bullet_lines_ratio": 1},
        {"stop_words": [], "min_stop_words": 0},
        {"stop_words": [], "min_stop_words": None},
    ],
)
def test_what_is_not_tested_bounds_nothing(given):
    """0 and null mean that there is no such test; ratios, which are no shares, may be above 1."""
    assert GopherQuality(**given).model_dump(include=set(given)) == given


def test_pairs_and_mappings_say_the_same():
    """FineWeb-2's YAML has lists of pairs."""
    assert GopherRepetition(dup_n_grams=[[5, 0.1], [6, 0.2]]).dup_n_grams == {5: 0.1, 6: 0.2}
    assert GopherRepetition(dup_n_grams=[[5, 0.1]]) == GopherRepetition(dup_n_grams={"5": 0.1})
