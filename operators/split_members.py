"""Which characters are in a set: asked of `tokenizers`, so that no other version of Unicode ever answers.

A set is a sorted array of the code points where membership begins and ends, by turns. Surrogates are in none: no text has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any, Final, assert_never

import numpy as np
import numpy.typing as npt

from operators.split_pattern import Atom, Choice, Look, Node, Repeat, Sequence, UnknownPattern

NUM_CODES: Final = 0x110000
SURROGATES: Final = slice(0xD800, 0xE000)
CHUNK: Final = 20_000
Turns = npt.NDArray[np.int32]


@cache
def every_character() -> str:
    """All code points but the surrogates, in order."""
    codes = np.arange(NUM_CODES, dtype="<u4")
    return np.delete(codes, SURROGATES).tobytes().decode("utf-32-le")


@cache
def folded_to_several() -> dict[int, str]:
    """Characters for which several stand where case is ignored, as "ss" for "\u00df"."""
    return {code: chr(code).casefold() for code in range(NUM_CODES) if len(chr(code).casefold()) > 1}


def members(atom: Atom) -> Turns:
    """Where the set of an atom begins and ends, as the library's regular expressions have it.

    Raises:
        UnknownPattern: The library refuses the atom, or case is ignored and it may stand for several characters.
    """
    if atom.literal is not None and not atom.ignores_case:
        code = ord(atom.literal)
        return np.array([code, code + 1], np.int32)
    found = _matched(f"(?i:{atom.source})" if atom.ignores_case else atom.source)
    if atom.ignores_case and found[list(folded_to_several())].any():
        raise UnknownPattern(f"{_shown(atom)} where case is ignored, for which several characters may stand")
    return _turns(found)


def _shown(atom: Atom) -> str:
    return repr(atom.literal) if atom.literal is not None else atom.source[:40]


def _matched(source: str) -> npt.NDArray[np.bool_]:
    """For every code point whether a regular expression of one character matches it.

    The decoder `Replace` runs the same engine over plain strings, which takes a fiftieth of the time of the pre-tokenizer `Split`.
    """
    from tokenizers import Regex, decoders

    try:
        unmatched = decoders.Replace(Regex(f"(?:{source})++"), "").decode([every_character()])
    except Exception as error:
        raise UnknownPattern(f"{source[:40]}, which tokenizers refuses ({error})") from error
    found = np.ones(NUM_CODES, bool)
    found[np.frombuffer(unmatched.encode("utf-32-le"), np.uint32)] = False
    found[SURROGATES] = False
    return found


def pieces_members(pre_tokenizer: Any) -> Turns:
    """Where the set begins and ends that a pre-tokenizer parts from all else; it leaves runs of either whole, and "a" is not of the set."""
    text = every_character()
    found = np.zeros(NUM_CODES, bool)
    for start in range(0, len(text), CHUNK):
        for piece, _ in pre_tokenizer.pre_tokenize_str("a" + text[start : start + CHUNK])[1::2]:
            found[np.frombuffer(piece.encode("utf-32-le"), np.uint32)] = True
    return _turns(found)


def _turns(found: npt.NDArray[np.bool_]) -> Turns:
    return np.flatnonzero(np.diff(found, prepend=False, append=False)).astype(np.int32)


def kinds_of_characters(sets: Iterable[Turns]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Characters that are in the same sets are of one kind: the kind of every code point, and by kind and set whether it is in."""
    turns = list(sets)
    starts = np.unique(np.concatenate([np.zeros(1, np.int32), *turns]))
    starts = starts[starts < NUM_CODES]
    inside = np.array([np.searchsorted(one, starts, side="right") & 1 for one in turns], bool).reshape(len(turns), len(starts))
    kinds, of_start = np.unique(inside.T, axis=0, return_inverse=True)
    return np.repeat(of_start.ravel(), np.diff(starts, append=NUM_CODES)), kinds


def refuse_folded_runs(tree: Node) -> None:
    """Refuse a pattern in which letters stand side by side for which, where case is ignored, one character may stand ("st": "\ufb06").

    Raises:
        UnknownPattern: Naming the two letters.
    """
    _letters_at_the_ends(tree, {pair for folded in folded_to_several().values() for pair in pairwise(folded)})


Letters = frozenset[str]


def _letters_at_the_ends(node: Node, refused: set[tuple[str, str]]) -> tuple[Letters, Letters, bool]:
    """With which letters whose case is ignored a node may begin and end, and whether it may be passed without a character."""
    match node:
        case Atom() if node.ignores_case and node.literal is not None:
            letters = frozenset([node.literal.casefold()])
            return letters, letters, False
        case Atom():
            return frozenset(), frozenset(), False
        case Look():
            return frozenset(), frozenset(), True
        case Choice(options):
            ends = [_letters_at_the_ends(option, refused) for option in options]
            firsts, lasts = (frozenset[str]().union(*([first, last][side] for first, last, _ in ends)) for side in (0, 1))
            return firsts, lasts, any(empty for _, _, empty in ends)
        case Repeat(body, least, most):
            first, last, empty = _letters_at_the_ends(body, refused)
            if most != 1:
                _refuse(last, first, refused)
            return first, last, empty or least == 0
        case Sequence(parts):
            return _ends_of_sequence([_letters_at_the_ends(part, refused) for part in parts], refused)
        case _:
            assert_never(node)


def _ends_of_sequence(parts: list[tuple[Letters, Letters, bool]], refused: set[tuple[str, str]]) -> tuple[Letters, Letters, bool]:
    firsts, lasts, empty = frozenset[str](), frozenset[str](), True
    for first, last, may_be_empty in parts:
        _refuse(lasts, first, refused)
        firsts = firsts | first if empty else firsts
        lasts = lasts | last if may_be_empty else last
        empty = empty and may_be_empty
    return firsts, lasts, empty


def _refuse(lasts: Letters, firsts: Letters, refused: set[tuple[str, str]]) -> None:
    for pair in sorted((last, first) for last in lasts for first in firsts):
        if pair in refused:
            raise UnknownPattern(f"{pair[0]!r} and {pair[1]!r} side by side where case is ignored, for which one character may stand")
