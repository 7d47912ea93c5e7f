"""FineWeb's filter: each signal against plain Python, decisions, presets, and what any bytes do to it."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import FakeAssets
from pydantic import ValidationError

from operators.fineweb import FineWebQuality
from operators.kernels.marks import TERMINAL_PUNCTUATION

TABLE = {
    "deu_Latn": {"line_punct_thr": 0.0, "new_line_ratio": 0.152},
    "fra_Latn": {"line_punct_thr": 0.9, "new_line_ratio": 0.3},
}
PROSE = "The people of the town went to the market, and this is what they found there.\nIt was a good day for all of them.\n"
LINES = st.sampled_from(
    [
        "A line of prose that ends with a mark.",
        "short",
        "\u4f60\u597d\u3002",
        "Bullet list entry without any mark at the end of it",
        "'quoted'",
        " \t",
        "",
        "\u00e9\u00e9!",
        "x" * 31,
        "don't stop",
    ]
)
TEXTS = st.lists(LINES | st.text(max_size=12), max_size=12).map("\n".join)


class TableAssets(FakeAssets):
    """A worker that has a table of two languages."""

    def tables(self, uri):
        return TABLE


def applied(texts, languages=None, **given_settings):
    columns = {"text": pa.array(texts, pa.large_string())}
    if languages is not None:
        columns["language"] = pa.array(languages)
    result = FineWebQuality(**given_settings).open(TableAssets())(pa.RecordBatch.from_pydict(columns))
    return result.reasons.to_pylist() if result.reasons is not None else [None] * len(texts), result.batch


def measured(text, stop_chars=tuple(TERMINAL_PUNCTUATION), short=30):
    """The signals of a text in plain Python, its words by datatrove."""
    words = pytest.importorskip("datatrove.utils.text").split_into_words(text)
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return {"lines": 0, "line_punct_ratio": None, "short_line_ratio": None, "char_dup_ratio": None, "list_ratio": None, "words": 0}
    repeated = sum(len(line) for index, line in enumerate(lines) if line in lines[:index])
    return {
        "lines": len(lines),
        "line_punct_ratio": sum(line.endswith(stop_chars) for line in lines) / len(lines),
        "short_line_ratio": sum(len(line) <= short for line in lines) / len(lines),
        "char_dup_ratio": repeated / len(text.replace("\n", "")),
        "list_ratio": text.count("\n") / len(words),
        "words": len(words),
    }


@settings(deadline=None, max_examples=200)
@given(st.lists(TEXTS, max_size=3))
def test_signals_are_what_plain_python_measures(texts):
    """Every signal of any text is exactly Python's."""
    _, batch = applied(texts, annotate=True)
    assert batch.column("fineweb_quality").to_pylist() == [measured(text) for text in texts]


@settings(deadline=None, max_examples=200)
@given(
    TEXTS,
    st.lists(st.text(min_size=1, max_size=2) | st.sampled_from([".", "...", "mark.", "\u3002"]), min_size=1, max_size=4),
    st.integers(0, 40),
)
def test_stop_chars_may_be_any_strings(text, stop_chars, short):
    """A line ends with one of the strings as `str.endswith` has it, and is short by its characters."""
    _, batch = applied([text], annotate=True, stop_chars=stop_chars, short_line_length=short)
    assert batch.column("fineweb_quality").to_pylist() == [measured(text, tuple(stop_chars), short)]


@settings(deadline=None, max_examples=150)
@example([" \t\nshort"], None, 0.5)
@given(st.lists(TEXTS, max_size=4), st.sampled_from([None, 0.0, 0.1, 0.5]), st.sampled_from([None, 0.0, 0.2, 0.5, 3.0]))
def test_lazy_decisions_are_those_of_all_signals(texts, dup, new_line):
    """What is decided while stopping early is what all signals say, whatever the thresholds."""
    chosen = {"line_punct_thr": None, "short_line_thr": None, "char_duplicates_ratio": dup, "new_line_ratio": new_line}
    lazy, _ = applied(texts, **chosen)
    full, batch = applied(texts, keep_signals=True, **chosen)
    expected = []
    for signals in batch.column("fineweb_quality").to_pylist():
        tests = [("char_dup_ratio", dup), ("list_ratio", new_line)]
        failed = (name for name, limit in tests if limit is not None and signals[name] is not None and signals[name] > limit)
        expected.append("empty" if signals["lines"] == 0 else next(failed, None))
    assert lazy == full == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        ("", "empty"),
        (" \n\t\n", "empty"),
        ("a line that does not end with any mark at all\n" * 3, "line_punct_ratio"),
        ("Short.\nAlso short.\nAnd short, too.", "short_line_ratio"),
        (PROSE * 2, "char_dup_ratio"),
        ("\n\n\n".join(f"Supercalifragilistic{n} expialidocious." for n in range(9)), "list_ratio"),
    ],
)
def test_each_reason_is_given(text, reason):
    """Each test drops for its reason, in the order of the tests."""
    assert applied([text])[0] == [reason]


def test_long_texts_are_counted_in_stretches():
    """A list longer than a stretch is judged by all of its words."""
    lines = [f"number{n} of a list that goes on and on." for n in range(5000)]
    text = "\n\n\n".join(lines)
    assert applied([text], new_line_ratio=0.333)[0] == [None]
    assert applied([text], new_line_ratio=0.25)[0] == ["list_ratio"]
    assert applied([text], annotate=True)[1].column("fineweb_quality").to_pylist() == [measured(text)]


def test_documents_without_any_mark_can_pass():
    """`line_punct_exclude_zero` lets a ratio of exactly zero pass, and no other."""
    lines = [f"line {n} that does not end with any mark, though it is long enough" for n in range(20)]
    texts = ["\n".join(lines), "\n".join([*lines, "But the last of them does, as prose has it."])]
    assert applied(texts, line_punct_exclude_zero=True)[0] == [None, "line_punct_ratio"]
    assert applied(texts)[0] == ["line_punct_ratio"] * 2


def test_presets_differ_where_their_sources_do():
    """FineWeb's code knows quotes but no other scripts, its paper allows ten times the repetition."""
    quoted = "\n".join(f"'A line between quotes, number {n} of a few that are long enough'" for n in range(9))
    chinese = "\n".join("\u4f60" * 31 + f"{n}\u3002" for n in range(9))
    repeated = "\n".join(
        [*(f"A line of prose, number {n} of quite a few of them." for n in range(30)), *["It said this twice, a line of prose."] * 2]
    )
    outcomes = {
        name: applied([quoted, chinese, repeated], preset=name, new_line_ratio=None)[0]
        for name in ("datatrove@0.10", "fineweb@v1-code", "fineweb@paper")
    }
    assert outcomes == {
        "datatrove@0.10": ["line_punct_ratio", None, "char_dup_ratio"],
        "fineweb@v1-code": [None, "line_punct_ratio", "char_dup_ratio"],
        "fineweb@paper": [None, "line_punct_ratio", None],
    }


def test_thresholds_by_language_are_each_documents_own():
    """FineWeb-2's table decides by the document's language; a language without a line has no thresholds."""
    text = "Eine Zeile, die nicht mit einem Zeichen endet\nNoch eine Zeile Text, die auch keines hat\nDas Ende."
    languages = ["deu_Latn", "de", "fra_Latn", "xyz", None]
    reasons, _ = applied([text] * 5, languages, preset="fineweb2@by-language", thresholds="table")
    assert reasons == [None, None, "line_punct_ratio", "no_thresholds", "no_thresholds"]


def test_settings_that_make_no_sense_are_refused():
    """Negative thresholds, shares above 1, what is no number, no marks at all, empty strings and unknown presets are errors."""
    for wrong in (
        {"line_punct_thr": -1},
        {"line_punct_thr": 12},
        {"line_punct_thr": True},
        {"char_duplicates_ratio": 1.01},
        {"char_duplicates_ratio": float("nan")},
        {"new_line_ratio": float("inf")},
        {"stop_chars": []},
        {"stop_chars": [""]},
        {"preset": "fineweb@9"},
        {"short_line_thr": "by_language"},
    ):
        with pytest.raises(ValidationError):
            FineWebQuality.model_validate(wrong)
    for right in ({"short_line_thr": 999}, {"new_line_ratio": 7.25}, {"line_punct_thr": 1}, {"char_duplicates_ratio": 0}):
        assert FineWebQuality.model_validate(right).model_dump(include=set(right)) == right


def test_null_is_an_error_and_disturbs_nobody():
    """A null text among others is an error of its row and has no signals."""
    batch = pa.RecordBatch.from_pydict({"text": pa.array([PROSE, None, ""], pa.large_string())})
    result = FineWebQuality(keep_signals=True).open(TableAssets())(batch)
    assert result.reasons.to_pylist()[::2] == [None, "empty"]
    assert list(result.errors) == [1]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(["english", "unicode"]))
def test_any_bytes_are_judged(raws, words):
    """Bytes that are no UTF-8 get a verdict like others, the same in any company."""
    offsets = np.cumsum([0, *map(len, raws)]).astype(np.int64)
    text = pa.LargeStringArray.from_buffers(len(raws), pa.py_buffer(offsets), pa.py_buffer(b"".join(raws)))
    batch = pa.RecordBatch.from_arrays([text], ["text"])
    judge = FineWebQuality(words=words, keep_signals=True).open(TableAssets())
    result = judge(batch)
    alone = [judge(batch.slice(row, 1)).reasons.to_pylist()[0] for row in range(len(raws))]
    assert result.reasons.to_pylist() == alone
    for signals in result.batch.column("fineweb_quality").to_pylist():
        assert all(value is None or math.isinf(value) or value >= 0 for value in signals.values())


def test_long_and_short_documents_go_through():
    """A document of 50 MB with millions of lines, an empty and a one-character one are judged."""
    reasons, _ = applied(["ab\n" * (50_000_000 // 3), "", "x", "." * 50_000_000])
    assert reasons == ["line_punct_ratio", "empty", "line_punct_ratio", None]
