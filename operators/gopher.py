"""Gopher's two filters: documents that repeat themselves, and documents that are no prose by their words, symbols and lines.

Owns the two operators, their presets and what their signals mean; what is done to bytes is in `kernels.gopher` and `kernels.ngrams`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, ValidationInfo, field_validator, model_validator

from operators.decision import Bools, Side, Signal, Test
from operators.kernels.buffers import text_buffers
from operators.quality import (
    ByLanguage,
    Judge,
    Judged,
    Preset,
    QualityOperator,
    Share,
    Threshold,
    at_most_one,
    bound,
    declared,
    no_truth_value,
    not_negative,
    threshold,
)
from operators.thresholds import Profiles

PAPER = "Gopher, arXiv:2112.11446, appendix A.1.1 and table A1"
DATATROVE = "datatrove 0.10, pipeline/filters"
FINEWEB = "FineWeb, arXiv:2406.17557, and huggingface/datatrove, examples/fineweb.py"
FINEWEB2 = "FineWeb-2, arXiv:2506.20920, and huggingface/fineweb-2, fineweb-2-pipeline.py"
BY_LANGUAGE: ByLanguage = "by_language"
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

REPETITION = {
    "dup_para_frac": 0.3,
    "dup_para_char_frac": 0.2,
    "dup_line_frac": 0.3,
    "dup_line_char_frac": 0.2,
    "top_n_grams": {2: 0.2, 3: 0.18, 4: 0.16},
    "dup_n_grams": {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
    "words": "english",
}
QUALITY = {
    "min_doc_words": 50,
    "max_doc_words": 100_000,
    "min_avg_word_length": 3,
    "max_avg_word_length": 10,
    "max_symbol_word_ratio": 0.1,
    "max_bullet_lines_ratio": 0.9,
    "max_ellipsis_lines_ratio": 0.3,
    "max_non_alpha_words_ratio": 0.8,
    "min_stop_words": 2,
    "stop_words": list(STOP_WORDS),
    "words": "english",
}

Runs = dict[int, float | None]
"""Thresholds by the number of words in a run."""

PresetName = Literal["datatrove@0.10", "fineweb2@by-language", "fineweb@v1", "gopher@paper"]

LEAST = ("min_doc_words", "min_avg_word_length", "max_non_alpha_words_ratio", "min_stop_words")
"""Settings below which documents go; they go above the others."""

TOP_SIZES = (2, 3, 4)
DUP_SIZES = (5, 6, 7, 8, 9, 10)
"""Numbers of words in the runs that the kernel counts, in its order."""

REPETITION_SIGNALS = (
    Signal("dup_para_frac", "fraction", "Paragraphs (between empty lines) that are the same as an earlier one, of all.", PAPER),
    Signal("dup_para_char_frac", "fraction", "Characters of those paragraphs, of the text's.", PAPER),
    Signal("dup_line_frac", "fraction", "Lines (between runs of line feeds) that are the same as an earlier one, of all.", PAPER),
    Signal("dup_line_char_frac", "fraction", "Characters of those lines, of the text's.", PAPER),
    *(
        Signal(
            f"top_{n}_gram", "fraction", f"Characters of the most frequent {n} words in a row times their frequency, of the text's.", PAPER
        )
        for n in TOP_SIZES
    ),
    *(
        Signal(f"duplicated_{n}_n_grams", "fraction", f"Characters of {n} words in a row that occurred before, of the text's.", PAPER)
        for n in DUP_SIZES
    ),
)

QUALITY_SIGNALS = (
    Signal("num_words", "words", "Words, punctuation marks among them.", DATATROVE),
    Signal("num_non_symbol_words", "words", "Words with a character that is no punctuation mark and no control character.", DATATROVE),
    Signal("mean_word_length", "mean", "Characters of those words, on average.", PAPER),
    Signal("hash_ratio", "ratio", "Occurrences of `#`, by word.", PAPER),
    Signal("ellipsis_ratio", "ratio", "Occurrences of `...` and of the ellipsis, by word.", PAPER),
    Signal("bullet_line_frac", "fraction", "Lines that begin with a bullet or `-`, of all.", PAPER),
    Signal("ellipsis_line_frac", "fraction", "Lines that end with `...` or the ellipsis, of all.", PAPER),
    Signal("alpha_word_frac", "fraction", "Words with a letter, of all.", PAPER),
    Signal("num_stop_words", "words", "Different stop words that occur as words.", PAPER),
)


class GopherRepetition(QualityOperator):
    """Keep documents that don't repeat themselves: in paragraphs, lines, or runs of words.

    A document goes where a share is *above* its threshold. Shares of characters are of the whole text's, line feeds included. A run is
    repeated if its letters without the spaces between the words occurred before. Equal to datatrove's `GopherRepetitionFilter`.

    Drop reasons: `empty`, `dup_para_frac`, `dup_para_char_frac`, `dup_line_frac`, `dup_line_char_frac`, `top_2_gram`, `top_3_gram`,
    `top_4_gram`, `duplicated_5_n_grams`, `duplicated_6_n_grams`, `duplicated_7_n_grams`, `duplicated_8_n_grams`, `duplicated_9_n_grams`,
    `duplicated_10_n_grams`, `no_thresholds`.
    """

    sources: ClassVar[str] = f"{PAPER}; {DATATROVE}/gopher_repetition_filter.py; {FINEWEB2}"
    SIGNALS: ClassVar[tuple[Signal, ...]] = REPETITION_SIGNALS
    REASONS: ClassVar[tuple[str, ...]] = ("empty", *(signal.name for signal in REPETITION_SIGNALS))
    PRESETS: ClassVar[Mapping[str, Preset]] = {
        "datatrove@0.10": Preset(REPETITION, f"{DATATROVE}/gopher_repetition_filter.py; the numbers of Gopher's table A1"),
        "fineweb2@by-language": Preset(
            REPETITION
            | {
                "dup_para_frac": None,
                "dup_para_char_frac": None,
                "dup_line_char_frac": None,
                "dup_line_frac": BY_LANGUAGE,
                "top_n_grams": BY_LANGUAGE,
                "dup_n_grams": BY_LANGUAGE,
                "words": BY_LANGUAGE,
            },
            FINEWEB2,
        ),
        "fineweb@v1": Preset(REPETITION, FINEWEB),
        "gopher@paper": Preset(REPETITION, PAPER),
    }

    type: Literal["gopher_repetition"] = "gopher_repetition"
    preset: PresetName = Field(default="datatrove@0.10", description="Where settings that are not given come from.")
    dup_para_frac: Share = Field(default=0.3, description="Largest share of repeated paragraphs; null or 0: any. [Gopher]")
    dup_para_char_frac: Share = Field(
        default=0.2, description="Largest share of characters in repeated paragraphs; null or 0: any. [Gopher]"
    )
    dup_line_frac: Share = Field(default=0.3, description="Largest share of repeated lines; null or 0: any. [Gopher]")
    dup_line_char_frac: Share = Field(default=0.2, description="Largest share of characters in repeated lines; null or 0: any. [Gopher]")
    top_n_grams: Runs | ByLanguage | None = Field(
        default={2: 0.2, 3: 0.18, 4: 0.16},
        description="Largest share of characters in the most frequent run of 2, 3 and 4 words, by their number; one that is null or left "
        "out: any. A list of pairs does too. [Gopher]",
    )
    dup_n_grams: Runs | ByLanguage | None = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
        description="Largest share of characters in repeated runs of 5 to 10 words, by their number; one that is null or left out: any. A "
        "list of pairs does too. [Gopher]",
    )

    @field_validator("top_n_grams", "dup_n_grams", mode="before")
    @classmethod
    def _pairs_are_a_mapping(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
                raise ValueError("expected a mapping such as {2: 0.2}, or a list of pairs [2, 0.2]")
            if len({pair[0] for pair in value}) < len(value):
                raise ValueError("a number of words is given twice")
            value = dict(value)
        if not isinstance(value, Mapping):
            return value
        # Keys are text in JSON, which is what a pipeline is read as.
        return {int(n) if isinstance(n, str) and n.isdecimal() else n: no_truth_value(share) for n, share in value.items()}

    @field_validator("top_n_grams")
    @classmethod
    def _tops_are_known(cls, value: Runs | ByLanguage | None, info: ValidationInfo) -> Runs | ByLanguage | None:
        return _known_sizes(value, TOP_SIZES, info)

    @field_validator("dup_n_grams")
    @classmethod
    def _dups_are_known(cls, value: Runs | ByLanguage | None, info: ValidationInfo) -> Runs | ByLanguage | None:
        return _known_sizes(value, DUP_SIZES, info)

    def profile_values(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Thresholds in the order of the signals."""
        plain = (values[name] or None for name in ("dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"))
        tops, dups = values["top_n_grams"] or {}, values["dup_n_grams"] or {}
        return tuple(
            map(threshold, [*plain, *(tops.get(n) for n in TOP_SIZES), *(dups.get(n) for n in DUP_SIZES)]),
        )

    def tests_of(self, values: Mapping[str, Any]) -> tuple[Test, ...]:
        """Whether there is any text, then the shares."""
        plain = ("dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac")
        shares = [(name, name, values[name] or None) for name in plain]
        for setting, reason, sizes in (("top_n_grams", "top_{}_gram", TOP_SIZES), ("dup_n_grams", "duplicated_{}_n_grams", DUP_SIZES)):
            runs = values[setting] or {}
            shares += [(reason.format(n), f"{setting}[{n}]", runs if isinstance(runs, str) else runs.get(n)) for n in sizes]
        return (Test("empty", None), *(declared(name, name, setting, "above", value, high=1) for name, setting, value in shares))

    def flagged(self, reason: str, text: pa.LargeStringArray) -> Bools:  # noqa: ARG002  there is one
        """Texts without a character."""
        found: Bools = pc.fill_null(pc.equal(text, ""), False).to_numpy(zero_copy_only=False)
        return found

    def judge(self, profiles: Profiles) -> Judge:
        """Load what words are."""
        from operators.kernels import gopher as kernels
        from operators.kernels.unicode import tables
        from operators.kernels.words_english import english_rules
        from operators.kernels.words_unicode import word_tables

        known = (english_rules(), word_tables(), tables())

        def judged(text: pa.LargeStringArray, profile: npt.NDArray[np.int32], *, all_signals: bool) -> Judged:
            offsets, data = text_buffers(text)
            codes = np.zeros(len(text), np.int8)
            signals = np.zeros((len(text) if all_signals else 0, kernels.NUM_REPETITION), np.float64)
            kernels.repetition(*known, offsets, data, profile, profiles.words, profiles.table, codes, signals)
            return Judged(codes, signals if all_signals else None)

        return judged


class GopherQuality(QualityOperator):
    """Keep documents that are prose by the number and length of their words, their symbols, their lines and their stop words.

    Words count for number and length if they have a character that is no punctuation mark; other shares are of all words. A document
    without any word is `gopher_short_doc`, whatever the thresholds. Otherwise equal to datatrove's `GopherQualityFilter`.

    Drop reasons: `gopher_short_doc`, `gopher_long_doc`, `gopher_below_avg_threshold`, `gopher_above_avg_threshold`,
    `gopher_too_many_hashes`, `gopher_too_many_ellipsis`, `gopher_too_many_bullets`, `gopher_too_many_end_ellipsis`,
    `gopher_below_alpha_threshold`, `gopher_enough_stop_words` (too few of them: datatrove's name), `no_thresholds`.
    """

    sources: ClassVar[str] = f"{PAPER}; {DATATROVE}/gopher_quality_filter.py; {FINEWEB2}"
    SIGNALS: ClassVar[tuple[Signal, ...]] = QUALITY_SIGNALS
    REASONS: ClassVar[tuple[str, ...]] = (
        "gopher_short_doc",
        "gopher_long_doc",
        "gopher_below_avg_threshold",
        "gopher_above_avg_threshold",
        "gopher_too_many_hashes",
        "gopher_too_many_ellipsis",
        "gopher_too_many_bullets",
        "gopher_too_many_end_ellipsis",
        "gopher_below_alpha_threshold",
        "gopher_enough_stop_words",
    )
    PRESETS: ClassVar[Mapping[str, Preset]] = {
        "datatrove@0.10": Preset(QUALITY, f"{DATATROVE}/gopher_quality_filter.py; the numbers of Gopher's paper"),
        "fineweb2@by-language": Preset(
            QUALITY
            | {
                "min_avg_word_length": BY_LANGUAGE,
                "max_avg_word_length": BY_LANGUAGE,
                "max_non_alpha_words_ratio": BY_LANGUAGE,
                "stop_words": BY_LANGUAGE,
                "words": BY_LANGUAGE,
            },
            FINEWEB2,
        ),
        "fineweb@v1": Preset(QUALITY, FINEWEB),
        "gopher@paper": Preset(QUALITY, PAPER),
    }

    type: Literal["gopher_quality"] = "gopher_quality"
    preset: PresetName = Field(default="datatrove@0.10", description="Where settings that are not given come from.")
    min_doc_words: Threshold = Field(default=50, description="Fewest words that are no symbols; null or 0: any number above none. [Gopher]")
    max_doc_words: Threshold = Field(default=100_000, description="Most words that are no symbols; null or 0: any number. [Gopher]")
    min_avg_word_length: Threshold = Field(
        default=3, description="Smallest mean length in characters of words that are no symbols; null or 0: any. [Gopher]"
    )
    max_avg_word_length: Threshold = Field(
        default=10, description="Largest mean length in characters of words that are no symbols; null or 0: any. [Gopher]"
    )
    max_symbol_word_ratio: Threshold = Field(
        default=0.1, description="Most hashes by word, and most ellipses by word; null or 0: any number. [Gopher]"
    )
    max_bullet_lines_ratio: Share = Field(
        default=0.9, description="Largest share of lines that begin with a bullet; null or 0: any. [Gopher]"
    )
    max_ellipsis_lines_ratio: Share = Field(
        default=0.3, description="Largest share of lines that end with an ellipsis; null or 0: any. [Gopher]"
    )
    max_non_alpha_words_ratio: Share = Field(
        default=0.8, description="Smallest share of words that have a letter (datatrove's name for it); null or 0: any. [Gopher]"
    )
    min_stop_words: Threshold = Field(default=2, description="Fewest different stop words in a document; null or 0: any number. [Gopher]")
    stop_words: list[str] | ByLanguage = Field(
        default=list(STOP_WORDS), description="The stop words, exactly as they stand in the text, capitals too. [Gopher]"
    )

    @model_validator(mode="after")
    def _documents_can_pass(self) -> Self:
        for what in ("doc_words", "avg_word_length"):
            least, most = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if isinstance(least, int | float) and isinstance(most, int | float) and 0 < most < least:
                raise ValueError(f"min_{what} ({least}) is above max_{what} ({most}); no document could pass")
        least, given = self.min_stop_words, self.stop_words
        if isinstance(least, int | float) and isinstance(given, list) and len(set(given)) < least:
            raise ValueError(
                f"stop_words has {len(set(given))} different words, min_stop_words asks for {least}; no document could pass; "
                "give more words, or set min_stop_words: null"
            )
        return self

    def profile_values(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Thresholds in the order of the tests."""
        names = (
            "min_doc_words",
            "max_doc_words",
            "min_avg_word_length",
            "max_avg_word_length",
            "max_symbol_word_ratio",
            "max_bullet_lines_ratio",
            "max_ellipsis_lines_ratio",
            "max_non_alpha_words_ratio",
            "min_stop_words",
        )
        return tuple(threshold(values[name] or None) for name in names)

    def tests_of(self, values: Mapping[str, Any]) -> tuple[Test, ...]:
        """Words, symbols, lines, letters and stop words; the largest number of symbols is tested of hashes, then of ellipses."""

        def test(reason: str, signal: str, setting: str, **more: Any) -> Test:
            side: Side = "below" if setting in LEAST else "above"
            return declared(f"gopher_{reason}", signal, setting, side, values[setting] or None, **more)

        words, length, symbols = values["max_doc_words"], values["max_avg_word_length"], "max_symbol_word_ratio"
        stop_words = values["stop_words"]
        most_stop_words = float(len(set(stop_words))) if isinstance(stop_words, list) else math.inf
        return (
            Test("gopher_short_doc", "num_words", "", "below", 1, is_fixed=True),
            test("short_doc", "num_non_symbol_words", "min_doc_words", is_whole=True, high=bound(words, math.inf)),
            test("long_doc", "num_non_symbol_words", "max_doc_words", is_whole=True, low=bound(values["min_doc_words"], 0)),
            test("below_avg_threshold", "mean_word_length", "min_avg_word_length", high=bound(length, math.inf)),
            test("above_avg_threshold", "mean_word_length", "max_avg_word_length", low=bound(values["min_avg_word_length"], 0)),
            test("too_many_hashes", "hash_ratio", symbols),
            test("too_many_ellipsis", "ellipsis_ratio", symbols),
            test("too_many_bullets", "bullet_line_frac", "max_bullet_lines_ratio", high=1),
            test("too_many_end_ellipsis", "ellipsis_line_frac", "max_ellipsis_lines_ratio", high=1),
            test("below_alpha_threshold", "alpha_word_frac", "max_non_alpha_words_ratio", high=1),
            test("enough_stop_words", "num_stop_words", "min_stop_words", is_whole=True, high=most_stop_words),
        )

    def judge(self, profiles: Profiles) -> Judge:
        """Load what words are, and make the tables of stop words."""
        from operators.kernels import gopher as kernels
        from operators.kernels.punctuation import character_kinds
        from operators.kernels.stop_words import stop_word_tables
        from operators.kernels.unicode import tables
        from operators.kernels.words_english import english_rules
        from operators.kernels.words_unicode import word_tables

        known = (english_rules(), word_tables(), tables(), character_kinds())
        stop_words = stop_word_tables([settings["stop_words"] for settings in profiles.settings])

        def judged(text: pa.LargeStringArray, profile: npt.NDArray[np.int32], *, all_signals: bool) -> Judged:
            offsets, data = text_buffers(text)
            codes = np.zeros(len(text), np.int8)
            signals = np.zeros((len(text) if all_signals else 0, kernels.NUM_QUALITY), np.float64)
            kernels.quality(*known, stop_words, offsets, data, profile, profiles.words, profiles.table, codes, signals)
            return Judged(codes, signals if all_signals else None)

        return judged


def _known_sizes(value: Runs | ByLanguage | None, sizes: Iterable[int], info: ValidationInfo) -> Runs | ByLanguage | None:
    if not isinstance(value, dict):
        return value
    for n, share in value.items():
        if n not in sizes:
            raise ValueError(f"runs of {n} words are not measured; expected {', '.join(map(str, sizes))}")
        at_most_one(not_negative(share), info)
    return value
