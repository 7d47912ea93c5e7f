"""How numbers and strangers' text are shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests import NASTY

from pipelines.legible import amount, counted, legible, seconds, share, size


@given(st.text(st.characters(), max_size=60), st.integers(1, 40))
def test_any_text_becomes_one_bounded_line_that_a_terminal_prints_as_it_is(text, max_chars):
    shown = legible(text, max_chars)
    assert len(shown) <= max_chars
    assert shown.isprintable()
    shown.encode()


@pytest.mark.parametrize("name", ["rtl", "wide", "markup"])
def test_letters_of_every_script_stay_as_they_are(name):
    assert legible(NASTY[name]) == NASTY[name]


def test_what_cannot_be_printed_is_shown_as_its_code_and_what_is_cut_is_marked():
    assert legible(NASTY["terminal"]) == "\\x1b[2J\\x1b[31mred\\x07"
    assert legible(NASTY["direction"]) == "abc\\u202etxt.exe\\u2066"
    assert legible("one\ntwo") == "one two"
    assert legible("abcdef", 4) == "abc…"
    assert legible("abcd", 4) == "abcd"


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_only_everything_is_shown_as_all_and_only_nothing_as_none(part, rest):
    shown = share(part, part + rest)
    assert (shown == "100.0%") == (rest == 0 and part > 0)
    assert (shown == "0.0%") == (part == 0 and rest > 0)


@given(st.floats(0, 1e9))
def test_no_time_is_shown_as_sixty_of_a_unit(value):
    assert not re.search(r"(?<![.\d])(60(\.0)? (s|min)|24 h)", seconds(value))


def test_units_change_where_a_reader_expects_them_to():
    assert [size(n) for n in (0, 1023, 1024, 1023 * 1024, 1 << 30, 5 * 10**15)] == [
        "0 B",
        "1023 B",
        "1.00 KiB",
        "1.00 MiB",
        "1.00 GiB",
        "4.44 PiB",
    ]
    assert [seconds(s) for s in (0.21, 12.34, 59.99, 245, 3599.9, 12_000, 180_000)] == [
        "0.21 s",
        "12.3 s",
        "1 min 00 s",
        "4 min 05 s",
        "1 h 00 min",
        "3 h 20 min",
        "2 d 02 h",
    ]
    assert [counted(n, "shard") for n in (0, 1, 1234)] == ["0 shards", "1 shard", "1,234 shards"]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"),
        (999_999, "999,999"),
        (1_000_000, "1.0 M"),
        (8_203_111, "8.2 M"),
        (999_600_000, "1.0 G"),
        (123_456_789_012, "123 G"),
        (10**16, "10,000 T"),
    ],
)
def test_amounts_that_nobody_counts_are_rounded(number, shown):
    assert amount(number) == shown
