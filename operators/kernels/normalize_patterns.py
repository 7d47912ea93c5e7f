r"""What `normalize.suspicious_lines` looks for: sequences from a regular expression, single characters, and a Unicode normalization form.

The expression is read from the library that owns it, so that what is suspicious is what that library will act on. Only what such an
expression needs is understood: alternatives of characters, classes, `\s`, `\w`, `.` and `?`. Anchors are passed over, which can only make
more lines suspicious.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from operators.kernels.normalize import CHANGES, COMPOSES, LEADS, Patterns
from operators.kernels.unicode import NUM_CODES, SPACE, WORD, tables

NUM_PLACES: Final = 128
MOST_CLASSES: Final = 255
FIRST_HANGUL, LAST_HANGUL = 0xAC00, 0xD7A3
JAMO: Final = (range(0x1161, 0x1176), range(0x11A8, 0x11C3))

_ASCII: Final = [chr(code) for code in range(128)]

Member = Callable[[str], bool]
"""Which characters may stand at a place of a sequence."""


class UnreadableExpressionError(ValueError):
    """An expression has parts that are not understood here."""


class _Reader:
    """The sequences of an expression in verbose notation, each a tuple of members; `mentioned` has every character that it names."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0
        self.mentioned: set[str] = {"\n"}
        self.sequences: list[tuple[Member, ...]] = [()]
        self._read()

    def _read(self) -> None:
        begun: list[tuple[Member, ...]] = [()]
        while self._at < len(self._text):
            sign = self._text[self._at]
            self._at += 1
            match sign:
                case "#":
                    self._at = (self._text + "\n").index("\n", self._at)
                case "|":
                    self.sequences += begun
                    begun = [()]
                case _ if sign.isspace() or sign == "^":
                    pass
                case "?":
                    begun += [sequence[:-1] for sequence in begun]
                case _:
                    member = self._member(sign)
                    begun = [(*sequence, member) for sequence in begun]
        self.sequences = [sequence for sequence in self.sequences + begun if sequence]

    def _member(self, sign: str) -> Member:
        match sign:
            case "[":
                return self._class()
            case ".":
                return lambda char: char != "\n"
            case "\\":
                return self._escape()
            case _ if sign in "()*+{}$":
                raise UnreadableExpressionError(f"{sign!r} at {self._at} is not understood in {self._text[:60]!r}…")
            case _:
                return self._one_of({sign})

    def _escape(self) -> Member:
        sign = self._text[self._at]
        self._at += 1
        match sign:
            case "s":
                return str.isspace
            case "w":
                return lambda char: char.isalnum() or char == "_"
            case _:
                raise UnreadableExpressionError(f"\\{sign} is not understood in {self._text[:60]!r}…")

    def _class(self) -> Member:
        end = self._text.index("]", self._at + 1)
        inner = re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), self._text[self._at : end])
        self._at = end + 1
        if "\\" in inner:
            raise UnreadableExpressionError(f"class [{inner[:60]}] is not understood")
        is_negated = inner.startswith("^")
        inner = inner.removeprefix("^")
        ranges = re.findall(r"(.)-(.)|(.)", inner, re.DOTALL)
        chars = {chr(code) for first, last, single in ranges for code in range(ord(first or single), ord(last or single) + 1)}
        member = self._one_of(chars)
        return (lambda char: not member(char)) if is_negated else member

    def _one_of(self, chars: set[str]) -> Member:
        self.mentioned |= chars
        return chars.__contains__


def patterns(expression: str | None, single: Iterable[str], form: str | None, ascii_signs: str = "") -> Patterns:
    """What is suspicious: sequences of an expression, single characters, and what may not be normalized to a form.

    Args:
        expression: In verbose notation; None: no sequences.
        single: Characters that are suspicious by themselves.
        form: NFC, NFD, NFKC or NFKD; None: any text is normalized.
        ascii_signs: Further ASCII characters for which a line is read, such as "&".

    Raises:
        UnreadableExpressionError: The expression has parts that are not understood here.
    """
    reader = _Reader(expression or "")
    alone = set(single)
    reader.mentioned |= alone
    if any(all(any(map(member, _ASCII)) for member in sequence) for sequence in reader.sequences):
        raise UnreadableExpressionError("a sequence of ASCII characters alone is suspicious; lines of ASCII are not read")
    sequences = [*reader.sequences, (alone.__contains__,)]
    members = _fitting(sequences)
    numbers, masks = _classes(members, reader.mentioned)
    marks = np.zeros(NUM_CODES, np.uint16) if form is None else _marks(form)
    pages, kept = _pages(numbers, marks)
    firsts, lasts = np.zeros(2, np.uint64), np.zeros(2, np.uint64)
    place = 0
    for sequence in members:
        firsts[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
        place += len(sequence)
        lasts[place - 1 >> 6] |= np.uint64(1) << np.uint64(place - 1 & 63)
    telling = np.zeros(256, np.uint8)
    is_read = bool(expression) or any(not char.isascii() for char in alone) or form is not None
    telling[128:] = is_read
    telling[[ord(char) for char in chain(alone, ascii_signs) if char.isascii()]] = 1
    made = Patterns(
        telling, pages, numbers.reshape(-1, 256)[kept].astype(np.uint8).ravel(), marks.reshape(-1, 256)[kept].ravel(), masks, firsts, lasts
    )
    for array in made:
        array.flags.writeable = False
    return made


def _pages(*values: npt.NDArray[np.uint16]) -> tuple[npt.NDArray[np.uint16], list[int]]:
    """Number of each page of 256 code points, equal pages having one, and by number the first such page."""
    known: dict[bytes, int] = {}
    kept: list[int] = []
    pages = np.empty(NUM_CODES >> 8, np.uint16)
    for page in range(len(pages)):
        content = b"".join(value[page << 8 : page + 1 << 8].tobytes() for value in values)
        pages[page] = known.setdefault(content, len(known))
        if len(known) > len(kept):
            kept.append(page)
    return pages, kept


def _fitting(sequences: list[tuple[Member, ...]]) -> list[tuple[Member, ...]]:
    """The sequences, cut short where they do not fit into the machine: what begins a sequence is suspicious as well."""
    longest = max(map(len, sequences))
    while sum(len(sequence[:longest]) for sequence in sequences) > NUM_PLACES:
        longest -= 1
    return [sequence[:longest] for sequence in sequences]


def _classes(sequences: list[tuple[Member, ...]], mentioned: set[str]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint64]]:
    """Class of every code point, and by class and word the places at which it may stand.

    Characters that no sequence names are told apart by being white space, a part of words, or neither.
    """
    members = [member for sequence in sequences for member in sequence]
    found = tables()
    flags = found.classes.reshape(-1, 256)[found.pages].ravel()
    kinds = np.where(flags & SPACE, 0, np.where(flags & WORD, 1, 2))
    kinds[[ord(char) for char in mentioned]] = 3
    numbers = np.zeros(NUM_CODES, np.uint16)
    known: dict[int, int] = {}
    for kind in range(3):
        codes = np.flatnonzero(kinds == kind)
        numbers[codes] = known.setdefault(_places(members, chr(int(codes[0]))), len(known))
    for char in sorted(mentioned):
        numbers[ord(char)] = known.setdefault(_places(members, char), len(known))
    if len(known) > MOST_CLASSES:
        raise UnreadableExpressionError(f"the expression tells {len(known)} kinds of characters apart; expected at most {MOST_CLASSES}")
    words = [[places & (1 << 64) - 1, places >> 64] for places in known]
    return numbers, np.array(words, np.uint64)


def _places(members: list[Member], char: str) -> int:
    """A bit for each place at which a character may stand."""
    return sum(1 << place for place, member in enumerate(members) if member(char))


@cache
def _marks(form: str) -> npt.NDArray[np.uint16]:
    """What each code point means for a normalization form; of Python's Unicode version."""
    marks = np.zeros(NUM_CODES, np.uint16)
    composed: list[tuple[str, str]] = []
    for code in _may_be_marked():
        char = chr(code)
        marks[code] = unicodedata.combining(char)
        if unicodedata.normalize(form, char) != char:
            marks[code] |= CHANGES
        parts = unicodedata.decomposition(char).split()
        if len(parts) == 2 and parts[0][0] != "<" and unicodedata.normalize("NFC", char) == char:
            composed.append((chr(int(parts[0], 16)), chr(int(parts[1], 16))))
    if form in ("NFD", "NFKD"):
        marks[FIRST_HANGUL : LAST_HANGUL + 1] |= CHANGES
        return marks
    marks[0x1100:0x1113] |= LEADS
    marks[FIRST_HANGUL : LAST_HANGUL + 1] |= LEADS
    for codes in JAMO:
        marks[codes.start : codes.stop] |= COMPOSES
    for first, second in composed:
        if unicodedata.combining(second):
            marks[ord(second)] |= CHANGES
        else:
            marks[ord(second)] |= COMPOSES
            marks[ord(first)] |= LEADS
    return marks


def _may_be_marked() -> Iterable[int]:
    """Code points that may have a combining class or a decomposition: not ASCII, large blocks of ideographs, surrogates, private use."""
    return chain(
        range(0x80, 0x3400), range(0x4DC0, 0x4E00), range(0xA000, FIRST_HANGUL), range(LAST_HANGUL + 1, 0xD800), range(0xF900, 0x17000),
        range(0x18D00, 0x20000), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200),
    )  # fmt: skip
