"""Documents in a report: every text is text, every mark is where it should be, and all of it has its bounds."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_made import SHOP, data, dry, excerpt, full_manifest, marks_of
from report_page_read import Page

from pipelines.report import dry_run_page, report, without_documents
from pipelines.report_marked import marked, places, reasons, visible
from pipelines.report_samples import MAX_BYTES, MAX_EXCERPT_BYTES, MAX_EXCERPT_CHARS, samples
from pipelines.study import Example, Mark, QuarantinedRow, ReportData

ANY = st.text(
    st.characters(codec=None, categories=("C", "L", "M", "N", "P", "S", "Z"))
    | st.sampled_from("<>&\"'\n\t\r\x00\x1b\x7f\u202e\u200b\ud800-!]")
)
MARKS = st.lists(st.builds(Mark, st.integers(-5, 60), st.integers(-5, 60), ANY | st.sampled_from("ab")), max_size=8)


def read(html):
    """Its text without the words and numbers that only explain it."""
    page = Page(f"<p>{html}</p>")
    shown = "".join(page.text)
    return page, shown


@given(ANY)
def test_a_text_is_shown_wholly_and_as_nothing_but_text(text):
    page, shown = read(visible(text))
    assert {tag for tag, _ in page.elements} <= {"p", "b"}
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    assert shown.count("\n") == text.count("\n")
    shown.encode()
    plain = "".join(character for character in text if character.isprintable() or character == "\n")
    if plain == text:
        assert shown == text


@given(ANY, MARKS)
def test_marks_cut_a_text_into_stretches_and_change_none_of_it(text, marks):
    found = list(places(text, marks))
    assert "".join(text[place.start : place.stop] for place in found) == text
    covered = {at for mark in marks for at in range(max(mark.start, 0), min(mark.stop, len(text)))}
    assert {at for place in found if place.why is not None for at in range(place.start, place.stop)} == covered
    page, _ = read(marked(text, marks))
    assert len(page.all("mark")) == sum(place.why is not None for place in found)


def test_a_mark_says_in_words_why_it_is_there_and_several_reasons_are_numbered():
    one = marked(SHOP, marks_of(SHOP, "Click here", "repeated words"))
    assert one.count('<span class="vh">[repeated words: </span>Click here') == 3
    assert "<sup" not in one
    two = (*marks_of(SHOP, "Best price", "price"), *marks_of(SHOP, "Click here", "click"))
    assert reasons(excerpt(SHOP, two)) == ["price", "click"]
    assert marked(SHOP, two).count('<sup aria-hidden="true">2</sup>') == 3


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ("\x00", "NUL"),
        ("\x1b", "ESC"),
        ("\x7f", "DEL"),
        ("\u202e", "RLO"),
        ("\u200b", "ZWSP"),
        ("\ud800", "U+D800"),
        ("\r", "CR"),
        ("\U000e0001", "U+E0001"),
    ],
)
def test_what_cannot_be_seen_has_a_name(raw, named):
    assert visible(f"a{raw}b\n") == f'a<b class="c">{named}</b>b\n'


def texts(count, text, **changed):
    return tuple(Example("quality", f"reason {at}", None, excerpt(text, **changed)) for at in range(count))


def test_one_text_is_cut_and_the_page_says_how_much_of_it_is_there():
    long = "word " * 5_000
    shown = "\n".join(samples(texts(1, long, num_chars=50_000_000, first_char=1_000), (), ()))
    assert f"50,000,000 characters, of which 1,001 to {1_000 + MAX_EXCERPT_CHARS:,} are shown" in shown
    assert len("\n".join(samples(texts(1, "\x00" * 50_000), (), ()))) < MAX_EXCERPT_BYTES + 5_000


def test_of_too_many_documents_every_reason_keeps_some():
    greedy = tuple(Example("quality", "greedy", None, excerpt("<" * 9_000)) for _ in range(500))
    rare = (Example("quality", "rare", None, excerpt("a rare one")), Example(None, None, None, excerpt("a kept one")))
    shown = "\n".join(samples((*greedy, *rare), (), ()))
    assert len(shown.encode()) < MAX_BYTES + 10_000
    assert "a rare one" in shown
    assert "a kept one" in shown
    left_out = int(re.search("([0-9,]+) more documents left out", shown)[1].replace(",", ""))
    assert shown.count('class="sample"') + left_out == 502


def test_a_pair_stands_side_by_side_and_differences_are_told_in_words():
    page = report(full_manifest(), data())
    assert '<span class="vh">[only in the removed document: </span>1834' in page
    assert '<span class="vh">[only in the kept document: </span>1843' in page
    assert "a copy of" in page
    assert "similarity 0.934" in page
    assert "No difference in what is shown." in page


def test_messages_of_quarantined_rows_go_with_the_documents():
    row = QuarantinedRow("a", "s3://raw/a", 7, "pii_redact", "bad_text", "the text is 'secret words'")
    page = report(full_manifest(), ReportData(quarantined=(row,)))
    assert "secret words" in page
    assert "secret words" not in without_documents(page)


def test_a_dry_run_tells_bounds_notes_and_whatever_the_projection_holds():
    text = "".join(Page(dry_run_page(dry())).text)
    assert "About 41.0% of all rows will be kept: with 95 % probability between \n37.0% and 45.0%." in text
    for words in (
        "61.0% to 70.0%",
        "a sample holds few pairs",
        "something new",
        "Prices were not given.",
        "org/name",
        "1 h 08 min",
        "1 min 30 s",
    ):
        assert words in text
    assert "18.0% alone" in text


def test_an_estimate_that_is_no_number_is_a_dash():
    kept = replace(dry().kept, value=float("nan"))
    assert "About – of all rows" in dry_run_page(dry(kept=kept))
