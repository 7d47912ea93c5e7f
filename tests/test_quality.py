"""What holds for every quality filter: presets, thresholds by language, signals."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from operator_samples import PROSE, SHARED, TEXTS, FakeAssets, documents
from pydantic import ValidationError

from operators import quality
from operators.base import OperatorError
from operators.c4 import C4Quality
from operators.fineweb import FineWebQuality
from operators.gopher import GopherQuality, GopherRepetition

OPERATORS = [C4Quality, FineWebQuality, GopherQuality, GopherRepetition]
TABLE = {
    "deu_Latn": {
        "dup_line_frac": 0.26,
        "dup_n_grams": [[5, 0.14], [6, 0.13], [7, 0.12], [8, 0.11], [9, 0.1], [10, 0.09]],
        "top_n_grams": [[2, 0.9], [3, 0.9], [4, 0.9]],
        "line_punct_thr": 0.0,
        "new_line_ratio": 0.15,
        "min_avg_word_length": 0,
        "max_avg_word_length": 15,
        "max_non_alpha_words_ratio": 0.77,
        "stopwords": ["der", "die", "und", "in"],
    }
}
TABLE["srp_Cyrl"] = TABLE["deu_Latn"] | {"stopwords": ["и", "у"]}
TABLE["srp_Latn"] = TABLE["deu_Latn"] | {"stopwords": ["i", "u"]}
GERMAN = "Die Leute gehen in die Stadt und kaufen dort ein, was ihnen der Händler mit vielen freundlichen Worten zeigt. "


@dataclass(frozen=True)
class Tables(FakeAssets):
    """A worker that has parsed the YAML files of an archive, or was given them."""

    rows: dict[str, Any] = field(default_factory=lambda: TABLE)

    def tables(self, uri: str) -> dict[str, Any]:
        if not uri.endswith(".tar.gz"):
            return self.rows
        with tarfile.open(uri) as archive:
            files = [member for member in archive if member.name.endswith(".yml")]
            read = {member.name.rpartition("/")[2].removesuffix(".yml"): archive.extractfile(member) for member in files}
            return {name: yaml.load(file, yaml.CSafeLoader) for name, file in sorted(read.items())}


def by_language(cls, **settings):
    return cls(preset="fineweb2@by-language", thresholds="table", **settings)


def with_language(texts, languages):
    return pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.large_string()), "language": pa.array(languages, pa.string())})


@pytest.fixture(params=OPERATORS, ids=lambda cls: cls.model_fields["type"].default)
def cls(request):
    return request.param


def test_every_preset_sets_settings_and_says_its_source(cls):
    """A preset names every threshold, so that it stays what it is when a default changes; it fits the model, and comes from somewhere."""
    assert cls.model_fields["preset"].default in cls.PRESETS
    for name, preset in cls.PRESETS.items():
        assert set(preset.values) == set(cls.model_fields) - NOT_IN_PRESETS, name
        assert preset.source
        operator = cls(preset=name, thresholds="table")
        for setting, value in preset.values.items():
            assert getattr(operator, setting) == value


def test_the_plan_names_every_number_of_a_preset(cls):
    """What is written down of an operator is complete: reading it again gives the same one, whatever the preset's values become."""
    for name in cls.PRESETS:
        operator = cls(preset=name, thresholds="table")
        dumped = json.loads(operator.model_dump_json())
        assert set(cls.PRESETS[name].values) <= set(dumped)
        assert cls(**dumped) == operator


def test_unknown_presets_are_refused_by_name(cls):
    """The message lists those that there are."""
    with pytest.raises(ValidationError, match=cls.model_fields["preset"].default):
        cls(preset="gopher@0")


def test_settings_beside_a_preset_win():
    """One number of a preset can be changed, and a test can be left out with null."""
    operator = GopherRepetition(preset="fineweb2@by-language", thresholds="table", dup_para_frac=0.4, dup_line_frac=None)
    assert operator.dup_para_frac == 0.4
    assert operator.dup_line_frac is None
    assert operator.by_language() == ("top_n_grams", "dup_n_grams")


def test_null_makes_no_test():
    """A document that fails by a threshold stays without it."""
    batch = documents()
    judged = GopherQuality().open(FakeAssets())(batch).reasons.to_pylist()
    without = GopherQuality(min_doc_words=None).open(FakeAssets())(batch).reasons.to_pylist()
    assert judged[1] == "gopher_short_doc"
    assert without[1] != "gopher_short_doc"


def test_reasons_and_signals_are_told_in_the_documentation(cls):
    """Each drop reason stands in the class's documentation, each signal has a unit, a meaning and a source; names are unique."""
    documented = " ".join((cls.__doc__ or "").split())
    assert all(f"`{reason}`" in documented for reason in cls.REASONS)
    assert len(set(cls.REASONS)) == len(cls.REASONS)
    assert len({signal.name for signal in cls.SIGNALS}) == len(cls.SIGNALS)
    assert all(signal.unit and signal.doc and signal.source for signal in cls.SIGNALS)


def test_annotating_drops_and_edits_nothing(cls):
    """`annotate` adds the signals of every document under the operator's name."""
    batch = documents()
    result = cls(annotate=True, name="measured").open(FakeAssets())(batch)
    assert result.reasons is None
    assert result.batch.drop_columns(["measured"]).equals(batch)
    column = result.batch.column("measured")
    assert [part.name for part in column.type] == [signal.name for signal in cls.SIGNALS]
    assert [part.type for part in column.type] == [signal.type for signal in cls.SIGNALS]


def test_keeping_signals_changes_no_verdict(cls):
    """`keep_signals` decides as without, and adds what `annotate` adds."""
    batch = documents()
    plain = cls().open(FakeAssets())(batch)
    kept = cls(keep_signals=True).open(FakeAssets())(batch)
    name = cls.model_fields["type"].default
    assert kept.reasons.equals(plain.reasons)
    assert kept.batch.drop_columns([name]).equals(plain.batch)
    assert kept.batch.column(name).equals(cls(annotate=True).open(FakeAssets())(batch).batch.column(name))


def test_a_null_text_is_an_error_and_has_no_signals(cls):
    """It is neither kept nor dropped, whatever bytes lie under it, and so with a text that is too long for a kernel."""
    text = pa.array([PROSE, None, "x"], pa.large_string())
    result = cls(keep_signals=True).open(FakeAssets())(pa.RecordBatch.from_arrays([text], ["text"]))
    assert {row: error.error for row, error in result.errors.items()} == {1: "null_text"}
    assert result.reasons[1].as_py() is None
    assert set(result.batch.column(cls.model_fields["type"].default)[1].as_py().values()) == {None}


def test_texts_too_long_for_a_kernel_are_errors(cls, monkeypatch):
    """They are quarantined with their size; the others are judged as ever."""
    monkeypatch.setattr(quality, "MOST_BYTES", 1000)
    batch = documents()
    result = cls().open(FakeAssets())(batch)
    assert {row: error.error for row, error in result.errors.items()} == {11: "text_too_long"}
    assert "3000 bytes" in result.errors[11].message
    monkeypatch.undo()
    reasons = cls().open(FakeAssets())(batch).reasons
    assert result.reasons[:11].equals(reasons[:11])
    assert result.reasons[11].as_py() is None


NOT_IN_PRESETS = {"type", "name", "preset", "annotate", "keep_signals", "language_column", "thresholds"}


@pytest.mark.parametrize("by", [FineWebQuality, GopherQuality, GopherRepetition])
def test_thresholds_by_language_need_a_table(by):
    """Without one the model is refused, with the settings that ask for it; the table is an asset only where it is used."""
    with pytest.raises(ValidationError, match="by_language needs `thresholds`"):
        by(preset="fineweb2@by-language")
    assert by_language(by).asset_uris() == ("table",)
    assert by(thresholds="table").asset_uris() == ()


def test_each_document_is_judged_by_its_own_language():
    """The same text stays in one language and goes in another; labels of either style find their line."""
    texts = [GERMAN * 3] * 7
    languages = ["deu_Latn", "de", "deu", "srp_Cyrl", "srp", "xxx", None]
    reasons = by_language(GopherQuality).open(Tables())(with_language(texts, languages)).reasons.to_pylist()
    assert reasons == [None, None, None, "gopher_enough_stop_words", "no_thresholds", "no_thresholds", "no_thresholds"]


def test_a_table_gives_what_its_numbers_give():
    """A language's line judges as the same settings written out."""
    row = TABLE["deu_Latn"]
    written = {name: row[name] for name in ("dup_line_frac", "top_n_grams", "dup_n_grams")}
    written |= {"dup_para_frac": 0, "dup_para_char_frac": 0, "dup_line_char_frac": 0, "words": "unicode"}
    texts = [*TEXTS, GERMAN * 2, GERMAN * 20, "Zeile eins\n" * 5 + GERMAN]
    batch = with_language(texts, ["de"] * len(texts))
    by_table = by_language(GopherRepetition).open(Tables())(batch).reasons
    assert by_table.equals(GopherRepetition(**written).open(FakeAssets())(batch).reasons)
    assert by_table.null_count not in (0, len(texts))


def test_words_by_language_need_no_table():
    """Only how words are split depends on the language then: English as spaCy does, others by Unicode."""
    texts = ["don't"] * 4
    signals = GopherQuality(words="by_language", annotate=True).open(FakeAssets())(with_language(texts, ["en", "eng_Latn", "de", None]))
    assert [row["num_words"] for row in signals.batch.column("gopher_quality").to_pylist()] == [2, 2, 1, 1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "no .yml file"),
        ({"deu_Latn": {"stopwords": []}}, "deu_Latn.yml says no 'min_avg_word_length'"),
        ({"deu_Latn": TABLE["deu_Latn"] | {"max_avg_word_length": "long"}}, "deu_Latn.yml: max_avg_word_length"),
        ({"deu_Latn": TABLE["deu_Latn"] | {"stopwords": [False]}}, "deu_Latn.yml: stop_words"),
        ({"deu_Latn": TABLE["deu_Latn"] | {"stopwords": []}}, "deu_Latn.yml: .*no document could pass"),
        ({"deu_Latn": TABLE["deu_Latn"] | {"max_non_alpha_words_ratio": -1}}, "deu_Latn.yml: max_non_alpha_words_ratio: .*at least 0"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_error(rows, message):
    """The message names the file and the key."""
    with pytest.raises(OperatorError, match=message):
        by_language(GopherQuality).open(Tables(rows=rows))


def test_a_missing_column_of_languages_is_one_clear_error():
    """The message names the column."""
    apply = by_language(GopherQuality, language_column="lang").open(Tables())
    with pytest.raises(OperatorError, match="no column 'lang'"):
        apply(with_language([PROSE], ["en"]))


@pytest.mark.parametrize("by", [FineWebQuality, GopherQuality, GopherRepetition])
def test_fineweb2s_own_table_is_read(by):
    """The preset works with FineWeb-2's archive of thresholds as it is."""
    archive = SHARED / "data" / "fineweb2-configs.tar.gz"
    if not archive.is_file():
        pytest.skip(f"FineWeb-2's thresholds are absent: {archive}")
    operator = by(preset="fineweb2@by-language", thresholds=str(archive))
    judge = operator.open(Tables())
    reasons = judge(with_language([GERMAN * 30, GERMAN, ""], ["deu_Latn", "de", "qqq_Latn"])).reasons.to_pylist()
    assert reasons[2] == "no_thresholds"
    assert set(reasons[:2]) <= {None, *by.REASONS}


def test_a_table_may_hold_shares_above_one():
    """FineWeb-2's has such, by which nothing is dropped; in a pipeline the same number is refused."""
    rows = {"deu_Latn": TABLE["deu_Latn"] | {"dup_line_frac": 1.32, "top_n_grams": [[2, 6.7], [3, 6.7], [4, 6.7]]}}
    operator = by_language(GopherRepetition, dup_n_grams=None)
    assert operator.open(Tables(rows=rows))(with_language([GERMAN * 30], ["deu_Latn"])).reasons.to_pylist() == [None]
    with pytest.raises(ValidationError, match="at most 1"):
        by_language(GopherRepetition, dup_line_frac=1.32)


def test_integers_and_fractions_keep_their_types():
    """A count is an integer, a share a float, and what there is not is null."""
    values = np.array([[3.0, 0.5], [np.nan, np.nan]])
    signals = (quality.Signal("words", "words", "Words.", "here"), quality.Signal("share", "fraction", "A share.", "here"))
    found = quality.signals_array(signals, values)
    assert found.to_pylist() == [{"words": 3, "share": 0.5}, {"words": None, "share": None}]
    assert found.type == pa.struct([("words", pa.int64()), ("share", pa.float64())])


def test_languages_that_are_no_strings_are_told():
    """A column of lists tells no document's language; the message names it."""
    judge = GopherQuality(words="by_language").open(Tables())
    batch = pa.record_batch({"text": pa.array([GERMAN], pa.large_string()), "language": pa.array([["de"]])})
    with pytest.raises(OperatorError, match=r"column 'language' is list.*; languages must be strings"):
        judge(batch)
