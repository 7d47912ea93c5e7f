r"""Texts split by an automaton: the matches of a regular expression, one table look-up a character.

The automaton (operators/splitting.py makes it) reads a class of characters in each step. `steps[state + class]` says two things, as
`(next state << 1) | accepted`: whether a match may end BEFORE the character just read, and where to go on. A state is the place of its row.
Row 0 is the start, class 0 the end of the text. What is below zero goes nowhere: nothing that begins here can still end later.
That a match is told of one character late is what makes lookahead free: `\s+(?!\S)` knows its next character when it must decide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from operators.kernels.unicode import decode

ENDED = np.int64(-1)
"""The step that goes nowhere and says that a match may end before the character."""

inlined = njit(inline="always", error_model="numpy")


@inlined
def match(steps: Any, first: Any, classes: Any, base: Any, data: Any, at: Any, stop: Any) -> Any:
    """Where the match that begins at a place ends, -1 if there is none; the text goes on to `stop` and no byte beyond is read.

    Args:
        steps: int32, the tables of one automaton or of several behind each other.
        first: Where the table begins in `steps`, int64.
        classes: uint8, the class of every code point, likewise.
        base: Where the classes begin in `classes`, int64.
        data: uint8, UTF-8; an ill-formed byte is U+FFFD.
        at: Where the match begins, int64.
        stop: Where the text ends, int64.
    """
    row = np.int64(first)
    # The step that stays in this state and says that a match may end before the character.
    stays = np.int64(1)
    end = np.int64(-1)
    place = np.int64(at)
    while place < stop:
        # Unsigned places spare the question whether they count from the end.
        code = np.int64(data[np.uintp(place)])
        size = np.int64(1)
        if code >= 0x80:
            code, size = decode(data, place, stop)
        step = np.int64(steps[np.uintp(row + np.int64(classes[np.uintp(base + code)]))])
        if step == stays:
            # Most of a word. The state is not computed anew, so the processor reads ahead instead of waiting for each look-up.
            end = place
            place += size
            continue
        if step == ENDED:
            return place
        if step < 0:
            return end
        if step & 1:
            end = place
        row = first + (step >> 1)
        stays = step | 1
        place += size
    if steps[np.uintp(row)] & 1:
        end = place
    return end
