"""Which places stand for which reason of which operator."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Protocol

import pyarrow as pa

from operators.bad_words import BadWords
from operators.base import Assets, Operator
from operators.c4 import C4Quality
from operators.decontaminate import Decontaminate
from operators.fineweb import FineWebQuality
from operators.gopher import GopherQuality, GopherRepetition
from operators.pii import PiiRedact
from operators.places import lines, words
from operators.places.place import Place, looked_at, tidied
from operators.quality import QualityOperator
from operators.thresholds import ENGLISH, NO_PROFILE, Profiles

Find = Callable[[str, str | None, str, str | None], Iterable[Place]]
"""From a reason, its detail, the text as far as it is looked at, and the document's language."""
RUN = re.compile(r"top_(\d+)_gram|duplicated_(\d+)_n_grams")


class FindPlaces(Protocol):
    """What finds places in texts."""

    def __call__(self, reason: str, detail: str | None, text: str, language: str | None = None) -> list[Place]:
        """The places for which a text is dropped, in its order, not overlapping; none if there is none that could be shown.

        Args:
            reason: For which the operator dropped it. One that drops none and edits texts shows what it would change, whatever this is.
            detail: What the operator said beside the reason.
            text: As it reached the operator; only its first `MOST_CHARS` characters are looked at.
            language: Where the operator's settings depend on it.
        """


def open_places(operator: Operator, assets: Assets) -> FindPlaces:
    """What finds the places for which an operator drops texts. It raises nothing for any text; what it needs is loaded when it is asked."""
    found = _finder(operator, assets)

    def find(reason: str, detail: str | None, text: str, language: str | None = None) -> list[Place]:
        return tidied(found(reason, detail, looked_at(text), language))

    return find


def _finder(operator: Operator, assets: Assets) -> Find:
    from operators.places import listed  # it needs kernels, which a command that only shows something must not load

    match operator:
        case GopherRepetition():
            return _repetition(operator, assets)
        case GopherQuality():
            return _quality(operator, assets)
        case FineWebQuality():
            return lambda reason, _detail, text, _language: _fineweb(operator, reason, text)
        case C4Quality():
            return lambda reason, _detail, text, _language: _c4(operator, reason, text)
        case BadWords():
            return lambda _reason, detail, text, language: listed.listed_word(operator, text, detail, language) if detail else ()
        case Decontaminate():
            shared = listed.overlap_finder(operator, assets)
            return lambda _reason, detail, text, _language: shared(text, detail)
        case PiiRedact():
            personal = listed.personal_data(operator, assets)
            return lambda _reason, _detail, text, _language: personal(text)
        case _:
            return lambda *_: ()


def _repetition(operator: GopherRepetition, assets: Assets) -> Find:
    mode_of = _mode_of(operator, assets)

    def find(reason: str, detail: str | None, text: str, language: str | None) -> Iterable[Place]:  # noqa: ARG001
        if reason in ("dup_para_frac", "dup_para_char_frac"):
            return lines.repeated_paragraphs(text)
        if reason in ("dup_line_frac", "dup_line_char_frac"):
            return lines.repeated_lines(text)
        run = RUN.fullmatch(reason)
        if run is None:
            return ()
        spans = words.split(text, mode_of(language)[0])
        return words.most_frequent_run(text, spans, int(run[1])) if run[1] else words.repeated_runs(text, spans, int(run[2]))

    return find


def _quality(operator: GopherQuality, assets: Assets) -> Find:
    mode_of = _mode_of(operator, assets)

    def find(reason: str, detail: str | None, text: str, language: str | None) -> Iterable[Place]:  # noqa: ARG001
        match reason:
            case "gopher_too_many_hashes":
                return lines.occurrences(text, "#", "hash")
            case "gopher_too_many_ellipsis":
                return lines.occurrences(text, r"\.\.\.|…", "ellipsis")
            case "gopher_too_many_bullets":
                return lines.bullets(text)
            case "gopher_too_many_end_ellipsis":
                return lines.end_ellipses(text)
            case "gopher_below_alpha_threshold":
                return words.without_letters(text, words.split(text, mode_of(language)[0]))
            case "gopher_above_avg_threshold":
                mode, settings = mode_of(language)
                return words.long_words(words.split(text, mode), settings["max_avg_word_length"] or math.inf)
        return ()

    return find


def _mode_of(operator: QualityOperator, assets: Assets) -> Callable[[str | None], tuple[int, Mapping[str, Any]]]:
    """How a language's texts are split into words, and what its thresholds are."""

    @cache
    def profiles() -> Profiles:
        return Profiles.of(operator, assets)

    def mode(language: str | None) -> tuple[int, Mapping[str, Any]]:
        known = profiles()
        row = pa.record_batch({known.column or "language": pa.array([language], pa.string())})
        line = int(known.of_rows(row)[0])
        return (ENGLISH, known.settings[0]) if line == NO_PROFILE else (int(known.words[line]), known.settings[line])

    return mode


def _fineweb(operator: FineWebQuality, reason: str, text: str) -> Iterable[Place]:
    from operators.kernels.marks import TERMINAL_PUNCTUATION

    match reason:
        case "line_punct_ratio":
            return lines.unmarked_lines(text, tuple(TERMINAL_PUNCTUATION if operator.stop_chars is None else operator.stop_chars))
        case "short_line_ratio":
            return lines.short_lines(text, operator.short_line_length)
        case "char_dup_ratio":
            return lines.repeated_filled_lines(text)
    return ()


def _c4(operator: C4Quality, reason: str, text: str) -> Iterable[Place]:
    from operators.places import boilerplate

    if reason == "too_few_sentences":
        return boilerplate.cut_lines(operator, text)
    return boilerplate.forbidden(operator, text, reason) if reason in ("lorem_ipsum", "curly_bracket") else ()
