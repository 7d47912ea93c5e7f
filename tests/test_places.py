"""Where in a text the place is for which it is dropped: found wherever there is one, inside the text, whatever the text is."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_samples import ASSETS, PROSE, SHARED, real_documents, sample_settings
from pydantic import TypeAdapter
from test_quality import GERMAN, Tables

from operators import (
    AnyOperator,
    BadWords,
    C4Quality,
    Decontaminate,
    ExactDedup,
    FineWebQuality,
    GopherQuality,
    GopherRepetition,
    LengthFilter,
    Operator,
    PiiRedact,
    UrlFilter,
)
from operators.places import MOST_CHARS, MOST_PLACES, explanation, open_places
from operators.places.listed import folded_words
from operators.places.lowered import Lowered
from operators.places.place import Place, looked_at, tidied
from operators.places.words import split
from pipelines.excerpts import excerpt, to_marks
from pipelines.study import Mark

ADAPTER: TypeAdapter[Operator] = TypeAdapter(AnyOperator)
LISTS = sample_settings("t", "m")["bad_words"]["lists"]
EVALS = sample_settings("t", "m")["decontaminate"]["evals"]
REAL = ("code-00000", "dups-00000", "edge-00000", "en-open-00002", "multi-00001", "synthetic-00000", "web-thirdparty-00000")

NO_PLACE = {
    "empty": "there is nothing",
    "gopher_short_doc": "what is missing is nowhere",
    "gopher_long_doc": "it is the whole text",
    "gopher_below_avg_threshold": "most words are short",
    "gopher_enough_stop_words": "what is missing is nowhere",
    "list_ratio": "line feeds cannot be seen",
    "too_few_sentences": "a short text may have no line that is cut",
}
"""Reasons that may have no place, and why."""

OPERATORS = [
    GopherRepetition(),
    GopherRepetition(words="unicode", dup_line_frac=None, dup_para_frac=None, top_n_grams=None, dup_n_grams={10: 0.02}),
    GopherQuality(),
    GopherQuality(min_doc_words=None, max_bullet_lines_ratio=0.02, max_symbol_word_ratio=0.004, max_non_alpha_words_ratio=None),
    GopherQuality(min_doc_words=None, min_stop_words=None, max_ellipsis_lines_ratio=0.001, max_non_alpha_words_ratio=None),
    C4Quality(),
    C4Quality(preset="c4@paper", split_paragraph=False),
    FineWebQuality(),
    FineWebQuality(line_punct_thr=None, short_line_thr=0.3),
    BadWords(lists=LISTS),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.type)
def test_every_real_document_shows_the_place_for_which_it_goes(operator):
    """At least one place for each reason that has any; all of them in order inside the text, and each explained in a sentence."""
    batch = real_documents(*REAL, limit=35)
    result, find = operator.open(ASSETS)(batch), open_places(operator, ASSETS)
    details = [None] * batch.num_rows if result.details is None else result.details.to_pylist()
    found = 0
    for row, reason in enumerate(result.reasons.to_pylist()):
        if reason is not None:
            text = batch.column("text")[row].as_py()
            places = find(reason, details[row], text)
            well_formed(places, text)
            assert places or reason in NO_PLACE, (reason, row)
            assert explanation(operator, reason, {}, details[row])
            found += bool(places)
    assert found


def test_contaminated_documents_show_the_words_that_they_share():
    """Runs of at least as many words as the shortest item that is looked for."""
    folder = SHARED / "data" / "evals"
    if not folder.is_dir():
        pytest.skip(f"evaluation sets are absent: {folder}")
    operator = Decontaminate(evals=[str(path) for path in sorted(folder.glob("*.jsonl"))])
    batch = real_documents("synthetic-00000", limit=600)
    result, find = operator.open(ASSETS)(batch), open_places(operator, ASSETS)
    rows = [row for row, reason in enumerate(result.reasons.to_pylist()) if reason]
    for row in rows[:40]:
        text = batch.column("text")[row].as_py()
        places = find("contaminated", result.details[row].as_py(), text)
        well_formed(places, text)
        assert places
        assert all(len(folded_words(text[place.start : place.stop])) >= 8 for place in places)
    assert len(rows) > 8


def test_personal_data_shows_what_would_be_redacted():
    """Every real document that is edited shows where, with the kind; what is shown is in no edited text."""
    operator, batch = PiiRedact(mode="tag"), real_documents("synthetic-00000", "web-thirdparty-00000", limit=400)
    edited = operator.open(ASSETS)(batch).batch.column("text")
    find, shown = open_places(operator, ASSETS), 0
    for row in pc.indices_nonzero(pc.not_equal(edited, batch.column("text"))).to_pylist():
        text = batch.column("text")[row].as_py()
        places = find("redacted", None, text)
        well_formed(places, text)
        assert places
        assert all(place.why.startswith("personal data: ") for place in places)
        shown += 1
    assert shown > 10


def well_formed(places, text):
    """Places lie inside, in order, without overlapping, bounded in number."""
    assert len(places) <= MOST_PLACES
    assert all(0 <= place.start < place.stop <= len(text) for place in places)
    assert all(place.stop <= following.start for place, following in pairwise(places))
    assert all(place.why for place in places)


PIECES = [
    PROSE,
    "...",
    "…",
    "# ",
    "- ",
    "• ",
    "{",
    "Lorem Ipsum",
    "[1]",
    "[edit]",
    "İ",
    "K",
    "Σ",
    " a",
    "\n",
    "\n\n",
    "x" * 30,
    "ann@a.org ",
]
PIECES += [
    "\ud800",
    "\u2028",
    "\r\n",
    "\x1c",
    "é",
    "e\u0301",
    "use cookies.",
    "javascript.",
    "people ",
    "你好",
    "\U0001f600",
    " the of and",
]
TEXT = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
FINDERS = [(operator, open_places(operator, ASSETS)) for operator in [*OPERATORS, Decontaminate(evals=EVALS), PiiRedact(), LengthFilter()]]


@cache
def opened_once(position):
    return OPERATORS[position].open(ASSETS)


def reasons_of(operator):
    declared = {test.reason for test in operator.declared_tests()}
    return sorted(declared | {"redacted", "no_such_reason"})


@given(text=TEXT, detail=st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["people", "eval_items/0", "e\u0301", "i\u0307", ""])))
@settings(max_examples=40, deadline=None)
def test_any_text_has_well_formed_places(text, detail):
    """Nothing raises for any text, any reason and any detail, lone surrogates among them."""
    for operator, find in FINDERS:
        for reason in reasons_of(operator):
            well_formed(find(reason, detail, text), text)
            assert explanation(operator, reason, {}, detail)


@given(texts=st.lists(st.lists(st.sampled_from([p for p in PIECES if p != "\ud800"]), max_size=20).map("".join), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_what_is_dropped_for_a_place_shows_it(texts):
    """For any text: what the kernel drops for a place, has one."""
    batch = pa.record_batch({"text": pa.array(texts, pa.large_string())})
    for position, (operator, find) in enumerate(FINDERS[: len(OPERATORS)]):
        result = opened_once(position)(batch)
        details = [None] * len(texts) if result.details is None else result.details.to_pylist()
        for text, reason, detail in zip(texts, result.reasons.to_pylist(), details, strict=True):
            assert reason is None or reason in NO_PLACE or find(reason, detail, text), (operator, reason, text)


def test_a_huge_text_is_looked_at_as_far_as_its_beginning():
    """50 MB take no longer than what is looked at, which ends with a line."""
    text = ("A line of a text that goes on and on #\n" * 1_300_000)[: 50 << 20]
    assert len(looked_at(text)) <= MOST_CHARS
    assert looked_at(text).endswith("#")
    assert len(looked_at("x" * MOST_CHARS * 2)) == MOST_CHARS
    places = open_places(GopherQuality(), ASSETS)("gopher_too_many_hashes", None, text)
    assert len(places) == MOST_PLACES
    assert all(text[place.start : place.stop] == "#" for place in places)


def test_what_is_shown_is_what_counts():
    """Examples, each with the stretches that stand for its reason."""
    twice = "One line.\nTwo lines.\nOne line.\n\nA paragraph.\n\nA paragraph."
    shown = {
        ("dup_line_frac", twice): ["One line.", "A paragraph."],
        ("dup_para_frac", twice): ["A paragraph."],
        ("top_2_gram", "so so it is, it is, it was"): ["it is", "it is"],
        ("duplicated_5_n_grams", "a b c d e x a b c d e"): ["a b c d e"],
    }
    for (reason, text), expected in shown.items():
        assert stretches(GopherRepetition(), reason, text) == expected
    lines = "- a bullet\n  • another...\nnone … here…  \nWord 12 §"
    assert stretches(GopherQuality(), "gopher_too_many_bullets", lines) == ["-", "•"]
    assert stretches(GopherQuality(), "gopher_too_many_end_ellipsis", lines) == ["...", "…"]
    assert stretches(GopherQuality(), "gopher_below_alpha_threshold", "Word 12 §!") == ["12", "§", "!"]
    assert stretches(GopherQuality(), "gopher_above_avg_threshold", "a word; incomprehensibilities") == ["incomprehensibilities"]
    page = "Ein Satz.\nMenü\nKurz\nEin Satz.\n \nohne Ende "
    assert stretches(FineWebQuality(), "line_punct_ratio", page) == ["Menü", "Kurz", "Ende"]
    assert stretches(FineWebQuality(), "char_dup_ratio", page) == ["Ein Satz."]
    assert stretches(FineWebQuality(short_line_length=4), "short_line_ratio", page) == ["Menü", "Kurz"]


def test_c4_shows_the_lines_that_it_cuts_and_what_it_forbids():
    """Each line by the test that it fails first; a phrase in a line that is cut anyway counts for nothing."""
    page = (
        "No end of this {line\nTwo words.\nThis page will use cookies.\nEnable JavaScript to go on.\n"
        "All of this stays [12] here.\nA Lorem[1] Ipsum stands here.\nThat { is a bracket."
    )
    operator = C4Quality()
    assert stretches(operator, "lorem_ipsum", page) == ["Lorem[1] Ipsum"]
    assert stretches(operator, "curly_bracket", page) == ["{"]
    assert [
        (page[place.start : place.stop], place.why[:16]) for place in open_places(operator, ASSETS)("too_few_sentences", None, page)
    ] == [
        ("{line", "cut line: it doe"),
        ("Two words.", "cut line: 2 of 3"),
        ("use cookies", "the phrase 'use "),
        ("JavaScript", "the phrase 'java"),
        ("Lorem[1] Ipsum", "the phrase 'lore"),
        ("{", "curly bracket"),
    ]


def stretches(operator, reason, text, detail=None):
    return [text[place.start : place.stop] for place in open_places(operator, ASSETS)(reason, detail, text)]


def test_listed_words_are_found_in_any_case_and_where_the_language_has_no_spaces():
    """By the word that the table of drops names; a part of a longer word only in languages without spaces."""
    operator = BadWords(lists=LISTS, language_column="language")
    text = "İstanbul: BAD word, badly; bad."
    assert stretches(operator, "document_removed_with_badwords", text, "bad") == ["BAD", "bad"]
    assert [place.start for place in open_places(operator, ASSETS)("r", "女", "美女と", language="ja")] == [1]


def test_words_of_a_language_are_split_as_its_table_says():
    """Where words depend on the language, the places do, too; a language without thresholds raises nothing."""
    operator = GopherQuality(preset="fineweb2@by-language", thresholds="table")
    find = open_places(operator, Tables())
    text = GERMAN + " Donaudampfschifffahrtsgesellschaft"
    for language in ("deu_Latn", "xxx", None):
        places = find("gopher_above_avg_threshold", None, text, language)
        assert [text[place.start : place.stop] for place in places][-1:] in ([], ["Donaudampfschifffahrtsgesellschaft"])
    assert len(find("gopher_above_avg_threshold", None, text, "deu_Latn")) == 1


@given(text=st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_words_and_lower_case_keep_their_places(text):
    """A word's span is the word; every character of the lower case comes from the character at its place."""
    for start, stop in split(text, 1):
        assert text[start:stop].strip() == text[start:stop] != ""
    lowered = Lowered.of(text)
    for at, char in enumerate(lowered.text):
        start, stop = lowered.span(at, at + 1)
        assert stop == start + 1
        assert char in text[start].lower() + "ςσ"


@given(spans=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from("ab")), max_size=12))
def test_tidied_places_cover_what_was_given(spans):
    """Whatever overlaps is shown once, and nothing that was marked is lost."""
    found = tidied(Place(*span) for span in spans)
    well_formed(found, "x" * 30)
    marked = {at for start, stop, _ in spans for at in range(start, stop)}
    assert {at for place in found for at in range(place.start, place.stop)} == marked


@given(
    text=st.text(max_size=80), spans=st.lists(st.tuples(st.integers(0, 79), st.integers(1, 20)), max_size=5), max_chars=st.integers(1, 40)
)
def test_an_excerpt_is_a_part_of_the_text_around_its_first_mark(text, spans, max_chars):
    """It is bounded, begins where it says, and its marks mark in it what they marked in the text."""
    marks = to_marks(tidied(Place(start, min(len(text), start + size), "why") for start, size in spans if start < len(text)))
    first, part, found = excerpt(text, marks, max_chars)
    assert len(part) <= max_chars
    assert text[first : first + len(part)] == part
    assert len(part) == max_chars or len(text) <= max_chars or first + len(part) == len(text)
    for mark in found:
        assert 0 <= mark.start < mark.stop <= len(part)
    covered = {first + at for mark in found for at in range(mark.start, mark.stop)}
    assert covered == {at for mark in marks for at in range(mark.start, mark.stop) if first <= at < first + len(part)}
    if marks and max_chars > 24:
        assert found


def test_an_excerpt_begins_with_no_lone_accent():
    """A character stays with the marks behind it."""
    text = "e\u0301" * 100
    first, part, _ = excerpt(text, [Mark(101, 102, "why")], max_chars=40)
    assert first % 2 == 0
    assert part.startswith("e")


def test_explanations_tell_what_was_measured_and_wanted():
    """With the numbers where they are known, with enough digits to differ; with what the operator said; never empty."""
    quality, repetition = GopherQuality(), GopherRepetition()
    assert explanation(quality, "gopher_short_doc", {"num_words": 15, "num_non_symbol_words": 12}) == "12 words, at least 50 wanted"
    assert explanation(quality, "gopher_short_doc", {"num_words": 0, "num_non_symbol_words": 0}) == "0 words, at least 50 wanted"
    assert (
        explanation(repetition, "dup_line_frac", {"dup_line_frac": 0.30004}) == "30.004 % of the lines occurred before, at most 30 % wanted"
    )
    assert explanation(repetition, "empty", {"dup_line_frac": None}) == "there is no text in it"
    without = quality.model_copy(update={"min_doc_words": None})
    assert explanation(without, "gopher_short_doc", {"num_words": 0, "num_non_symbol_words": 0}) == "0 words, at least 1 wanted"
    assert explanation(C4Quality(), "curly_bracket", {"lines_curly_bracket": 2}) == "it holds a curly bracket"
    assert "at most 30 % wanted" in explanation(repetition, "dup_line_frac", {})
    by_language = GopherRepetition(preset="fineweb2@by-language", thresholds="table")
    assert "its language's thresholds" in explanation(by_language, "dup_line_frac", {"dup_line_frac": 0.5})
    assert explanation(Decontaminate(evals=EVALS), "contaminated", {"overlap": 0.2}, "set/1").endswith("nothing wanted: set/1")
    assert explanation(UrlFilter(domains=["a.example"]), "domain", {}, "a.example") == "its URL's domain is on a list: a.example"
    assert "stays" in explanation(ExactDedup(), "exact_duplicate", {})
    assert explanation(LengthFilter(min_chars=9), "too_short", {"num_chars": 3}) == "3 characters, at least 9 wanted"
