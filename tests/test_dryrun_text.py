"""What a dry run prints: it fits the terminal, shows the offending place, and nothing of a document can do anything to the terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from pipelines.dryrun_text import dry_json, dry_run_lines, render_dry_run
from pipelines.report import dry_run_page
from pipelines.study import DryRun, Estimate, Example, Excerpt, Limit, Mark, Moved, OperatorEstimate, Pair, Threshold

HOSTILE = "\x1b[31mred\x1b]0;title\x07 \u202eright to left\u202c \x00 [bold]markup[/bold] <script>alert(1)</script>\r\nnew\u2028line \x9b1m"


def operator(name: str = "gopher_quality", **changes: Any) -> OperatorEstimate:
    given = {"rows_in": 2000, "rows_out": 1500, "reasons": {"gopher_short_doc": 400, "other": 100}, "keep_rate": Estimate(0.75, 0.73, 0.77)}
    return OperatorEstimate(name=name, type="gopher_quality", **(given | changes))


def threshold(**changes: Any) -> Threshold:
    given = {"now": Moved(50, 400, 500), "looser": Moved(45, 380, 480), "tighter": Moved(55, 433, 533)}
    limit = Limit("min_doc_words", "gopher_short_doc", "below", 50)
    return Threshold("gopher_quality", limit, "num_words", 2000, **(given | changes))


def excerpt(text: str = "a text", marks: tuple[Mark, ...] = (), **changes: Any) -> Excerpt:
    return Excerpt("an-id", "s3://raw/a.parquet", 7, text, changes.pop("num_chars", len(text)), marks=marks, **changes)


def made(**changes: Any) -> DryRun:
    given: dict[str, Any] = {
        "name": "quickstart",
        "input": {"files": 3, "rows": 12_345, "bytes": 1 << 30, "documents": 2000, "row_groups": 60, "read_bytes": 1 << 20, "seed": 0},
        "operators": (operator(), operator("exact_dedup", is_corrected=True, note="a sample holds few pairs", quarantined={"bad": 3})),
        "kept": Estimate(0.5, 0.4, 0.6),
        "thresholds": (threshold(),),
        "histograms": (),
        "examples": (Example("gopher_quality", "gopher_short_doc", "12 words", excerpt("one two three", (Mark(4, 7, "why"),))),),
        "pairs": (),
        "projection": {},
        "notes": ("something to know",),
    }
    return DryRun(**(given | changes))


def printed(dry: DryRun, width: int = 100, *, terminal: bool = False, examples: int = 3, projected: tuple[str, ...] = ()) -> str:
    sink = io.StringIO()
    render_dry_run(dry, projected, Console(file=sink, width=width, force_terminal=terminal, color_system="standard"), examples=examples)
    return sink.getvalue()


def test_everything_is_there():
    """The funnel with intervals and reasons, thresholds, examples, the projection and notes."""
    text = printed(made(), projected=("output: 6,000 rows",))
    for words in (
        "dry run of 2,000 documents (seed 0) out of 12,345 rows in 3 files",
        "gopher_quality",
        "73.0% – 77.0%",
        "gopher_short_doc 400, other 100",
        "exact_dedup*",
        "a sample holds few pairs",
        "3 quarantined: bad 3",
        "40.0% – 60.0%",
        "gopher_quality.min_doc_words",
        "below 50",
        "400 (20.0%)",
        "380 (19.0%) at 45",
        "433 (21.6%) at 55",
        "12 words",
        "s3://raw/a.parquet row 7",
        "one [[two]] three",
        "output: 6,000 rows",
        "note: something to know",
    ):
        assert words in text


def test_a_place_is_inverse_on_a_terminal():
    """On a terminal there are no brackets."""
    text = printed(made(), terminal=True)
    assert "\x1b[7mtwo\x1b[0m" in text
    assert "[[" not in text


def test_a_place_deep_in_an_excerpt_is_shown():
    """What is shown of a long excerpt is around its first mark."""
    text = "x" * 400 + " HERE " + "y" * 190
    shown = printed(made(examples=(Example("o", "r", None, excerpt(text, (Mark(401, 405, ""),), num_chars=9000)),)))
    assert "[[HERE]]" in shown.replace("\n    ", "")
    assert "…" in shown


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
@pytest.mark.parametrize("marks", [True, False])
def test_lines_fit(width, marks):
    """Whatever the terminal's width, no line is longer; numbers that do not fit are left out, names are cut."""
    wide = "一二三 " * 200 + "word" * 100
    dry = made(
        operators=tuple(operator(f"an_operator_with_a_long_name_{number}", note="long " * 50) for number in range(3)),
        examples=(Example("operator" * 9, "reason" * 20, "detail " * 40, excerpt(wide, (Mark(3, 90, ""),))),),
        pairs=(Pair("exact_dedup", "exact_duplicate", 0.5, excerpt(wide), excerpt(wide)),),
        notes=("note " * 200, "x" * 500),
    )
    lines = dry_run_lines(dry, ["  a projected line " * 5], width, examples=3, marks=marks)
    assert max(cell_len(line.plain) for line in lines) <= width
    assert any("73.0% – 77.0%" in line.plain for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_documents_can_do_nothing(terminal):
    """Escape sequences, markup and marks that turn the direction of writing come out as what they are."""
    dry = made(
        name="n",
        operators=(operator(HOSTILE, reasons={HOSTILE: 1}, note=HOSTILE, quarantined={HOSTILE: 1}),),
        examples=(Example(HOSTILE, HOSTILE, HOSTILE, Excerpt(HOSTILE, HOSTILE, 1, HOSTILE, 90, marks=(Mark(2, 9, HOSTILE),))),),
        pairs=(Pair(HOSTILE, HOSTILE, None, excerpt(HOSTILE, (Mark(0, 5, ""),)), excerpt(HOSTILE)),),
        notes=(HOSTILE,),
    )
    text = printed(dry, terminal=terminal, width=200)
    for character in ("\x07", "\x00", "\u202e", "\x9b", "\r", "\u2028"):
        assert character not in text
    assert "\x1b[31m" not in text
    assert terminal or "\x1b" not in text
    assert "[bold]markup[/bold]" in text.replace("\n", "")


@given(st.text(max_size=300), st.integers(0, 300), st.integers(0, 300), st.integers(30, 120))
def test_any_text(text, first, second, width):
    """Any text with a mark anywhere is printed in lines that fit."""
    start, stop = sorted((min(first, len(text)), min(second, len(text))))
    marks = (Mark(start, stop, "why"),) if start < stop else ()
    dry = made(examples=(Example(None, None, None, excerpt(text, marks)),))
    lines = [line.plain for line in dry_run_lines(dry, (), width, examples=1, marks=False)]
    assert max(map(cell_len, lines)) <= width
    assert all(character.isprintable() for line in lines for character in line)


def test_thresholds_that_drop_nothing_are_only_counted():
    """Of thresholds that drop nothing, moved or not, the number is told."""
    still = threshold(now=Moved(50, 0, 5), looser=Moved(45, 0, 5), tighter=Moved(55, 0, 5))
    assert "1 other threshold: none of these" in printed(made(thresholds=(threshold(), still)))
    assert "2 thresholds: none of these" in printed(made(thresholds=(still, still)))


def test_tests_of_one_setting_are_told_apart():
    """Where one setting decides two tests, each line says its reason, on the terminal and in the page; a setting of one test says none."""
    two = replace(threshold(), limit=Limit("min_doc_words", "other", "below", 50))
    alone, both = made(thresholds=(threshold(),)), made(thresholds=(threshold(), two))
    assert "min_doc_words (gopher_short_doc)" in printed(both)
    assert "min_doc_words (other)" in printed(both)
    assert "min_doc_words (" not in printed(alone)
    assert "below 50: <code><bdi>other</bdi></code>" in dry_run_page(both)
    assert "below 50:" not in dry_run_page(alone)


def test_no_examples():
    """With none asked for, no text of a document is printed."""
    text = printed(made(pairs=(Pair("o", "r", 1.0, excerpt("secret"), excerpt("secret")),)), examples=0)
    assert "two" not in text
    assert "secret" not in text


def test_examples_of_a_reason_are_as_many_as_asked_for():
    """The page may have more of them."""
    examples = tuple(Example("o", "r", None, excerpt(f"text-{number}")) for number in range(9))
    pairs = tuple(Pair(name, "r", 1.0, excerpt(f"pair-{name}"), excerpt("kept")) for name in ("a", "a", "a", "b"))
    text = printed(made(examples=examples, pairs=pairs), examples=2)
    assert text.count("text-") == 2
    assert (text.count("pair-a"), text.count("pair-b")) == (2, 1)


def test_the_contract_of_json():
    """Operators and projection first, each operator with the contract's keys."""
    found = dry_json(made())
    assert list(found)[:2] == ["operators", "projection"]
    assert found["operators"][0]["keep_rate_interval"] == [0.73, 0.77]
    assert found["operators"][1]["quarantined"] == {"bad": 3}
    assert found["thresholds"][0]["tighter"] == {"value": 55, "alone": 433, "dropped": 533}
