"""C4's filters: documents that lose their boilerplate lines and must have something left, and mC4's by the length of paragraphs.

Owns the two operators, their presets and what their signals mean; what is done to bytes is in `kernels.c4`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from operators.base import Assets, BatchFn, BatchOperator, Result, null_text_errors, text_of
from operators.decision import Measured, Measures, Signal, Test, fixed_limits
from operators.kernels.buffers import text_array, text_buffers
from operators.quality import Judge, Judged, Preset, QualityOperator, declared, is_made
from operators.thresholds import Profiles

if TYPE_CHECKING:
    from operators.kernels.c4 import C4Rules
    from operators.kernels.sentence_starts import Lexicon

PAPER = "Raffel et al., JMLR 21 (2020) 140, section 2.2"
TFDS = "https://github.com/tensorflow/datasets/blob/master/tensorflow_datasets/text/c4_utils.py"
DATATROVE = "datatrove 0.10, pipeline/filters/c4_filters.py"
FINEWEB = "huggingface/datatrove, examples/fineweb.py"

LINES = {
    "split_paragraph": True,
    "remove_citations": True,
    "filter_no_terminal_punct": True,
    "min_num_sentences": 5,
    "min_words_per_line": 3,
    "max_word_length": 1000,
    "filter_lorem_ipsum": True,
    "filter_javascript": True,
    "filter_curly_bracket": True,
    "filter_policy": True,
    "words": "english",
}

QUALITY_SIGNALS = (
    Signal("lines", "lines", "Lines of the text, as `str.splitlines` has them; sentences, where those are judged.", DATATROVE),
    Signal("lines_kept", "lines", "Lines that pass every test.", DATATROVE),
    Signal("lines_too_long_word", "lines", "Lines with a word of more than `max_word_length` characters.", TFDS),
    Signal("lines_no_terminal_punct", "lines", "Of the others: lines that end with none of . ? ! \" ' or with an ellipsis.", PAPER),
    Signal("lines_too_few_words", "lines", "Of the others: lines of fewer than `min_words_per_line` words.", PAPER),
    Signal("lines_lorem_ipsum", "lines", "Of the others: lines with the phrase `lorem ipsum`, which drop the document.", PAPER),
    Signal("lines_javascript", "lines", "Of the others: lines with the word `javascript`.", PAPER),
    Signal("lines_curly_bracket", "lines", "Of the others: lines with a curly bracket, which drop the document.", PAPER),
    Signal("lines_policy", "lines", "Of the others: lines with a phrase of cookie and privacy policies or terms of use.", TFDS),
    Signal("sentences", "sentences", "Sentences of the lines that pass.", PAPER),
    Signal("citations", "count", "Citations such as `[1]` cut out of lines without an over-long word.", TFDS),
)


class C4Quality(QualityOperator):
    """Keep documents that have enough sentences left once lines that are no prose are cut out of their text.

    A line goes that has an over-long word, no terminal punctuation, few words, or phrases of scripts and policies; the others lose their
    Wikipedia-style citations and are joined again. `annotate` leaves the text as it is.

    Drop reasons: `lorem_ipsum`, `curly_bracket`, `too_few_sentences`.
    """

    sources: ClassVar[str] = f"{PAPER}; {TFDS}; {DATATROVE}"
    may_edit_text: ClassVar[bool] = True
    SIGNALS: ClassVar[tuple[Signal, ...]] = QUALITY_SIGNALS
    REASONS: ClassVar[tuple[str, ...]] = ("lorem_ipsum", "curly_bracket", "too_few_sentences")
    PRESETS: ClassVar[Mapping[str, Preset]] = {
        "c4@paper": Preset(
            LINES | {"min_num_sentences": 3, "min_words_per_line": 5},
            f"{PAPER}, and its code, {TFDS}, whose terminal marks don't include the apostrophe",
        ),
        "datatrove@0.10": Preset(LINES, DATATROVE),
        "fineweb@v1": Preset(LINES | {"filter_no_terminal_punct": False}, FINEWEB),
    }

    type: Literal["c4_quality"] = "c4_quality"
    preset: Literal["c4@paper", "datatrove@0.10", "fineweb@v1"] = Field(
        default="datatrove@0.10", description="Where settings that are not given come from."
    )
    split_paragraph: bool = Field(
        default=True, description="Judge lines and join them by line feeds; false: judge sentences and join them by blanks. [datatrove]"
    )
    remove_citations: bool = Field(default=True, description="Cut [1], [], [edit] and [citation needed] out of the text. [C4's code]")
    filter_no_terminal_punct: bool = Field(
        default=True, description="Cut lines that don't end with one of . ? ! \" ' or that end with an ellipsis. [C4; FineWeb does not]"
    )
    min_num_sentences: int | None = Field(
        default=5, ge=-1, description="Fewest sentences that may be left; null or -1: any number. [datatrove; C4's paper 3]"
    )
    min_words_per_line: int | None = Field(
        default=3, ge=-1, description="Cut lines of fewer words between white space; null or -1: none. [datatrove; C4's paper 5]"
    )
    max_word_length: int | None = Field(
        default=1000, ge=-1, description="Cut lines with a word of more characters (code points); null or -1: none. [C4's code]"
    )
    filter_lorem_ipsum: bool = Field(default=True, description="Drop documents with `lorem ipsum` in a line, in any case. [C4]")
    filter_javascript: bool = Field(default=True, description="Cut lines with `javascript`, in any case. [C4]")
    filter_curly_bracket: bool = Field(default=True, description="Drop documents with a { in a line. [C4]")
    filter_policy: bool = Field(
        default=True, description="Cut lines with `terms of use`, `privacy policy`, `use cookies` and the like, in any case. [C4's code]"
    )

    def profile_values(self, values: Mapping[str, Any]) -> tuple[float, ...]:
        """Nothing depends on the language but how text is split into words."""
        del values
        return ()

    def tests_of(self, values: Mapping[str, Any]) -> tuple[Test, ...]:
        """Phrases and brackets, which of them comes first in the text deciding, then sentences.

        Settings that say which lines are cut out are no tests of documents: another one would change what is counted.
        """
        sentences = values["min_num_sentences"]
        return (
            _forbidden("lorem_ipsum", "lines_lorem_ipsum", values),
            _forbidden("curly_bracket", "lines_curly_bracket", values),
            declared("too_few_sentences", "sentences", "min_num_sentences", "below", sentences, is_whole=True, low=-1),
        )

    def judge(self, profiles: Profiles) -> Judge:
        """Load characters, words and sentences."""
        from operators.kernels.sentence_starts import lexicon

        rules, known = self._rules(), lexicon()

        def judged(text: pa.LargeStringArray, profile: npt.NDArray[np.int32], *, all_signals: bool) -> Judged:
            return _judged(text, profiles.words[profile], known, rules, all_signals=all_signals)

        return judged

    def _rules(self) -> C4Rules:
        from operators.kernels.c4 import C4Rules

        return C4Rules(
            split_paragraph=int(self.split_paragraph),
            remove_citations=int(self.remove_citations),
            filter_no_terminal_punct=int(self.filter_no_terminal_punct),
            min_num_sentences=_limit(self.min_num_sentences),
            min_words_per_line=_limit(self.min_words_per_line),
            max_word_length=_limit(self.max_word_length),
            filter_lorem_ipsum=int(self.filter_lorem_ipsum),
            filter_javascript=int(self.filter_javascript),
            filter_curly_bracket=int(self.filter_curly_bracket),
            filter_policy=int(self.filter_policy),
            edits=int(not self.annotate),
        )


def _forbidden(reason: str, signal: str, values: Mapping[str, Any]) -> Test:
    value = 0 if values[f"filter_{reason}"] else None
    return declared(reason, signal, f"filter_{reason}", "above", value, is_fixed=True)


def _limit(value: int | None) -> int:
    return -1 if value is None else value


def _judged(text: pa.LargeStringArray, modes: npt.NDArray[np.int8], known: Lexicon, rules: C4Rules, *, all_signals: bool) -> Judged:
    from operators.kernels import c4 as kernels

    offsets, data = text_buffers(text)
    num_rows, size = len(text), int(offsets[-1] - offsets[0])
    found = 0 if rules.split_paragraph else int(kernels.most_sentences(offsets, data, known.marks))
    longest = int(np.diff(offsets).max()) if num_rows else 0
    codes = np.zeros(num_rows, np.int8)
    signals = np.zeros((num_rows if all_signals else 0, kernels.NUM_SIGNALS), np.float64)
    # Judging sentences, each of them may get a blank that was not there.
    room = 0 if not rules.edits else size if rules.split_paragraph else 2 * size
    out, out_view = kernels.buffer_and_view(room)
    out_offsets = np.zeros(num_rows + 1, np.int64)
    scratch = kernels.scratch(longest, found)
    is_edited = kernels.judge_c4(offsets, data, modes, known, rules, scratch, all_signals, codes, signals, out, out_view, out_offsets)
    return Judged(codes, signals if all_signals else None, text_array(out_offsets, out, text) if is_edited else None)


LONG_LINES = Signal("long_lines", "lines", "Lines (between line feeds) of at least `min_paragraph_len` characters.", TFDS)


class C4Paragraph(BatchOperator):
    """Keep documents that have at least `min_paragraphs` lines of at least `min_paragraph_len` characters, as mC4 does.

    Lines lie between line feeds; characters are Unicode code points.

    Drop reasons: `too_few_paragraphs`.
    """

    sources: ClassVar[str] = f"Xue et al., mT5, arXiv:2010.11934, section 3.1; {TFDS}; {DATATROVE} (which says `< 3 paragraphs`)"

    type: Literal["c4_paragraph"] = "c4_paragraph"
    min_paragraphs: int = Field(default=3, ge=0, description="Fewest lines that must be long. [mC4]")
    min_paragraph_len: int = Field(default=200, ge=0, description="Fewest characters (code points) of a long line. [mC4]")

    def declared_tests(self) -> tuple[Test, ...]:
        """How many long lines there are."""
        test = declared("too_few_paragraphs", "long_lines", "min_paragraphs", "below", self.min_paragraphs, is_whole=True)
        return (test,) if is_made(test) else ()

    def open_measures(self, assets: Assets) -> Measures:
        """Count long lines; no file is loaded."""
        tests = self.declared_tests()

        def measure(batch: pa.RecordBatch) -> Measured:
            text = text_of(batch, assets.text_column)
            found = np.where(text.is_valid().to_numpy(zero_copy_only=False), self._num_long(text), np.nan)
            return Measured(found[:, None], fixed_limits(tests, len(text)))

        return Measures((LONG_LINES,), tests, measure)

    def _num_long(self, text: pa.LargeStringArray) -> npt.NDArray[np.int64]:
        from operators.kernels.c4 import count_long_lines

        num_long = np.zeros(len(text), np.int64)
        count_long_lines(*text_buffers(text), self.min_paragraph_len, num_long)
        return num_long

    def open(self, assets: Assets) -> BatchFn:
        """Return the function that counts and judges; no file is loaded."""

        def judge(batch: pa.RecordBatch) -> Result:
            text = text_of(batch, assets.text_column)
            num_long = self._num_long(text)
            is_short = pc.less(pa.array(num_long), pa.scalar(self.min_paragraphs, pa.int64()))
            reasons = pc.if_else(is_short, pa.scalar("too_few_paragraphs"), pa.scalar(None, pa.string()))
            return Result(batch, reasons, null_text_errors(text))

        return judge
