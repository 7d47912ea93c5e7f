"""FineWeb's filter: documents whose lines are those of prose, by how they end, how short they are, and how many repeat.

Owns the operator, its presets and what its signals mean; what is done to bytes is in `kernels.fineweb`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from operators.decision import Signal, Test
from operators.kernels.buffers import text_buffers
from operators.kernels.marks import TERMINAL_PUNCTUATION
from operators.quality import ByLanguage, Fraction, Judge, Judged, Limit, Preset, QualityOperator, declared, threshold
from operators.thresholds import Profiles

PAPER = "Penedo et al., The FineWeb Datasets, arXiv:2406.17557, section 3.6"
DATATROVE = "datatrove 0.10, pipeline/filters/fineweb_quality_filter.py"
FINEWEB = "huggingface/datatrove, examples/fineweb.py, with fineweb_quality_filter.py as of its commit 05194d39"
FINEWEB2 = "huggingface/fineweb-2, fineweb-2-pipeline.py and configs/"

V1_STOP_CHARS = (".", "'", '"', "!", "?")
LINES = {
    "line_punct_thr": 0.12,
    "line_punct_exclude_zero": False,
    "stop_chars": None,
    "short_line_thr": 0.67,
    "short_line_length": 30,
    "char_duplicates_ratio": 0.01,
    "new_line_ratio": 0.3,
    "words": "english",
}


class FineWebQuality(QualityOperator):
    """Keep documents in which enough lines end with a mark, not too many are short or repeat, and line feeds are rare among words.

    Lines lie between line feeds; blank ones don't count.

    Drop reasons: `empty`, `line_punct_ratio`, `short_line_ratio`, `char_dup_ratio`, `list_ratio`, `no_thresholds`.
    """

    sources: ClassVar[str] = f"{PAPER}; {DATATROVE}"
    SIGNALS: ClassVar[tuple[Signal, ...]] = (
        Signal("lines", "lines", "Lines of the text that are not blank.", DATATROVE),
        Signal("line_punct_ratio", "fraction", "Share of these lines that end with one of `stop_chars`.", PAPER),
        Signal("short_line_ratio", "fraction", "Share of these lines with at most `short_line_length` characters.", PAPER),
        Signal("char_dup_ratio", "fraction", "Characters of lines that repeat an earlier one, of all but the line feeds.", PAPER),
        Signal("list_ratio", "ratio", "Line feeds to a word.", DATATROVE),
        Signal("words", "words", "Words of the text.", DATATROVE),
    )
    REASONS: ClassVar[tuple[str, ...]] = ("empty", "line_punct_ratio", "short_line_ratio", "char_dup_ratio", "list_ratio")
    PRESETS: ClassVar[Mapping[str, Preset]] = {
        "datatrove@0.10": Preset(LINES, DATATROVE),
        "fineweb@paper": Preset(LINES | {"stop_chars": list(V1_STOP_CHARS), "char_duplicates_ratio": 0.1}, PAPER),
        "fineweb@v1-code": Preset(LINES | {"stop_chars": list(V1_STOP_CHARS)}, FINEWEB),
        "fineweb2@by-language": Preset(
            LINES
            | {
                "line_punct_thr": "by_language",
                "new_line_ratio": "by_language",
                "short_line_thr": 999,
                "char_duplicates_ratio": 0.1,
                "words": "by_language",
            },
            FINEWEB2,
        ),
    }

    type: Literal["fineweb_quality"] = "fineweb_quality"
    preset: Literal["datatrove@0.10", "fineweb@paper", "fineweb@v1-code", "fineweb2@by-language"] = Field(
        default="datatrove@0.10", description="Where settings that are not given come from."
    )
    line_punct_thr: Fraction[float | ByLanguage | None] = Field(
        default=0.12, description="Least share of lines that end with one of `stop_chars`; null: not tested. [FineWeb]"
    )
    line_punct_exclude_zero: bool = Field(
        default=False, description="Documents in which no line ends with one of `stop_chars` pass that test. [datatrove]"
    )
    stop_chars: list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        min_length=1,
        description="What a line should end with; null: the 159 terminal marks of all scripts. [datatrove; FineWeb . ' \" ! ?]",
    )
    short_line_thr: Limit[float | None] = Field(default=0.67, description="Largest share of short lines; null: not tested. [FineWeb]")
    short_line_length: int = Field(default=30, ge=0, description="Most characters (code points) of a short line. [FineWeb]")
    char_duplicates_ratio: Fraction[float | None] = Field(
        default=0.01, description="Largest share of characters in repeated lines; null: not tested. [FineWeb's code; its paper 0.1]"
    )
    new_line_ratio: Limit[float | ByLanguage | None] = Field(
        default=0.3, description="Most line feeds to a word; null: not tested. [FineWeb's code]"
    )

    def profile_values(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Thresholds in the order of the kernel's columns."""
        names = ("line_punct_thr", "short_line_thr", "char_duplicates_ratio", "new_line_ratio")
        return tuple(threshold(values[name]) for name in names)

    def tests_of(self, values: Mapping[str, Any]) -> tuple[Test, ...]:
        """Whether there is any line, then the shares."""
        spares, marked, short = bool(values["line_punct_exclude_zero"]), values["line_punct_thr"], values["short_line_thr"]
        repeated, feeds = values["char_duplicates_ratio"], values["new_line_ratio"]
        return (
            Test("empty", "lines", "", "below", 1, is_fixed=True),
            declared("line_punct_ratio", "line_punct_ratio", "line_punct_thr", "below", marked, high=1, spares_zero=spares),
            declared("short_line_ratio", "short_line_ratio", "short_line_thr", "above", short),
            declared("char_dup_ratio", "char_dup_ratio", "char_duplicates_ratio", "above", repeated, high=1),
            declared("list_ratio", "list_ratio", "new_line_ratio", "above", feeds),
        )

    def judge(self, profiles: Profiles) -> Judge:
        """Load characters and words."""
        from operators.kernels import fineweb as kernels
        from operators.kernels.sentence_starts import lexicon

        known = lexicon()
        suffixes = kernels.Suffixes.of(tuple(TERMINAL_PUNCTUATION if self.stop_chars is None else self.stop_chars))
        rules = kernels.LineRules(int(self.line_punct_exclude_zero), self.short_line_length)

        def judged(text: pa.LargeStringArray, profile: npt.NDArray[np.int32], *, all_signals: bool) -> Judged:
            offsets, data = text_buffers(text)
            num_rows = len(text)
            starts, ends = np.empty((2, int(np.diff(offsets).max()) + 1 if num_rows else 1), np.int32)
            codes = np.zeros(num_rows, np.int8)
            signals = np.zeros((num_rows if all_signals else 0, kernels.NUM_SIGNALS), np.float64)
            kernels.judge_fineweb(
                offsets, data, profile, profiles.table, profiles.words, rules, suffixes, known, starts, ends, all_signals, codes, signals
            )
            return Judged(codes, signals if all_signals else None)

        return judged
