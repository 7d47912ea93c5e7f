"""Splitting patterns of pre-tokenizers as automata, whose matches are exactly those of the regex engine inside `tokenizers`.

That engine (Oniguruma) takes at each place the first way through the pattern that matches, trying options in their order and repetitions
as long as they can be. An automaton finds the same end in one pass without going back: its state is the list of places in the pattern
where the engine could be, in the order in which the engine would try them, and a way that matches strikes out all that come after it.
Lookahead of one character is decided when that character is read, in the same step.

Three files more: operators/split_pattern.py (the grammar), operators/split_members.py (which character is in which set),
operators/kernels/splitting.py (the loop).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.kept import kept
from operators.split_members import kinds_of_characters, members, pieces_members, refuse_folded_runs
from operators.split_pattern import GPT2, Atom, UnknownPattern, parse
from operators.split_states import Bools, Transitions, numbered, transitions
from operators.split_threads import threads

MAX_CLASSES: Final = 250

__all__ = ["GPT2", "Automaton", "UnknownPattern", "compile_digits", "compile_pattern", "compile_punctuation", "compile_text"]


class Automaton(NamedTuple):
    """What operators/kernels/splitting.py runs; both arrays are read only.

    Attributes:
        steps: int32, by state and class in one row: `(next state << 1) | accepted`, negative if it goes nowhere.
        classes: uint8, by code point. Class 0 is the end of the text, and no character's.
    """

    steps: npt.NDArray[np.int32]
    classes: npt.NDArray[np.uint8]


def compile_pattern(pattern: str) -> Automaton:
    """The automaton of a `Split` pre-tokenizer's regular expression, from this node's cache, or made (some 0.5 s) and put there.

    Raises:
        UnknownPattern: It has something that no automaton here stands for; `rule` says what, in words.
    """
    return _kept(f"pattern {pattern}", lambda: _made(pattern))


def compile_text(text: str) -> Automaton:
    """The automaton of a `Split` pre-tokenizer's plain string, which is not empty.

    Raises:
        UnknownPattern: The string is empty.
    """
    return compile_pattern("".join(f"\\x{{{ord(char):x}}}" for char in text))


def compile_digits(individual: bool) -> Automaton:
    """The automaton of the pre-tokenizer `Digits`: a match is one digit if they are `individual`, else a run of digits."""

    def make() -> Automaton:
        from tokenizers.pre_tokenizers import Digits

        return _automaton("." if individual else ".+", lambda _: pieces_members(Digits(individual_digits=False)))

    return _kept(f"digits {individual}", make)


def compile_punctuation(contiguous: bool) -> Automaton:
    """The automaton of the pre-tokenizer `Punctuation`: a match is one mark, or a run of them if they are `contiguous`."""

    def make() -> Automaton:
        from tokenizers.pre_tokenizers import Punctuation

        return _automaton(".+" if contiguous else ".", lambda _: pieces_members(Punctuation("contiguous")))

    return _kept(f"punctuation {contiguous}", make)


def _kept(name: str, make: Callable[[], Automaton]) -> Automaton:
    """The automaton of a name, made once a node for a version of the library, whose Unicode decides it."""
    import tokenizers

    source = f"{tokenizers.__version__} {name}".encode()
    return Automaton(**kept("splitting", __file__, source, lambda: make()._asdict()))


def _made(pattern: str) -> Automaton:
    from tokenizers import Regex

    # What is refused here is named better than by the library, which takes part in words of its own.
    parse(pattern)
    try:
        Regex(pattern)
    except Exception as error:
        raise UnknownPattern(f"a pattern that tokenizers itself refuses ({error})") from error
    return _automaton(pattern, members)


def _automaton(pattern: str, ask: Callable[[Atom], npt.NDArray[np.int32]]) -> Automaton:
    tree = parse(pattern)
    refuse_folded_runs(tree)
    found = threads(tree)
    kind_of_code, kinds = kinds_of_characters([ask(atom) for atom in found.atoms])
    if len(kinds) > MAX_CLASSES:
        raise UnknownPattern(f"sets that tell more than {MAX_CLASSES} kinds of characters apart")
    table, class_of_kind = _merged(numbered(transitions(found, _taken(found.looks, kinds))))
    return Automaton(_packed(table), class_of_kind[1:][kind_of_code].astype(np.uint8))


def _taken(looks: Sequence[tuple[tuple[int, ...], bool, bool]], kinds: Bools) -> Bools:
    """By look (a set of sets, whether the end counts, whether it is negative) and class: whether it lets the class pass."""
    rows = [np.append(end, kinds[:, list(sets)].any(axis=1)) ^ negative for sets, end, negative in looks]
    return np.array(rows, bool).reshape(len(rows), len(kinds) + 1)


def _merged(table: Transitions) -> tuple[Transitions, npt.NDArray[np.int64]]:
    """The table without columns that say the same as another, and which column each became; the end of the text stays the first."""
    both = np.vstack([table.following, table.accepted])
    columns, column_of = np.unique(both[:, 1:], axis=1, return_inverse=True)
    num_states = len(table.following)
    kept_columns = np.hstack([both[:, :1], columns])
    found = Transitions(kept_columns[:num_states], kept_columns[num_states:].astype(bool))
    return found, np.append(0, column_of.ravel() + 1)


def _packed(table: Transitions) -> npt.NDArray[np.int32]:
    """The table as the kernel reads it."""
    width = table.following.shape[1]
    places: Any = np.where(table.following < 0, -1, table.following * width)
    return np.ascontiguousarray((places << 1 | table.accepted).ravel(), np.int32)
