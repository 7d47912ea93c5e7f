"""Places at which C4 cuts lines out of a text, or drops it: phrases, brackets, ends of lines, words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from operators.c4 import C4Quality
from operators.kernels.boilerplate import JAVASCRIPT, LOREM_IPSUM, PHRASES, POLICY
from operators.places.lines import Span, line_end, split_lines, stripped
from operators.places.lowered import Lowered
from operators.places.place import Place

CITATION: Final = re.compile(r"\[edit]|\[citation needed]|\[\d*]")
TERMINAL: Final = (".", "?", "!", '"', "'")


class Pieces(NamedTuple):
    """A line without its citations.

    Attributes:
        text: What is left.
        places: By character of it, where it stands in the document; one more for the end.
    """

    text: str
    places: list[int]

    def place(self, start: int, stop: int, why: str) -> Place:
        """A place of it, in the document."""
        return Place(self.places[start], self.places[stop - 1] + 1, why)


def forbidden(operator: C4Quality, text: str, reason: str) -> Iterator[Place]:
    """What drops the document: `lorem ipsum`, or curly brackets, in lines that pass the tests before."""
    spans = split_lines(text) if operator.split_paragraph else iter([(0, len(text))])
    for span in spans:
        line = stripped(text, span)
        if not operator.split_paragraph or _cut_before(operator, text, line) is None:
            left = _without_citations(operator, text, line)
            found = phrases(left, LOREM_IPSUM) if reason == "lorem_ipsum" else brackets(left)
            if reason == "lorem_ipsum" or not (operator.split_paragraph and _first_phrase(operator, left, before_brackets=True)):
                yield from found


def cut_lines(operator: C4Quality, text: str) -> Iterator[Place]:
    """Lines that are cut out of the text, each by the place for which it goes. Where sentences are judged instead, none is told."""
    if not operator.split_paragraph:
        return
    for span in split_lines(text):
        line = stripped(text, span)
        if line[0] == line[1]:
            continue
        place = _cut_before(operator, text, line)
        yield from [place] if place else _first_phrase(operator, _without_citations(operator, text, line))


def phrases(left: Pieces, kind: int) -> list[Place]:
    """Phrases of a kind, in any case."""
    lowered = Lowered.of(left.text)
    found = []
    for phrase in (phrase for phrase, of_kind in PHRASES if of_kind == kind):
        for start, stop in lowered.find_all(phrase):
            found.append(left.place(start, stop, f"the phrase {phrase!r}"))
    return found


def brackets(left: Pieces) -> list[Place]:
    """Opening curly brackets."""
    return [left.place(at, at + 1, "curly bracket") for at, char in enumerate(left.text) if char == "{"]


def _cut_before(operator: C4Quality, text: str, line: Span) -> Place | None:
    """Why a line goes, before phrases are looked for."""
    start, stop = line
    longest, fewest = operator.max_word_length, operator.min_words_per_line
    words = [(start + match.start(), start + match.end()) for match in re.finditer(r"\S+", text[start:stop])]
    if longest is not None and longest >= 0:
        for first, last in words:
            if last - first > longest:
                return Place(first, last, f"cut line: a word of {last - first} characters, at most {longest} wanted")
    left = _without_citations(operator, text, line).text
    if operator.filter_no_terminal_punct and (not left.endswith(TERMINAL) or left.endswith("...")):
        return line_end(text, line, "cut line: it does not end with a mark")
    if fewest is not None and len(words) < fewest:
        return Place(start, stop, f"cut line: {len(words)} of {fewest} words")
    return None


def _first_phrase(operator: C4Quality, left: Pieces, *, before_brackets: bool = False) -> list[Place]:
    """What a line goes for of phrases and brackets: the first test that fails."""
    tests: tuple[tuple[bool, Callable[[], list[Place]]], ...] = (
        (operator.filter_lorem_ipsum, lambda: phrases(left, LOREM_IPSUM)),
        (operator.filter_javascript, lambda: phrases(left, JAVASCRIPT)),
        (operator.filter_curly_bracket and not before_brackets, lambda: brackets(left)),
        (operator.filter_policy and not before_brackets, lambda: phrases(left, POLICY)),
    )
    return next((found for is_made, find in tests if is_made and (found := find())), [])


def _without_citations(operator: C4Quality, text: str, line: Span) -> Pieces:
    start, stop = line
    cuts = list(CITATION.finditer(text, start, stop)) if operator.remove_citations and "[" in text[start:stop] else []
    places: list[int] = []
    at = start
    for cut in cuts:
        places += range(at, cut.start())
        at = cut.end()
    places += range(at, stop)
    return Pieces("".join(text[place] for place in places) if cuts else text[start:stop], places)
