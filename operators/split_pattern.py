"""The regular expressions of pre-tokenizers, parsed: a subset of Oniguruma's Ruby syntax.

Owns the grammar, and what of it is refused. It knows nothing of which characters an atom matches: that is asked of the library
(operators/split_members.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""The pattern that the pre-tokenizer `ByteLevel` has built in."""
MAX_DEPTH: Final = 50
CONTROL: Final = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7, "e": 27}
KINDS: Final = frozenset("sSdDwWhH")
NUMBER: Final = re.compile(r"\\x\{([0-9A-Fa-f]{1,8})\}|\\u([0-9A-Fa-f]{4})|\\x([0-7][0-9A-Fa-f])")
PROPERTY: Final = re.compile(r"\\[pP]\{\^?[A-Za-z0-9_ -]+\}")
INTERVAL: Final = re.compile(r"\{(\d{1,4}),(\d{0,4})\}|\{(\d{1,4})\}|\{,(\d{1,4})\}")
REFUSED_GROUPS: Final = {
    "(?<=": "lookbehind",
    "(?<!": "negative lookbehind",
    "(?<": "named group",
    "(?'": "named group",
    "(?P": "named group",
    "(?#": "comment",
    "(?~": "absent operator",
    "(?(": "condition",
    "(?{": "callout",
    "(*": "callout",
}
REFUSED_ESCAPES: Final = {
    "b": "word boundary",
    "B": "word boundary",
    "A": "start of the text",
    "Z": "end of the text before a newline",
    "G": "start of the search",
    "K": "what was matched so far left out",
    "R": "newline of several characters",
    "X": "grapheme cluster",
    "k": "backreference",
    "g": "call of a group",
    "y": "text segment boundary",
    "Y": "text segment boundary",
}


class UnknownPattern(ValueError):
    """A regular expression has something that no automaton here stands for.

    Attributes:
        rule: The construct in words, with its text, such as "lookbehind (?<=".
    """

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


@dataclass(frozen=True)
class Atom:
    """One character of a set.

    Attributes:
        source: The set as a regular expression of its own, without its options.
        literal: The character if the set is written as one character; None for a class.
        ignores_case: Whether it stands where case is ignored.
    """

    source: str
    literal: str | None = None
    ignores_case: bool = False


@dataclass(frozen=True)
class Look:
    """Nothing, if the next character is one of some sets, or the text ends and `end` is set; if `negative`, if neither is so."""

    atoms: tuple[Atom, ...]
    end: bool = False
    negative: bool = False


@dataclass(frozen=True)
class Sequence:
    """One part after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """The first option with which the whole matches."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """As many times as the whole matches with, the more the better; `most` None is no limit."""

    body: Node
    least: int
    most: int | None


Node = Atom | Look | Sequence | Choice | Repeat


def literal(char: str, ignores_case: bool = False) -> Atom:
    """The atom of one character."""
    return Atom(f"\\x{{{ord(char):x}}}", char, ignores_case)


def parse(pattern: str) -> Node:
    """The tree of a regular expression.

    Raises:
        UnknownPattern: It has something that is not in the subset, or is malformed.
    """
    parser = _Parser(pattern)
    if pattern.startswith("(?i)"):
        parser.at, parser.ignores_case = 4, True
    tree = parser.choice(0)
    if parser.at < len(pattern):
        raise UnknownPattern("closing parenthesis that no group opens")
    return tree


class _Parser:
    """Recursive descent over the text of a pattern; `at` is the place of the next character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.ignores_case = False

    def sees(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def takes(self, text: str) -> bool:
        found = self.sees(text)
        self.at += len(text) * found
        return found

    def choice(self, depth: int) -> Node:
        """Options up to a closing parenthesis or the end."""
        if depth > MAX_DEPTH:
            raise UnknownPattern(f"groups nested deeper than {MAX_DEPTH}")
        options = [self.sequence(depth)]
        while self.takes("|"):
            options.append(self.sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def sequence(self, depth: int) -> Node:
        """Parts up to the end of an option."""
        parts = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            parts.append(self.quantified(self.part(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def part(self, depth: int) -> Node:
        """A group, an assertion or an atom."""
        char = self.pattern[self.at]
        if char == "(":
            return self.group(depth)
        if char in "*+?":
            raise UnknownPattern(f"quantifier {char} that follows nothing")
        if char == "^":
            raise UnknownPattern("start of a line ^")
        if self.takes("$"):
            return Look((literal("\n"),), end=True)
        if self.takes("\\z"):
            return Look((), end=True)
        return self.atom()

    def group(self, depth: int) -> Node:
        """A group of any kind, at its opening parenthesis."""
        for opening in ("(?=", "(?!"):
            if self.takes(opening):
                return _looked_at(self.closed(depth), negative=opening == "(?!")
        if self.takes("(?>"):
            return _atomic(self.closed(depth))
        for opening, ignores_case in (("(?i:", True), ("(?-i:", False), ("(?:", self.ignores_case)):
            if self.takes(opening):
                outside, self.ignores_case = self.ignores_case, ignores_case
                found = self.closed(depth)
                self.ignores_case = outside
                return found
        for opening, words in REFUSED_GROUPS.items():
            if self.sees(opening):
                raise UnknownPattern(f"{words} {opening}")
        if self.sees("(?"):
            raise UnknownPattern(f"option {self.pattern[self.at : self.at + 6]}")
        self.at += 1
        return self.closed(depth)

    def closed(self, depth: int) -> Node:
        """What stands before the closing parenthesis, which is taken."""
        found = self.choice(depth + 1)
        if not self.takes(")"):
            raise UnknownPattern("group that is not closed")
        return found

    def quantified(self, node: Node) -> Node:
        """The part with the quantifiers that follow it."""
        bounds = self.quantifier()
        if bounds is None:
            return node
        least, most, by_interval = bounds
        if isinstance(node, Look):
            raise UnknownPattern("quantifier after an assertion")
        found: Node = Repeat(node, least, most)
        if self.sees("?"):
            raise UnknownPattern("lazy quantifier ?")
        # After an interval Ruby's syntax takes `+` for one more quantifier, elsewhere for "gives nothing back".
        if self.takes("+"):
            found = Repeat(found, 1, None) if by_interval else _atomic(found)
        if self.quantifier() is not None:
            raise UnknownPattern("quantifier after a quantifier")
        return found

    def quantifier(self) -> tuple[int, int | None, bool] | None:
        """How often at least and at most, and whether braces said so; None where none stands."""
        for char, least, most in (("?", 0, 1), ("*", 0, None), ("+", 1, None)):
            if self.takes(char):
                return least, most, False
        if not self.sees("{"):
            return None
        found = INTERVAL.match(self.pattern, self.at)
        if found is None:
            raise UnknownPattern("brace { that begins no interval")
        self.at = found.end()
        least_text, most_text, exact, upper = found.groups()
        if exact is not None:
            return int(exact), int(exact), True
        if upper is not None:
            return 0, int(upper), True
        least, most = int(least_text), int(most_text) if most_text else None
        if most is not None and most < least:
            raise UnknownPattern("interval whose upper bound is below the lower")
        return least, most, True

    def atom(self) -> Atom:
        """One character or class."""
        char = self.pattern[self.at]
        if char == "\\":
            return self.escape()
        if char == "[":
            return self.bracket()
        if self.takes("."):
            return Atom(".")
        if char in "{]":
            raise UnknownPattern(f"{char} that is not escaped")
        self.at += 1
        return literal(char, self.ignores_case)

    def escape(self) -> Atom:
        """An escape outside brackets."""
        start = self.at
        self.skip_escape()
        source = self.pattern[start : self.at]
        char = source[1]
        if char in KINDS or char in "pP":
            return Atom(source, None, self.ignores_case)
        if char in "xu":
            code = next(int(digits, 16) for digits in NUMBER.fullmatch(source).groups() if digits)  # type: ignore[union-attr]
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                raise UnknownPattern(f"{source}, which is no character")
            return literal(chr(code), self.ignores_case)
        return literal(chr(CONTROL[char]) if char in CONTROL else char, self.ignores_case)

    def bracket(self) -> Atom:
        """A class in brackets; only where it ends is found out here, the library reads it."""
        start, depth = self.at, 0
        while depth or self.at == start:
            if self.at >= len(self.pattern):
                raise UnknownPattern("class [ that is not closed")
            if self.sees("[]") or self.sees("[^]"):
                raise UnknownPattern("class that begins with ]")
            if self.sees("\\"):
                self.skip_escape()
                continue
            depth += {"[": 1, "]": -1}.get(self.pattern[self.at], 0)
            self.at += 1
        return Atom(self.pattern[start : self.at], None, self.ignores_case)

    def skip_escape(self) -> None:
        """Go on after an escape that is one character or class of characters."""
        char = self.pattern[self.at + 1 : self.at + 2]
        if char in ("p", "P", "x", "u"):
            found = (PROPERTY if char in "pP" else NUMBER).match(self.pattern, self.at)
            if found is None:
                raise UnknownPattern(f"escape {self.pattern[self.at : self.at + 6]}")
            self.at = found.end()
            return
        if char in REFUSED_ESCAPES:
            raise UnknownPattern(f"{REFUSED_ESCAPES[char]} \\{char}")
        if not char.isascii() or char.isdigit() or not (char in CONTROL or char in KINDS or (char and not char.isalpha())):
            raise UnknownPattern(f"escape \\{char}")
        self.at += 2


def _looked_at(body: Node, negative: bool) -> Look:
    """A lookahead of one character, of several sets or of the end of the text."""
    atoms: tuple[Atom, ...] = ()
    end = False
    for option in body.options if isinstance(body, Choice) else (body,):
        if isinstance(option, Atom):
            atoms += (option,)
        elif isinstance(option, Look) and not option.negative:
            atoms, end = atoms + option.atoms, end or option.end
        else:
            raise UnknownPattern("lookahead of more than one character " + ("(?!" if negative else "(?="))
    return Look(atoms, end, negative)


def _atomic(body: Node) -> Node:
    """What gives nothing back, for which one character after it answers.

    A run of a set without a limit ends where no character of the set follows; that is all that "gives nothing back" says of it.
    """
    if isinstance(body, Atom):
        return body
    if not isinstance(body, Repeat) or not isinstance(body.body, Atom):
        raise UnknownPattern("possessive quantifier or atomic group (?> of more than one set of characters")
    none_follows = Look((body.body,), negative=True)
    if body.most is None:
        return Sequence((body, none_follows))
    if (body.least, body.most) == (0, 1):
        return Choice((body.body, none_follows))
    if body.least == body.most:
        return body
    raise UnknownPattern("atomic group (?> of an interval")
