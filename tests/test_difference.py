"""What differs between two manifests: every number and setting that differs and nothing else, on a terminal, as Markdown and as JSON."""

from __future__ import annotations

import copy
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manifests import NASTY, huge_manifest, learned, make_manifest, nasty_manifest, warning
from rich.console import Console

from pipelines.difference import Difference, compare
from pipelines.difference_markdown import CUT, MAX_BYTES, difference_markdown
from pipelines.difference_sections import Section, change_cells, number_cells, percent
from pipelines.difference_settings import ABSENT, Change, compare_operators, compare_settings
from pipelines.difference_text import render_difference


def both() -> tuple[dict[str, Any], dict[str, Any]]:
    """Two manifests that are the same but for version and time."""
    old = copy.deepcopy(make_manifest())
    return old, {**copy.deepcopy(old), "version": "v2", "created_at": "2026-02-03T04:05:06Z"}


def printed(difference: Difference, *, terminal: bool = False, width: int = 100, more: tuple[Section, ...] = ()) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, color_system=None, legacy_windows=False)
    render_difference(difference, console, more)
    return file.getvalue()


def test_versions_that_differ_in_name_and_time_alone_are_the_same() -> None:
    """Nothing but the sizes is shown, and that nothing differs is said."""
    found = compare(*both())
    assert found.is_same
    assert found.to_json()["same"] is True
    assert "Nothing differs but the time." in printed(found)
    assert re.findall(r"^### (.*)$", difference_markdown(found), re.MULTILINE) == ["Size"]


def _size(new: dict[str, Any]) -> None:
    new["output"]["rows"] += 1


def _tokens(new: dict[str, Any]) -> None:
    new["tokens"]["by_source"]["s3://raw/crawl"]["tokens"] -= 1


def _language(new: dict[str, Any]) -> None:
    new["tokens"]["by_language"] = None


def _profile(new: dict[str, Any]) -> None:
    new["documents"] = {
        "text_bytes": 5,
        "lengths": [{"from_bytes": 1, "below_bytes": 2, "documents": 5, "text_bytes": 5}],
        "by_language": None,
    }


def _dropped(new: dict[str, Any]) -> None:
    new["ledger"]["dropped"]["gopher_quality"]["new_reason"] = 1


def _quarantined(new: dict[str, Any]) -> None:
    new["ledger"]["quarantined"]["odd"] = 1


def _setting(new: dict[str, Any]) -> None:
    new["operators"][0]["settings"]["min_score"] = 0.7


def _operator_type(new: dict[str, Any]) -> None:
    new["operators"][0]["type"] = "classifier"


def _order(new: dict[str, Any]) -> None:
    new["operators"].reverse()


def _config(new: dict[str, Any]) -> None:
    new["config"]["execution"]["seed"] = 1


def _licence(new: dict[str, Any]) -> None:
    new["licence"] = None


def _limit(new: dict[str, Any]) -> None:
    new["input"]["limit"] = 10


def _history(new: dict[str, Any]) -> None:
    new["input"]["history"] = {"generations": ["g1"], "tombstones": []}


def _column(new: dict[str, Any]) -> None:
    new["schema"][0]["nullable"] = False


def _learned(new: dict[str, Any]) -> None:
    new["learned"] = [learned("train_tokenizer", "versions/v2/learned/tokenizer.json")]


def _warning(new: dict[str, Any]) -> None:
    new["warnings"] = [warning()]


def _package(new: dict[str, Any]) -> None:
    new["environment"]["packages"]["numpy"] = "9"


def _python(new: dict[str, Any]) -> None:
    new["environment"]["python"] = "3.12.1"


def _code(new: dict[str, Any]) -> None:
    new["fingerprints"]["code"] = "0" * 32


def _input(new: dict[str, Any]) -> None:
    new["input"]["files"] += 1


CHANGES = {
    change.__name__[1:]: change
    for change in (
        *(
            _size,
            _tokens,
            _language,
            _profile,
            _dropped,
            _quarantined,
            _setting,
            _operator_type,
            _order,
            _config,
            _licence,
            _limit,
            _history,
        ),
        *(_column, _learned, _warning, _package, _python, _code, _input),
    )
}


@pytest.mark.parametrize("name", CHANGES)
def test_anything_that_differs_is_told(name: str) -> None:
    """A change of any part of the manifest, either way, makes the versions differ, and is shown in every form."""
    old, new = both()
    same = compare(*both())
    CHANGES[name](new)
    for found in (compare(old, new), compare({**new, "version": "v1"}, {**old, "version": "v2"})):
        assert not found.is_same
        assert "Nothing differs" not in printed(found)
        assert set(difference_markdown(found).splitlines()) - set(difference_markdown(same).splitlines())
        assert set(printed(found).splitlines()) - set(printed(same).splitlines())
        told, nothing = found.to_json(), same.to_json()
        assert {key for key in told if told[key] != nothing[key]} - {"old", "new", "same"}


def test_a_changed_threshold_is_told_with_both_values_and_its_effect() -> None:
    """The operator's setting by its path, and what it drops now and did before."""
    old, new = both()
    new["operators"][1]["settings"] = {"block": "GopherQualityFilter", "args": {"min_doc_words": 60, "more": None}}
    new["ledger"]["dropped"]["gopher_quality"]["gopher_short_doc"] = 5500
    found = compare(old, new)
    (operator,) = found.operators
    assert (operator.name, operator.what) == ("gopher_quality", "changed")
    assert operator.settings == (Change("args.min_doc_words", ABSENT, 60), Change("args.more", ABSENT, None))
    (line,) = found.dropped
    assert line.to_json() == {"operator": "gopher_quality", "reason": "gopher_short_doc", "old": 5000, "new": 5500}
    assert re.search(r"gopher_quality +gopher_short_doc +5,000 +5,500 +\+500 +\+10\.0%", printed(found))
    assert "| `gopher_quality` | `args.min_doc_words` |  | `60` |" in difference_markdown(found)


def test_operators_that_came_went_and_moved_are_told() -> None:
    """By name; of those that only changed places, the fewest that explain the new order."""
    old, new = both()
    new["operators"] = [new["operators"][at] for at in (2, 0, 1)]
    new["operators"].append({**copy.deepcopy(new["operators"][0]), "name": "exact_dedup-2"})
    found = compare(old, new)
    assert [(one.what, one.name, one.old_place, one.new_place) for one in found.operators] == [
        ("moved", "exact_dedup", 3, 1),
        ("added", "exact_dedup-2", None, 4),
        ("removed", "tokenize", 4, None),
    ]
    assert found.operators[1].settings == (Change("keep", ABSENT, "first"),)


@given(st.permutations(range(7)))
def test_the_fewest_operators_move(order: list[int]) -> None:
    """Those that are not said to have moved stand in the old order, and no larger set of operators does."""
    made = [{"name": str(at), "type": "t", "settings": {}, "rows_in": 1, "rows_out": 1} for at in range(7)]
    moved = {int(change.name) for change in compare_operators(made, [made[at] for at in order])}
    stay = [at for at in order if at not in moved]
    assert stay == sorted(stay)
    subsets = ([at for bit, at in enumerate(order) if mask >> bit & 1] for mask in range(1 << 7))
    assert len(stay) == max(len(some) for some in subsets if some == sorted(some))


SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab.", max_size=2)
NESTED = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3)
)
SETTINGS = st.dictionaries(st.text("abc", min_size=1, max_size=1), NESTED, max_size=3)


@given(SETTINGS, SETTINGS)
def test_changes_make_the_old_settings_the_new_ones(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Each change says what is there before; carried out they leave the new settings, and the same settings have none."""
    made = copy.deepcopy(old)
    for change in compare_settings(old, new):
        *folders, last = change.path.split(".")
        inside = made
        for folder in folders:
            inside = inside[folder]
        assert inside.get(last, ABSENT) is change.old or inside[last] == change.old
        if change.new is ABSENT:
            del inside[last]
        else:
            inside[last] = change.new
    assert json.dumps(made, sort_keys=True) == json.dumps(new, sort_keys=True)
    assert list(compare_settings(old, copy.deepcopy(old))) == []


def test_true_is_not_one_but_a_number_is_itself() -> None:
    """A setting that was true and is 1 now changed, at any depth; 1 and 1.0 are the same threshold."""
    old = {"flag": True, "number": 1, "list": [0, {"deep": False}]}
    assert list(compare_settings(old, {"flag": True, "number": 1.0, "list": [0.0, {"deep": False}]})) == []
    changed = compare_settings(old, {"flag": 1, "number": True, "list": [0, {"deep": 0}]})
    assert [change.path for change in changed] == ["flag", "number", "list"]


def test_of_long_lists_only_what_came_and_went_is_shown() -> None:
    """Two lists of languages are not printed twice; another order of the same values is."""
    codes = ["de", "en", "fr", "nl", "pl"]
    assert change_cells(Change("languages", codes, [*codes[1:], "sv"])) == ("5 values, only here: de", "5 values, only here: sv")
    assert change_cells(Change("languages", codes[:2], ["de"])) == ('["de", "en"]', '["de"]')
    assert change_cells(Change("languages", codes, codes[::-1]))[0] == json.dumps(codes)
    assert change_cells(Change("model", None, "")) == ("null", '""')


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        (1000, 990, ("1,000", "990", "\u221210", "\u22121.0%")),
        (0, 5, ("0", "5", "+5", "")),
        (10, 400, ("10", "400", "+390", "\u00d7 40.0")),
        (10**6, 10**6 + 1, ("1,000,000", "1,000,001", "+1", "+<0.1%")),
        (7, 7, ("7", "7", "same", "")),
        (None, 7, ("\u2013", "7", "", "")),
        (7, None, ("7", "\u2013", "", "")),
    ],
)
def test_numbers_are_shown_with_their_difference(old: int | None, new: int | None, shown: tuple[str, ...]) -> None:
    """Both, how much more or less, and in percent of the old where that says something."""
    from pipelines.difference import Number

    assert number_cells(Number("documents", old, new)) == shown


def test_a_difference_is_never_nothing_in_percent() -> None:
    """Something is not 0.0 %."""
    assert percent(-1, 10**9) == "\u2212<0.1%"


@pytest.mark.parametrize(
    ("parents", "other_parents", "digests", "ancestors", "lineage"),
    [
        (["a"], [], ("a", "b"), (), "child"),
        (["z"], [], ("a", "b"), ("z", "a"), "descendant"),
        ([], ["b"], ("a", "b"), (), "ancestor"),
        ([], [], ("a", "b"), (), "unrelated"),
        ([], [], ("a", "a"), (), "same"),
        (["a"], [], (None, None), (), "unknown"),
    ],
)
def test_how_versions_descend_from_each_other(
    parents: list[str], other_parents: list[str], digests: tuple[str | None, str | None], ancestors: tuple[str, ...], lineage: str
) -> None:
    """By the digests of manifests that a version names as its parents; nothing is claimed without digests."""
    old, new = both()
    old["parents"], new["parents"] = other_parents, parents
    found = compare(old, new, old_digest=digests[0], new_digest=digests[1], ancestors=ancestors)
    assert found.lineage == lineage
    text = printed(found)
    assert ("followed" in text, "may have nothing in common" in text) == (lineage == "child", lineage == "unrelated")


def test_a_first_version_is_told_without_comparing() -> None:
    """All of it is new; nothing is said of what was before."""
    found = compare(None, make_manifest())
    assert (found.lineage, found.is_same) == ("first", False)
    page = difference_markdown(found)
    assert "| documents | 11,000 |" in page
    assert "old" not in page
    assert "difference" not in page.split("##", 1)[1]
    assert "| `exact_dedup` | `exact_duplicate` | 1,011 |" in page


def test_keys_that_older_manifests_lack_are_no_obstacle() -> None:
    """Without tokens, warnings, learned files or a profile of documents a manifest is compared all the same."""
    old, new = both()
    for key in ("tokens", "warnings", "learned", "documents"):
        old.pop(key, None)
    _profile(new)
    new["documents"]["by_language"] = {"en": {"documents": 5, "text_bytes": 5}}
    for pair in ((old, new), (new, old), (old, old)):
        found = compare(*pair)
        assert printed(found)
        assert difference_markdown(found)
    found = compare(old, new)
    assert [(one.kind, one.unit) for one in found.breakdowns] == [
        ("source", "tokens"),
        ("language", "tokens"),
        ("language", "text_bytes"),
        ("length", "text_bytes"),
    ]
    assert "`en` | 5 |" in difference_markdown(found)


def test_breakdowns_tell_the_largest_difference_first_and_count_what_is_the_same() -> None:
    """By tokens; a source that only one version has is 0 in the other."""
    old, new = both()
    old["tokens"]["by_source"] = {
        "a": {"documents": 1, "tokens": 10},
        "b": {"documents": 2, "tokens": 20},
        "c": {"documents": 1, "tokens": 1},
    }
    new["tokens"]["by_source"] = {
        "a": {"documents": 1, "tokens": 10},
        "b": {"documents": 2, "tokens": 25},
        "d": {"documents": 9, "tokens": 90},
    }
    (found,) = compare(old, new).breakdowns[:1]
    assert [line.name for line in found.lines] == ["d", "b", "c"]
    assert found.lines[0].to_json() == {"name": "d", "documents": {"old": 0, "new": 9}, "tokens": {"old": 0, "new": 90}}
    assert found.num_same == 1


@pytest.mark.parametrize("made", [nasty_manifest, huge_manifest], ids=["nasty", "huge"])
def test_strangers_texts_do_no_harm(made: Any) -> None:
    """The page is bounded and whole tables, whatever the names; nothing in it or on a terminal is markup or a control character."""
    worst = made()
    pairs = ((make_manifest(), worst), (worst, make_manifest()), (None, worst))
    for pair in pairs[:1] if made is huge_manifest else pairs:
        found = compare(*pair)
        page = difference_markdown(found)
        assert len(page.encode()) <= MAX_BYTES
        outside = re.sub(r"`[^`\n]*`", "", page)
        assert not re.search(r"(?<!\\)<(?!/?code>)|[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", outside)
        assert "\x1b" not in page
        for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) for line in table.splitlines()}) == 1
        for width in (40, 100):
            text = printed(found, terminal=True, width=width)
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


def test_what_does_not_fit_in_a_pull_request_is_said_to_be_missing() -> None:
    """The page ends with the command that shows all; a page that fits does not."""
    old, new = both()
    new["config"] = {f"{place}{'<' * 100}": "<" * 100 for place in range(100)}
    new["environment"]["packages"] = {f"{place}{'|' * 100}": "|" * 100 for place in range(100)}
    assert CUT in difference_markdown(compare(old, new))
    assert CUT not in difference_markdown(compare(*both()))


def test_lines_fit_a_terminal_and_are_whole_in_a_pipe() -> None:
    """Names give way to the width, numbers never; in a pipe nothing is cut."""
    old, new = both()
    long = "a_setting_with_a_name_that_goes_on_and_on"
    new["operators"][0]["settings"][long] = "value " * 12
    found = compare(old, new)
    lines = printed(found, terminal=True, width=72).splitlines()
    assert max(map(len, lines)) <= 72
    assert long not in "\n".join(lines)
    assert f"{long}       {('value ' * 12).strip()}" in printed(found)


def test_nasty_names_are_the_ones_of_the_gallery() -> None:
    """The gallery still holds what could break a table."""
    assert {"table", "markup", "terminal", "direction"} <= set(NASTY)


def test_of_a_long_address_the_end_is_shown() -> None:
    """Folders differ in their ends: a narrow terminal and a page cut them at the front."""
    old, new = both()
    folder = f"s3://raw/{'deep/' * 40}"
    new["tokens"]["by_source"] = {f"{folder}one": {"documents": 1, "tokens": 3}, f"{folder}two": {"documents": 1, "tokens": 2}}
    found = compare(old, new)
    for text in (difference_markdown(found), printed(found, terminal=True, width=70), printed(found)):
        assert "/one" in text
        assert "/two" in text
    assert max(map(len, printed(found, terminal=True, width=70).splitlines())) <= 70


def test_warnings_are_sentences_and_not_cells() -> None:
    """They are folded on a terminal and listed on a page, whole."""
    old, new = both()
    new["warnings"] = [warning()]
    found = compare(old, new)
    (sentence,) = found.warnings
    assert sentence in " ".join(printed(found, terminal=True, width=50).split())
    assert "### New warnings\n\n- minhash\\_dedup" in difference_markdown(found)
