"""Where tokens that were added to a vocabulary stand in a text: a tree over their bytes, the leftmost match, the longest of those.

Owns the tree. It does what the automaton of the `tokenizers` library does (Aho-Corasick, leftmost-longest), which looks for added tokens
before a text is split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel

Ints = npt.NDArray[np.int32]

NO_TOKEN: Final = -1
PASSED: Final = -2
"""A token that is found, so that none is looked for inside it, but stays text."""


class AddedTokens(NamedTuple):
    """A tree of tokens.

    Attributes:
        begins: uint8, a bit for each two bytes (`first << 8 | second`, the lowest bit first): whether a token may begin with them.
        classes: uint8, by byte: its number among the bytes that occur in tokens, 0 for all others.
        steps: int32, by `node * num_classes + class`: the next node, 0 if there is none. Node 0 is the root.
        tokens: int32, by node: the token that ends there, `PASSED` or `NO_TOKEN`.
        num_classes: Of bytes.
    """

    begins: npt.NDArray[np.uint8]
    classes: npt.NDArray[np.uint8]
    steps: Ints
    tokens: Ints
    num_classes: np.int64


def added_tokens(found: Mapping[bytes, int]) -> AddedTokens:
    """The tree of tokens, by their bytes; none may be empty."""
    alphabet = sorted({byte for token in found for byte in token})
    classes = np.zeros(256, np.uint8)
    classes[alphabet] = np.arange(1, len(alphabet) + 1)
    num_classes = len(alphabet) + 1
    nodes: list[dict[int, int]] = [{}]
    tokens = [NO_TOKEN]
    for token, number in found.items():
        node = 0
        for byte in token:
            if byte not in nodes[node]:
                nodes[node][byte] = len(nodes)
                nodes.append({})
                tokens.append(NO_TOKEN)
            node = nodes[node][byte]
        tokens[node] = number
    steps = np.zeros(len(nodes) * num_classes, np.int32)
    for node, following in enumerate(nodes):
        for byte, target in following.items():
            steps[node * num_classes + int(classes[byte])] = target
    return AddedTokens(_begins(found), classes, steps, np.array(tokens, np.int32), np.int64(num_classes))


def _begins(tokens: Iterable[bytes]) -> npt.NDArray[np.uint8]:
    """Where tokens may begin: by their first two bytes, of a token of one byte whatever follows."""
    pairs = np.zeros((256, 256), bool)
    for token in tokens:
        pairs[token[0], token[1] if len(token) > 1 else slice(None)] = True
    return np.packbits(pairs, bitorder="little")


@lean_kernel
def next_added(added: Any, data: Any, at: Any, stop: Any) -> Any:
    """The first added token from a place on: where it begins, where it ends, which it is; `stop, stop, NO_TOKEN` if there is none."""
    if len(added.tokens) == 1:
        return stop, stop, np.int64(NO_TOKEN)
    while True:
        # Most bytes are passed here: one look-up, and a branch that is hardly ever taken.
        while at + 1 < stop:
            pair = (np.uint64(data[at]) << np.uint64(8)) | np.uint64(data[at + 1])
            if (added.begins[np.int64(pair >> np.uint64(3))] >> (pair & np.uint64(7))) & np.uint64(1):
                break
            at += 1
        if at >= stop:
            break
        step = np.int64(added.steps[added.classes[data[at]]])
        if step == 0:
            at += 1
            continue
        place, end, token = at + 1, at, np.int64(NO_TOKEN)
        while True:
            if added.tokens[step] != NO_TOKEN:
                end, token = place, np.int64(added.tokens[step])
            if place == stop:
                break
            step = np.int64(added.steps[step * added.num_classes + added.classes[data[place]]])
            if step == 0:
                break
            place += 1
        if token >= 0:
            return at, end, token
        at = end if token == PASSED else at + 1
    return stop, stop, np.int64(NO_TOKEN)
