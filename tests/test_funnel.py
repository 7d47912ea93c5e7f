"""The funnel: its numbers come from the manifest's, and its table fits where it is printed."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from manifests import NASTY, STEPS, huge_manifest, make_manifest, nasty_manifest, warning
from rich.cells import cell_len
from rich.console import Console

from pipelines.funnel import balances, few, funnel_rows, render_funnel


def printed(manifest, *, width=80, terminal=True):
    file = io.StringIO()
    render_funnel(manifest, Console(file=file, force_terminal=terminal, width=width, color_system=None, legacy_windows=False))
    return file.getvalue()


def test_each_step_gets_what_the_step_before_it_gave_and_the_total_spans_all():
    rows = funnel_rows(make_manifest())
    assert [row.name for row in rows] == ["reading", *(step[0] for step in STEPS), "total"]
    for before, after in pairwise(rows[:-1]):
        assert before.rows_out == after.rows_in
    assert (rows[-1].rows_in, rows[-1].rows_out) == (rows[0].rows_in, rows[-2].rows_out)
    assert rows[-1].num_dropped == sum(row.num_dropped for row in rows[:-1])
    assert rows[-1].seconds == sum(row.seconds for row in rows[1:-1])


def test_reasons_are_sorted_by_how_many_documents_they_dropped_and_then_by_name():
    dropped = funnel_rows(make_manifest())[2].dropped
    assert [reason for reason, _ in dropped] == ["gopher_short_doc", "gopher_enough_stop_words", "a", "b", "c", "d", "e"]


def test_errors_stand_with_the_only_step_that_quarantined_anything():
    assert funnel_rows(make_manifest(errors={"x": 5, "y": 7}))[0].errors == (("y", 7), ("x", 5))
    steps = (("mine", "my:Op", {}, {}, 3),)
    assert funnel_rows(make_manifest(steps, unread=0, errors={"bug": 3}))[1].errors == (("bug", 3),)


def test_errors_stand_with_the_total_where_several_steps_quarantined_rows():
    rows = funnel_rows(make_manifest((("mine", "my:Op", {}, {}, 3),), unread=4, errors={"bug": 3, "null_text": 4}))
    assert [row.quarantined for row in rows] == [4, 3, 7]
    assert [row.errors for row in rows[:-1]] == [(), ()]
    assert "7 quarantined: null_text 4, bug 3" in printed(
        make_manifest((("mine", "my:Op", {}, {}, 3),), unread=4, errors={"bug": 3, "null_text": 4})
    )


@pytest.mark.parametrize(
    "manifest",
    [make_manifest(), make_manifest(()), make_manifest((), rows_in=0, unread=0), nasty_manifest()],
    ids=["usual", "no operators", "no rows", "nasty"],
)
def test_a_manifest_whose_numbers_add_up_balances(manifest):
    assert balances(manifest)


@pytest.mark.parametrize("where", ["rows_in", "rows_out", "dropped", "quarantined", "operator", "between", "shards"])
def test_one_row_too_many_anywhere_does_not_balance(where):
    manifest = make_manifest()
    match where:
        case "rows_in" | "rows_out":
            manifest["ledger"][where] += 1
        case "dropped":
            manifest["ledger"]["dropped"]["exact_dedup"]["exact_duplicate"] += 1
        case "quarantined":
            manifest["ledger"]["quarantined"]["not_a_string"] += 1
        case "operator":
            manifest["operators"][1]["rows_out"] += 1
        case "between":
            manifest["operators"][1]["rows_in"] += 1
            manifest["operators"][1]["rows_out"] += 1
        case "shards":
            manifest["output"]["rows"] += 1
    assert not balances(manifest)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("big", [1, 10**6])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_cut(width, big):
    steps = tuple(
        (name, kind, settings, {reason: n * big for reason, n in dropped.items()}, bad) for name, kind, settings, dropped, bad in STEPS
    )
    manifest = make_manifest(steps, rows_in=28_125 * big, unread=12 * big)
    text = printed(manifest, width=width)
    if width >= 80 or big == 1:
        assert all(cell_len(line) <= width for line in text.splitlines())
    for row in funnel_rows(manifest):
        assert f"{row.rows_in:,}" in text
        assert f"{row.rows_out:,}" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_strangers_text_neither_moves_the_cursor_nor_is_read_as_markup(terminal):
    text = printed(nasty_manifest(), width=120, terminal=terminal)
    assert all(line.isprintable() for line in text.split("\n"))
    assert "[bold red]x[/]" in text
    assert NASTY["rtl"] in text
    assert len(text) < 100_000


def test_into_a_file_the_funnel_is_plain_text_with_one_line_a_step():
    text = printed(make_manifest(), width=40, terminal=False)
    assert "█" not in text
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert [line.split()[0] for line in lines if line[:1] not in (" ", "")][:7] == [
        "step",
        "reading",
        *(step[0] for step in STEPS),
        "total",
    ]


def test_a_terminal_shows_bars_that_shrink_as_documents_go():
    lines = [line for line in printed(make_manifest(), width=120).splitlines() if "█" in line]
    bars = [line.count("█") for line in lines]
    assert len(bars) == 1 + len(STEPS)
    assert bars == sorted(bars, reverse=True)
    assert bars[-1] > 0


def test_the_last_line_tells_documents_tokens_shards_and_bytes():
    lines = printed(make_manifest(), width=120).splitlines()
    assert lines[-1] == "quickstart v1: 11,000 rows, 3,210,987 tokens, 3 shards, 9.42 MiB; from 24 files, 20.4 MiB"
    untold = printed(make_manifest(output={"shards": 1, "rows": 11_000, "bytes": 5, "tokens": None}), width=120)
    assert untold.splitlines()[-1] == "quickstart v1: 11,000 rows, 1 shard, 5 B; from 24 files, 20.4 MiB"


def test_files_that_could_not_be_read_are_said_in_the_last_line():
    manifest = make_manifest()
    manifest["input"]["unreadable_files"] = 2
    assert "2 files could not be read" in " ".join(printed(manifest, width=120).split())


@pytest.mark.parametrize(
    "manifest", [make_manifest(()), make_manifest((), rows_in=0, unread=0), make_manifest(STEPS[-1:], rows_in=0, unread=0)]
)
def test_runs_without_operators_or_rows_have_a_funnel_too(manifest):
    text = printed(manifest)
    assert "reading" in text
    assert "total" in text
    assert "nan" not in text


def test_what_an_operator_cut_out_of_texts_is_said_below_its_step():
    manifest = make_manifest((("line_dedup", "line_dedup", {}, {"duplicate_lines": 12}, 0), *STEPS))
    manifest["operators"][0]["removed"] = {"chars": 8_203_111, "documents": 5065, "passages": 83_401}
    lines = printed(manifest, terminal=False).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("line_dedup"))
    assert lines[at + 1 : at + 3] == ["  duplicate_lines 12", "  cut 83,401 passages (8.2 M characters) out of 5,065 documents"]
    manifest["operators"][0]["removed"] = {"chars": 1, "documents": 1, "passages": 1}
    assert "  cut 1 passage (1 character) out of 1 document\n" in printed(manifest, terminal=False)


def test_what_guards_warned_of_is_said_with_examples_and_bounded():
    found = [
        warning(subject="s3://raw/7"),
        *(warning(guard="max_removed_for", subject=f"d{number}", found=2000, limit=1000, documents=2000) for number in range(5)),
        warning(guard="max_key_share", subject="a key", found=0.125, limit=0.01, documents=3500, examples=["a", "b"]),
    ]
    lines = [line for line in printed(make_manifest(warnings=found), width=200).splitlines() if line.startswith("warning: ")]
    assert lines == [
        "warning: minhash_dedup: s3://raw/7 lost 9,700 documents, 97.0% of its own, such as page-17 (guards.max_source_share is 50.0%)",
        *(
            f"warning: minhash_dedup: 2,000 documents were removed for d{number}, such as page-17 (guards.max_removed_for is 1,000)"
            for number in range(3)
        ),
        "warning: minhash_dedup: 2 more passed guards.max_removed_for: see `warnings` in the manifest",
        "warning: minhash_dedup: 3,500 documents have the same key, 12.5% of all, such as a, b (guards.max_key_share is 1.0%)",
    ]
    assert "warning" not in printed(make_manifest(warnings=[]))


def test_many_reasons_are_summed_up():
    counts = [(f"reason-{number}", 10) for number in range(12)]
    assert few(counts, 2) == "reason-0 10, reason-1 10, +10 more (100)"
    assert len(printed(huge_manifest()).splitlines()) < 20_000
