"""Places of words and runs of words that somebody listed: bad words, items of evaluation sets; and of personal data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final

import pyarrow as pa

from operators.bad_words import BadWords
from operators.base import Assets
from operators.decontaminate import Decontaminate
from operators.kernels.overlap import ALONE, IGNORED, SEPARATES, folded
from operators.pii import PiiRedact
from operators.places.lowered import Lowered
from operators.places.place import Place

MOST_ITEMS: Final = 20
Word = tuple[str, int, int]
"""A word as it is compared, and the characters that it comes from."""


def listed_word(operator: BadWords, text: str, word: str, language: str | None) -> Iterator[Place]:
    """Where a word of a list stands in a text's lower case."""
    lowered = Lowered.of(text)
    unbounded = (language or operator.language) in operator.unbounded
    flanked = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    pattern = re.compile(re.escape(word)) if unbounded or flanked.search(lowered.text) is None else flanked
    for match in pattern.finditer(lowered.text):
        if match.end() > match.start():
            yield Place(*lowered.span(*match.span()), f"the listed word {word!r}")


def overlap_finder(operator: Decontaminate, assets: Assets) -> Callable[[str, str | None], Iterator[Place]]:
    """What finds runs of words that a text shares with the items that details name. The sets are read when it is first asked."""

    @cache
    def items() -> tuple[dict[str, list[int]], Sequence[str], Sequence[str]]:
        read = operator.items(assets)
        by_label: dict[str, list[int]] = {}
        for item in range(len(read.ids)):
            by_label.setdefault(read.label(item), []).append(item)
        return by_label, read.wholes, read.firsts

    def find(text: str, detail: str | None) -> Iterator[Place]:
        if not detail:
            return
        by_label, wholes, firsts = items()
        words = folded_words(text)
        for label in re.sub(r" and \d+ more\Z", "", detail).split(", ")[:MOST_ITEMS]:
            for item in by_label.get(label, [])[:MOST_ITEMS]:
                runs = {run for part in {wholes[item], firsts[item]} for run in _runs(operator, part)}
                yield from _shared(words, runs, f"words that are in {label}, too")

    return find


def folded_words(text: str) -> list[Word]:
    """The words of a text as sets are compared by them, with their places."""
    known: dict[str, tuple[int, ...]] = {}
    found: list[Word] = []
    word, start, stop = "", 0, 0
    for place, char in enumerate(text):
        if char not in known:
            known[char] = folded(char)
        for part in known[char]:
            if part == IGNORED:
                continue
            if word and (part == SEPARATES or part & ALONE):
                found.append((word, start, stop))
                word = ""
            if part & ALONE:
                found.append((chr(part - ALONE), place, place + 1))
            elif part != SEPARATES:
                start, stop = (start if word else place), place + 1
                word += chr(part)
    return [*found, (word, start, stop)] if word else found


def _runs(operator: Decontaminate, part: str) -> Iterator[tuple[str, ...]]:
    """The runs of words of an item by which it is found: a short one is one run."""
    words = [word for word, _, _ in folded_words(part)]
    if len(words) < operator.n:
        yield from [tuple(words)] if len(words) >= min(operator.min_words, operator.n) else []
        return
    yield from (tuple(words[at : at + operator.n]) for at in range(len(words) - operator.n + 1))


def _shared(words: Sequence[Word], runs: set[tuple[str, ...]], why: str) -> Iterator[Place]:
    strings = [word for word, _, _ in words]
    for size in sorted({len(run) for run in runs}):
        for at in range(len(words) - size + 1):
            if tuple(strings[at : at + size]) in runs:
                yield Place(words[at][1], words[at + size - 1][2], why)


def personal_data(operator: PiiRedact, assets: Assets) -> Callable[[str], Iterator[Place]]:
    """What finds in a text what would be taken out of it."""

    @cache
    def annotate() -> Callable[[pa.RecordBatch], pa.RecordBatch]:
        apply = operator.model_copy(update={"annotate": True, "keep_signals": False}).open(assets)
        return lambda batch: apply(batch).batch

    def find(text: str) -> Iterator[Place]:
        encoded = pa.array([text.encode("utf-8", "replace")], pa.large_binary()).view(pa.large_string())
        spans = annotate()(pa.record_batch({assets.text_column: encoded})).column("pii_spans")[0].as_py()
        return (Place(span["start"], span["end"], f"personal data: {span['kind']}") for span in spans)

    return find
