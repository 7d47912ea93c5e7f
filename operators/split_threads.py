"""The ways through a pattern: what the engine would try, and in which order.

Owns the nodes into which a tree unfolds. It knows nothing of characters: a node looks at the next character, and which characters a look
lets pass is for others to say.
"""

from __future__ import annotations

from typing import Final, NamedTuple, assert_never

from operators.split_pattern import Atom, Choice, Look, Node, Repeat, Sequence, UnknownPattern

MAX_NODES: Final = 4_000
MATCH: Final = 0
"""The node at which a match is complete."""


class Fork(NamedTuple):
    """Ways to go on, in the order in which they are tried."""

    ways: tuple[int, ...]


class Test(NamedTuple):
    """A way that is open if a look lets the next character pass; `takes` says whether the character is then used up."""

    look: int
    takes: bool
    way: int


class Threads(NamedTuple):
    """A pattern unfolded.

    Attributes:
        nodes: By number; `MATCH` is the first.
        start: Where a match begins.
        atoms: The sets of characters.
        looks: What tests look for: numbers of atoms, whether the end of the text counts, and whether all of it is negated.
    """

    nodes: list[Fork | Test]
    start: int
    atoms: list[Atom]
    looks: list[tuple[tuple[int, ...], bool, bool]]


def threads(tree: Node) -> Threads:
    """The ways through a tree.

    Raises:
        UnknownPattern: The pattern, or what it repeats, can match nothing at all; or it unfolds into more than `MAX_NODES` nodes.
    """
    if _may_be_empty(tree):
        raise UnknownPattern("a pattern that can match without a character")
    found = Threads([Fork(())], 0, [], [])
    return found._replace(start=_before(found, tree, MATCH))


def _may_be_empty(node: Node) -> bool:
    """Whether a node can be passed without a character; a repetition of what can is refused, as engines differ on when it ends."""
    match node:
        case Atom():
            return False
        case Look():
            return True
        case Choice(options):
            # A list: each option is to be looked into.
            return any([_may_be_empty(option) for option in options])  # noqa: C419
        case Sequence(parts):
            return all([_may_be_empty(part) for part in parts])  # noqa: C419
        case Repeat(body, least, _):
            if _may_be_empty(body):
                raise UnknownPattern("repetition of what can match without a character")
            return least == 0
        case _:
            assert_never(node)


def _before(found: Threads, node: Node, way: int) -> int:
    """The node from which a part of the tree is gone through before a way is gone on."""
    match node:
        case Atom():
            return _added(found, Test(_look(found, (node,), False, False), True, way))
        case Look(atoms, end, negative):
            return _added(found, Test(_look(found, atoms, end, negative), False, way))
        case Choice(options):
            return _added(found, Fork(tuple(_before(found, option, way) for option in options)))
        case Sequence(parts):
            for part in reversed(parts):
                way = _before(found, part, way)
            return way
        case Repeat():
            return _before_repeat(found, node, way)
        case _:
            assert_never(node)


def _before_repeat(found: Threads, node: Repeat, way: int) -> int:
    entry = way
    if node.most is None:
        entry = _added(found, Fork(()))
        found.nodes[entry] = Fork((_before(found, node.body, entry), way))
    else:
        for _ in range(node.most - node.least):
            # Each further time is tried only within the one before: the way out is the same from all of them.
            entry = _added(found, Fork((_before(found, node.body, entry), way)))
    for _ in range(node.least):
        entry = _before(found, node.body, entry)
    return entry


def _look(found: Threads, atoms: tuple[Atom, ...], end: bool, negative: bool) -> int:
    for atom in atoms:
        if atom not in found.atoms:
            found.atoms.append(atom)
    look = (tuple(found.atoms.index(atom) for atom in atoms), end, negative)
    if look not in found.looks:
        found.looks.append(look)
    return found.looks.index(look)


def _added(found: Threads, node: Fork | Test) -> int:
    if len(found.nodes) >= MAX_NODES:
        raise UnknownPattern(f"repetitions that unfold into more than {MAX_NODES} places")
    found.nodes.append(node)
    return len(found.nodes) - 1
