"""States of an automaton: ordered lists of the places in a pattern where the engine could be.

Owns the construction and that equal states become one. The end of the text is class 0.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.split_pattern import UnknownPattern
from operators.split_threads import MATCH, Fork, Threads

MAX_STATES: Final = 4_000
MAX_STEPS: Final = 120_000
Bools = npt.NDArray[np.bool_]
State = tuple[int, ...]


class Transitions(NamedTuple):
    """What follows, by state and class of the next character.

    Attributes:
        following: The next state, -1 for none. State 0 is the start.
        accepted: Whether a match may end before that character. Of several along the way the last counts: what goes on after a match
            is tried earlier than what matched.
    """

    following: npt.NDArray[np.int64]
    accepted: Bools


def transitions(found: Threads, passes: Bools) -> Transitions:
    """The automaton of a pattern; `passes` says by look and class whether the look lets it pass.

    Raises:
        UnknownPattern: It has too many states.
    """
    num_classes = passes.shape[1]
    number: dict[State, int] = {}
    states = [_resting(found, (found.start,))]
    number[states[0]] = 0
    following: list[list[int]] = []
    accepted: list[list[bool]] = []
    for state in states:
        following.append([])
        accepted.append([])
        for kind in range(num_classes):
            targets, accepts = _read(found, state, passes[:, kind].tolist())
            after = _resting(found, targets)
            if after and after not in number:
                if len(states) >= MAX_STATES or len(states) * num_classes >= MAX_STEPS:
                    raise UnknownPattern(f"an automaton of more than {min(MAX_STATES, MAX_STEPS // num_classes)} states")
                number[after] = len(states)
                states.append(after)
            following[-1].append(number[after] if after else -1)
            accepted[-1].append(accepts)
    return Transitions(np.array(following, np.int64), np.array(accepted, bool))


def _resting(found: Threads, places: State) -> State:
    """The places where the next character decides, or a match is complete, in order; after a match nothing else counts."""
    seen: set[int] = set()
    resting: list[int] = []
    stack = list(reversed(places))
    while stack:
        place = stack.pop()
        if place in seen:
            continue
        seen.add(place)
        node = found.nodes[place]
        if place != MATCH and isinstance(node, Fork):
            stack.extend(reversed(node.ways))
            continue
        resting.append(place)
        if place == MATCH:
            break
    return tuple(resting)


def _read(found: Threads, state: State, passes: list[bool]) -> tuple[State, bool]:
    """Where each place of a state leads by a class of the next character, and whether a match is complete before that character."""
    seen: set[int] = set()
    targets: list[int] = []
    stack = list(reversed(state))
    while stack:
        place = stack.pop()
        if place in seen:
            continue
        seen.add(place)
        if place == MATCH:
            return tuple(targets), True
        node = found.nodes[place]
        if isinstance(node, Fork):
            stack.extend(reversed(node.ways))
        elif passes[node.look]:
            (targets if node.takes else stack).append(node.way)
    return tuple(targets), False


def numbered(table: Transitions) -> Transitions:
    """The table with states that nothing tells apart made one; the start stays the first.

    Moore's refinement: states are parted by what they accept, then by where they lead, until nothing parts them further.
    """
    labels = np.zeros(len(table.following), np.int64)
    while True:
        rows = np.hstack([np.where(table.following < 0, -1, labels[table.following]), table.accepted])
        _, first, finer = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        finer = finer.ravel()
        if len(first) == labels.max() + 1:
            break
        labels = finer
    order = np.argsort(first)
    rank = np.argsort(order)
    following = table.following[first[order]]
    return Transitions(np.where(following < 0, -1, rank[finer[following]]), table.accepted[first[order]])
