"""What `shardmill operators` can say about each operator."""

from __future__ import annotations

import pytest

from operators import BY_TYPE
from operators.base import OperatorError
from operators.catalogue import SIMILARITIES, curve_rows, describe, describe_all


@pytest.mark.parametrize("operator_type", BY_TYPE)
def test_every_operator_explains_itself(operator_type):
    """Promise, settings with types and words, reasons of what drops documents."""
    found = describe(operator_type)
    assert found.type == operator_type
    assert found.promise.endswith(".")
    assert {setting.name.partition(".")[0] for setting in found.settings} == set(BY_TYPE[operator_type].model_fields) - {"type"}
    assert all(setting.doc and setting.type for setting in found.settings)


def test_settings_say_type_default_and_range():
    """The words are those of somebody who writes YAML."""
    settings = {setting.name: setting for setting in describe("language_filter").settings}
    assert settings["languages"].type == "list of string or null"
    assert (settings["min_score"].type, settings["min_score"].default, settings["min_score"].range) == (
        "number",
        0.65,
        "\u2265 0, \u2264 1",
    )
    assert {setting.name: setting for setting in describe("tokenize").settings}["tokenizer"].required
    assert describe("exact_dedup").kind == "group"


def test_reasons_are_those_that_are_documented():
    """Reasons stand in the documentation once, and are read from there."""
    assert describe("length_filter").reasons == ("too_short", "too_long")
    assert describe("filter_where").reasons == ("not_met", "unknown")
    assert describe("language_filter").reasons == ("language", "language_score")
    assert describe("exact_dedup").reasons == ("exact_duplicate",)
    assert describe("minhash_dedup").reasons == ("near_duplicate",)
    assert describe("line_dedup").reasons == ("duplicate_lines",)


def test_all_come_in_alphabetical_order():
    """The list is the one that a user scans."""
    assert [found.type for found in describe_all()] == sorted(BY_TYPE)


def test_an_unknown_operator_names_the_nearest():
    """A misspelt type is corrected."""
    with pytest.raises(OperatorError, match="did you mean 'length_filter'"):
        describe("lenght_filter")


def test_settings_that_are_mappings_show_their_parts():
    """A reader sees what a mapping may hold, each part with its own default and words."""
    settings = {setting.name: setting for setting in describe("normalize_text").settings}
    assert (settings["ftfy"].type, settings["ftfy"].default["fix_encoding"]) == ("mapping or null", True)
    assert (settings["ftfy.fix_encoding"].type, settings["ftfy.fix_encoding"].default) == ("boolean", True)


def test_presets_of_bands_show_their_curves():
    """What a preset finds is a number for each similarity, the textbook's; a steeper one finds less below its midpoint."""
    curves = describe("minhash_dedup").curves
    assert list(curves) == list(BY_TYPE["minhash_dedup"].CURVES)
    fineweb = curves["fineweb"]
    assert (fineweb.bands, fineweb.rows, fineweb.hashes, round(fineweb.midpoint, 2)) == (14, 8, 112, 0.72)
    assert fineweb.meets["0.8"] == pytest.approx(1 - (1 - 0.8**8) ** 14)
    assert curves["t90"].meets["0.5"] < fineweb.meets["0.5"] < curves["t50"].meets["0.5"]
    heads, *rows = curve_rows(curves)
    assert [row[0] for row in rows] == list(curves)
    assert len(heads) == 5 + len(SIMILARITIES) == len(rows[0])
    assert dict(zip(heads, rows[0], strict=True))["at 0.8"] == "0.924"
    assert describe("exact_dedup").curves == {}
