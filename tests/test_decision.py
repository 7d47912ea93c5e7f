"""The tests that operators declare are those by which they decide: from signals alone comes the same reason."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import (
    ASSETS,
    PROSE,
    SHARED,
    TEXTS,
    FakeAssets,
    documents,
    opened,
    outcome,
    real_documents,
    sample_settings,
    small_fasttext,  # noqa: F401 -- fixture
    small_tokenizer,  # noqa: F401 -- fixture
)
from pydantic import TypeAdapter
from test_quality import TABLE, Tables
from thresholds_made import study_of

from operators import BY_TYPE, AnyOperator, C4Quality, FineWebQuality, GopherQuality, GopherRepetition, LanguageFilter
from operators.base import BatchOperator
from operators.decision import failing, verdicts
from pipelines.threshold_study import moved

ADAPTER: TypeAdapter[BatchOperator] = TypeAdapter(AnyOperator)

NO_TESTS = {
    "bad_words": "a word is on the list or is not; its detail tells which",
    "datatrove": "its blocks tell reasons, no signals",
    "extract_html": "a page has text or has not",
    "filter_where": "its condition may be anything; the columns in it are signals already",
    "normalize_text": "it drops nothing",
    "pii_redact": "it drops nothing",
    "sample": "a lot is no signal of the document: moving the rate moves the drop by as much",
    "tokenize": "it drops nothing",
    "url_filter": "an entry is in the URL or is not; its detail tells which",
}
"""Operators that declare no tests, and why."""

REAL = ("code-00000", "dups-00000", "edge-00000", "en-open-00002", "multi-00001", "synthetic-00000", "web-thirdparty-00000")
LID = SHARED / "data" / "assets" / "lid" / "lid.176.ftz"
TABLE_NAMES = ("deu_Latn", "srp_Cyrl", "xxx")


def cases(fasttext):
    """Operators with thresholds, under settings that make many reasons occur."""
    evals = sample_settings("t", "m")["decontaminate"]["evals"]
    by_language = {"preset": "fineweb2@by-language", "thresholds": "table"}
    zero_runs = {"top_n_grams": {2: 0, 3: None}, "dup_n_grams": {7: 0.01}}
    some = [
        {"type": "gopher_repetition"},
        {"type": "gopher_repetition", "dup_line_frac": 0, "dup_para_frac": None, **zero_runs, "words": "unicode"},
        {"type": "gopher_repetition", **by_language},
        {"type": "gopher_quality"},
        {
            "type": "gopher_quality",
            "min_doc_words": None,
            "max_doc_words": 60,
            "max_bullet_lines_ratio": 0.05,
            "max_symbol_word_ratio": 0.01,
        },
        {"type": "gopher_quality", **by_language},
        {"type": "c4_quality"},
        {"type": "c4_quality", "preset": "c4@paper", "filter_curly_bracket": False, "split_paragraph": False},
        {"type": "c4_quality", "min_num_sentences": -1},
        {"type": "c4_paragraph", "min_paragraph_len": 30},
        {"type": "fineweb_quality"},
        {"type": "fineweb_quality", "preset": "fineweb@v1-code", "line_punct_exclude_zero": True, "char_duplicates_ratio": 0},
        {"type": "fineweb_quality", **by_language},
        {"type": "length_filter", "min_chars": 40, "max_chars": 2000},
        {"type": "language_filter", "languages": ["en", "de"], "min_scores": {"de": 0.9}},
        {"type": "language_filter", "min_score": 0.8},
        {"type": "classifier", "model": str(fasttext), "label": "en", "min_score": 0.4, "max_score": 0.9},
        {"type": "classifier", "model": str(fasttext), "keep_labels": ["en"], "min_score": 0.7},
        {"type": "decontaminate", "evals": evals},
        {"type": "decontaminate", "evals": evals, "n": 3, "min_words": 3, "min_overlap": 0.5},
    ]
    if LID.is_file():
        fast = {"type": "language_filter", "model": str(LID), "labels": "glotlid"}
        some += [{**fast, "languages": ["en", "de", "fr"], "min_score": 0.4, "min_scores": {"de": 0.2}}, {**fast, "min_score": 0.5}]
    return [ADAPTER.validate_python(each) for each in some]


def assets():
    return Tables()


def batch_of(texts):
    languages = [TABLE_NAMES[row % 3] if row % 4 else None for row in range(len(texts))]
    return pa.record_batch({"text": pa.array(texts, pa.large_string()), "language": pa.array(languages, pa.string())})


def told(operator, batch):
    """What its tests say of each document, and what it says itself. Of two things that C4 forbids the first in the text decides."""
    measures = operator.open_measures(assets())
    measured = measures.measure(batch)
    said = verdicts(measures, measured)
    result = operator.open(assets())(batch)
    reasons = [None] * batch.num_rows if result.reasons is None else result.reasons.to_pylist()
    if isinstance(operator, C4Quality):
        columns = [place for place, test in enumerate(measures.tests) if test.reason in ("lorem_ipsum", "curly_bracket")]
        both = failing(measures, measured)[:, columns].sum(axis=1) > 1
        said = [
            reason if reason in ("lorem_ipsum", "curly_bracket") and two else each
            for each, reason, two in zip(said, reasons, both, strict=True)
        ]
    return said, reasons


def test_every_operator_declares_tests_or_says_why_not(small_tokenizer, small_fasttext):  # noqa: F811
    """No operator that judges by itself is forgotten; the declared reasons are among those of its documentation."""
    declaring = {operator.type for operator in cases(small_fasttext) if operator.declared_tests()}
    batch_types = {name for name, cls in BY_TYPE.items() if issubclass(cls, BatchOperator)}
    assert declaring | set(NO_TESTS) == batch_types
    for settings_ in sample_settings(small_tokenizer, small_fasttext).values():
        operator = ADAPTER.validate_python(settings_)
        if operator.type in NO_TESTS:
            assert operator.declared_tests() == ()
            assert operator.open_measures(ASSETS) is None


def test_declared_tests_name_settings_and_documented_reasons(small_fasttext):  # noqa: F811
    """Every threshold has the name and the value of a setting, its reason stands in the documentation, its signal is measured."""
    for operator in cases(small_fasttext):
        measures = operator.open_measures(assets())
        assert [replace(test, low=0, high=1) for test in measures.tests] == [
            replace(test, low=0, high=1) for test in operator.declared_tests()
        ]
        for test in operator.declared_tests():
            assert f"`{test.reason}`" in " ".join(type(operator).__doc__.split())
            if test.signal is not None:
                assert measures.signals[measures.place(test)].doc
            if test.is_threshold:
                name, _, key = test.setting.rstrip("]").partition("[")
                given_ = getattr(operator, name)
                value = given_[int(key)] if key and not isinstance(given_, str) else given_
                assert test.value in (value, None)
                assert test.value is None or test.low <= test.value <= test.high


@pytest.mark.parametrize("number", range(22))
def test_signals_tell_the_reason_on_real_documents(number, small_fasttext):  # noqa: F811
    """The first declared test that fails is the reason that the operator gives, for every real document."""
    operators = cases(small_fasttext)
    if number >= len(operators):
        pytest.skip(f"the model is absent: {LID}")
    batch = batch_of([*TEXTS, *real_documents(*REAL, limit=25).column("text").to_pylist()])
    said, reasons = told(operators[number], batch)
    assert said == reasons
    assert len(set(reasons)) > 1


PIECES = [
    PROSE,
    "...",
    "…",
    "# ",
    "- ",
    "{",
    "lorem ipsum",
    " a",
    "\n",
    "\n\n",
    "x" * 30,
    "3.14 ",
    "Ende. ",
    "\u2028",
    "é",
    "",
    " the of and",
]
TEXT = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))


@given(texts=st.lists(TEXT, min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_signals_tell_the_reason_of_any_text(made, texts):
    """So they do for any text at all; and a row's signals don't depend on those beside it."""
    batch = batch_of(texts)
    for operator, measures, apply in made:
        measured = measures.measure(batch)
        if not isinstance(operator, C4Quality):
            assert verdicts(measures, measured) == outcome(apply(batch))[1], operator
        alone = measures.measure(batch.slice(len(texts) - 1))
        np.testing.assert_array_equal(alone.values[0], measured.values[-1])
        np.testing.assert_array_equal(alone.limits[0], measured.limits[-1])


@pytest.fixture(scope="module")
def made(small_fasttext):  # noqa: F811
    chosen = [operator for operator in cases(small_fasttext) if operator.type != "language_filter" or operator.model is None]
    return [(operator, operator.open_measures(assets()), operator.open(assets())) for operator in chosen]


def test_a_null_text_has_no_signals_and_fails_nothing(made):
    """It is an error, no drop; an empty batch is measured, too."""
    for operator, measures, _ in made:
        batch = batch_of([None, PROSE])
        measured = measures.measure(batch)
        assert np.isnan(measured.values[0]).all(), operator
        assert verdicts(measures, measured)[0] is None, operator
        assert measures.measure(batch.slice(0, 0)).values.shape == (0, len(measures.signals))


def test_what_only_annotates_tests_nothing(small_fasttext):  # noqa: F811
    """Its signals are measured, and no limit is drawn where none is applied."""
    for operator in cases(small_fasttext):
        if "annotate" in type(operator).model_fields:
            annotating = operator.model_copy(update={"annotate": True})
            assert annotating.declared_tests() == ()
            assert annotating.open_measures(assets()).measure(batch_of(TEXTS)).values.shape[0] == len(TEXTS)


def with_setting(operator, test, value):
    """The operator with another value in the place of a threshold."""
    name, _, key = test.setting.rstrip("]").partition("[")
    number = int(value) if test.is_whole else value
    return type(operator).model_validate(operator.model_dump() | {name: getattr(operator, name) | {int(key): number} if key else number})


@pytest.mark.parametrize("direction", ["looser", "tighter"])
def test_a_moved_threshold_drops_what_the_moved_setting_drops(direction, small_fasttext):  # noqa: F811
    """What is told from signals alone is what the operator does when its setting is moved."""
    batch = batch_of([*TEXTS, *real_documents(*REAL, limit=6).column("text").to_pylist()])
    compared = 0
    for operator in cases(small_fasttext):
        study = study_of(operator, operator.type, assets(), [(batch, operator.open(assets())(batch).reasons)])
        for told_ in study.thresholds():
            test = next(
                test for test in operator.declared_tests() if (test.setting, test.reason) == (told_.limit.setting, told_.limit.reason)
            )
            if test.value is None:
                continue
            there = getattr(told_, direction)
            reasons = with_setting(operator, test, there.value).open(assets())(batch).reasons
            assert there.dropped == len(batch) - reasons.null_count, (operator, test)
            compared += 1
    assert compared > 40


def test_thresholds_of_a_table_move_for_every_language():
    """Moved by a tenth, each language's own number is: as if the table said so."""
    row = TABLE["deu_Latn"]
    operator = GopherQuality(preset="fineweb2@by-language", thresholds="table", min_doc_words=None, min_stop_words=None)
    texts = real_documents("multi-00001", limit=80).column("text").to_pylist()
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string()), "language": ["deu_Latn", "srp_Cyrl"] * (len(texts) // 2)})
    study = study_of(operator, "quality", assets(), [(batch, operator.open(assets())(batch).reasons)])
    told_ = next(each for each in study.thresholds() if each.limit.setting == "max_non_alpha_words_ratio")
    assert told_.limit.value == row["max_non_alpha_words_ratio"]
    key = "max_non_alpha_words_ratio"
    scaled = Tables(rows={name: line | {key: round(line[key] * 1.1, 12)} for name, line in TABLE.items()})
    reasons = operator.open(scaled)(batch).reasons
    assert told_.tighter.dropped == len(batch) - reasons.null_count
    assert told_.now.dropped < told_.tighter.dropped


def test_settings_that_are_null_or_test_nothing_are_no_tests():
    """Null, 0 where it means none, and a least number that everything has."""
    assert [test.reason for test in GopherRepetition(dup_line_frac=0, dup_n_grams=None, top_n_grams={3: 0.1}).declared_tests()] == [
        "empty",
        "dup_para_frac",
        "dup_para_char_frac",
        "dup_line_char_frac",
        "top_3_gram",
    ]
    assert [test.reason for test in C4Quality(min_num_sentences=0, filter_lorem_ipsum=False).declared_tests()] == ["curly_bracket"]
    assert [test.reason for test in FineWebQuality(line_punct_thr=0, short_line_thr=None, new_line_ratio=0).declared_tests()] == [
        "empty",
        "char_dup_ratio",
        "list_ratio",
    ]


def test_limits_of_scores_by_language_are_each_documents_own():
    """Where languages need different scores, a document has its own; one of another language has none."""
    operator = LanguageFilter(languages=["en", "de"], min_score=0.5, min_scores={"de": 0.9})
    measured = operator.open_measures(FakeAssets()).measure(documents())
    column = [limit for _, limit in measured.limits.tolist()]
    assert (column[0], column[3]) == (0.5, 0.9)
    assert {limit for limit in column if not math.isnan(limit)} <= {0.5, 0.9}


def test_a_moved_threshold_stays_within_its_range():
    """An integer moves by one at least, a fraction to 1 at most; what has nowhere to go stays."""
    test = next(test for test in GopherQuality(min_stop_words=2).declared_tests() if test.setting == "min_stop_words")
    assert moved(test, np.array([2.0]), "looser").tolist() == [1]
    assert moved(test, np.array([8.0]), "tighter").tolist() == [8]
    share = next(test for test in GopherQuality(max_bullet_lines_ratio=0.95).declared_tests() if test.setting == "max_bullet_lines_ratio")
    assert moved(share, np.array([0.95, math.nan]), "looser")[0] == 1
    assert moved(share, np.array([0.9]), "tighter").tolist() == [0.81]
    assert opened(GopherQuality())(documents()).reasons is not None
