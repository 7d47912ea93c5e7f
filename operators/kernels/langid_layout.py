"""py3langid's model arranged for the kernel that reads it: rows of the automaton by how usual they are, weights as 16-bit integers.

Owns the arrangement and its checks: a model that does not fit it is refused, never read wrongly.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.kernels.langid import BOUND_UNIT, BOUNDS, CLUSTER, CLUSTERS, HALF_WORD, LANE, LOGS, LOW, SHARED, UNIT, WIDTH, Model
from operators.kernels.vectors import TOGETHER

U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


class LayoutError(ValueError):
    """The model is not one that this layout can hold."""


def laid_out(nextmove: U32, rows: I64, outputs: I64, weights: Any, prior: Any, names: list[str]) -> Model:
    """Arrange a model of py3langid.

    Args:
        nextmove: The state after a byte, by row and byte.
        rows: The row of each state.
        outputs: The n-gram of each state, -1 for none.
        weights: float32: weight by n-gram and class.
        prior: float32: weight of each class before anything is seen.
        names: Label of each class; one may occur twice.

    Raises:
        LayoutError: A number does not fit, or the automaton is not one of bounded memory.
    """
    moves = nextmove.reshape(-1, 256).astype(np.int64)
    depth = _depth(moves, rows)
    usual = _usual(weights, names)
    last = np.zeros(len(rows), np.int64)
    last[moves.ravel()] = np.tile(np.arange(256), len(moves))
    last[0] = 0
    places = _Places(moves, rows, last, np.where(outputs >= 0, usual[outputs], 0.0))
    order = np.argsort(-usual, kind="stable")
    classes = _clusters(weights[order[:COMMON_GRAMS]])
    row_of = _rows(order, outputs, places.numbers)
    flat, bounds, floor, most = _weights(weights[order], prior, classes)
    place = np.argsort(np.where(classes < 0, len(classes), classes), kind="stable")[: len(names)].astype(np.int32)
    fold = np.array([names.index(name) for name in names], np.int32)
    least = _integers(weights).min(0) / UNIT
    logs = np.log1p(np.arange(LOGS, dtype=np.float32))
    start = np.array([places.start, depth], np.int64)
    weighing = (flat, bounds, floor, most, place, classes, least, prior.astype(np.float64))
    return Model(places.entries, places.slots, row_of, *weighing, fold, logs, start)


def _depth(moves: I64, rows: I64) -> int:
    """The bytes of the longest n-gram.

    The automaton is checked to be one of Aho and Corasick: its state is the longest beginning of an n-gram that the text ends in, and so
    depends on no more bytes than that.
    """
    depths = np.full(len(rows), -1)
    fails = np.zeros(len(rows), np.int64)
    depths[0], level, front = 0, 0, np.array([0])
    while len(front):
        after = moves[rows[front]]
        fallback = moves[rows[fails[front]]] if level else np.zeros_like(after)
        is_child = depths[after] < 0
        if not (is_child | (after == fallback)).all():
            raise LayoutError("the automaton's states depend on more than the n-gram read last")
        level += 1
        children, first = np.unique(after[is_child], return_index=True)
        if len(children) != is_child.sum():
            raise LayoutError("two paths lead to one n-gram")
        depths[children] = level
        fails[children] = fallback[is_child][first]
        front = children
    if (depths < 0).any():
        raise LayoutError("there are states that no text leads to")
    return level - 1


COMMON: Final = {
    "en": 45.0, "ru": 6.0, "de": 6.0, "ja": 5.0, "zh": 5.0, "es": 4.5, "fr": 4.5, "it": 2.5, "pt": 2.3, "nl": 1.8, "pl": 1.8, "tr": 1.0,
    "vi": 1.0, "cs": 1.0, "id": 1.0, "ar": 1.0, "fa": 1.0, "ko": 0.8, "sv": 0.7, "ro": 0.6, "uk": 0.6, "el": 0.6, "hu": 0.6, "th": 0.5,
}  # fmt: skip
"""About how many of a hundred web pages are in a language: for the order of things in memory, nothing else."""


COMMON_GRAMS: Final = 20_000
"""Of the most usual n-grams: those whose weights tell which classes are alike."""


def _usual(weights: npt.NDArray[np.float32], names: list[str]) -> npt.NDArray[np.float64]:
    """About how usual each n-gram is on the web."""
    shares = np.array([COMMON.get(name, 0.1) for name in names])
    found: npt.NDArray[np.float64] = np.exp(weights.astype(np.float64)) @ (shares / shares.sum())
    return found


def _integers(weights: npt.NDArray[np.float32]) -> I32:
    scaled = np.round(weights.astype(np.float64) * UNIT)
    if (scaled / UNIT != weights).any() or weights.shape[1] > WIDTH:
        raise LayoutError(f"weights of {weights.shape[1]} classes are not multiples of 1/{UNIT:.0f}")
    return scaled.astype(np.int32)


def _rows(order: I64, outputs: I64, numbers: I64) -> U32:
    """The row of weights of each state, by its new number; the last one for no n-gram."""
    place = np.full(len(order) + 1, len(order), np.uint32)
    place[order] = np.arange(len(order))
    rows = np.empty(len(outputs), np.uint32)
    rows[numbers] = place[outputs]  # -1 is the last one
    return rows


def _clusters(weights: npt.NDArray[np.float32]) -> I32:
    """The class in each place, so that classes that the same n-grams speak for are in one cluster; -1 where there is none.

    Greedy: a cluster begins with a class and takes the one most like those it has, until it is full.
    """
    centred = weights - weights.mean(1, keepdims=True)
    alike = np.round(np.corrcoef(centred.T.astype(np.float64)), 9)  # to the last bit, libraries differ
    left = np.ones(len(alike), np.bool_)
    places = np.full(WIDTH, -1, np.int32)
    at = 0
    while left.any():
        rest = np.flatnonzero(left)
        nearest = np.sort(alike[np.ix_(rest, rest)], axis=1)[:, -CLUSTER // 2 :].mean(1)
        members = [int(rest[nearest.argmax()])]
        left[members] = False
        while len(members) < CLUSTER and left.any():
            likeness = np.where(left, alike[members].max(0) + alike[members].mean(0), -np.inf)
            members.append(int(likeness.argmax()))
            left[members] = False
        places[at : at + len(members)] = members
        at += CLUSTER
    return places


def _weights(
    weights: npt.NDArray[np.float32], prior: Any, classes: I32
) -> tuple[U16, npt.NDArray[np.uint8], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights by cluster, row and place, with a last row of zeros; bounds by row and cluster; floor and greatest prior of each cluster."""
    integers = _integers(weights)
    above = integers - integers.min(0)
    if above.max() * TOGETHER > np.iinfo(np.uint16).max:
        raise LayoutError(f"weights differ by {above.max() / UNIT:.1f}, too much for sums of {TOGETHER} in 16 bits")
    flat = np.zeros((len(weights) + 1, WIDTH), np.uint16)
    flat[:-1, classes >= 0] = above[:, classes[classes >= 0]]
    bounds = np.zeros((len(weights) + 1, BOUNDS), np.uint8)
    floor, most = np.zeros(CLUSTERS), np.full(CLUSTERS, -np.inf)
    for cluster, places in enumerate(classes.reshape(CLUSTERS, CLUSTER)):
        members = places[places >= 0]
        if len(members):
            greatest = integers[:, members].max(1) / UNIT
            floor[cluster], most[cluster] = greatest.min(), np.max(prior[members])
            rounded = np.ceil((greatest - floor[cluster]) * BOUND_UNIT)
            if rounded.max() > np.iinfo(np.uint8).max:
                raise LayoutError(f"weights differ by {rounded.max() / BOUND_UNIT:.1f}, too much for bounds in 8 bits")
            bounds[:-1, cluster] = rounded
    by_cluster = flat.reshape(-1, CLUSTERS, CLUSTER).transpose(1, 0, 2)
    return np.ascontiguousarray(by_cluster).ravel(), bounds.ravel(), floor, most


class _Places:
    """Where each entry lies, and the numbers of the states: usual rows come first, and states of one row follow each other."""

    def __init__(self, moves: I64, rows: I64, last: I64, usual: npt.NDArray[np.float64]) -> None:
        num_states = len(rows)
        # The root may follow any byte, and what lies where depends on the byte before: it has a row for each.
        roots = np.arange(256) << 32
        keys = (rows << 8) | last
        keys[0] = roots[0]
        kinds, ranks = np.unique(np.concatenate([keys, roots]), return_inverse=True)
        often = np.bincount(ranks[:num_states], usual, minlength=len(kinds))
        often[ranks[num_states:]] = np.inf
        order = np.argsort(-often, kind="stable")
        place = np.empty(len(kinds), np.int64)
        place[order] = np.arange(len(kinds))
        numbers = place[ranks]
        of_state, self.of_root = numbers[:num_states], numbers[num_states:]
        content, before = np.zeros(len(kinds), np.int64), np.zeros(len(kinds), np.int64)
        content[of_state], before[of_state] = rows, last
        content[self.of_root], before[self.of_root] = rows[0], np.arange(256)
        states = np.lexsort((-usual, of_state))
        self.numbers = np.empty(num_states, np.int64)
        self.numbers[states] = np.arange(num_states)
        firsts = np.searchsorted(of_state[states], np.arange(len(kinds)))
        firsts[self.of_root] = self.numbers[0]
        which = self.numbers - firsts[of_state]
        if which.max() > 255 or len(kinds) * LANE >= 1 << 24:
            raise LayoutError(f"{len(kinds)} rows, one of them with {which.max() + 1} states, are too many")
        self._entry = (of_state * LANE << 8) | which
        self.start = int(self._after(np.zeros(1, np.int64), np.zeros(1, np.int64))[0])
        self._fill(moves, rows, content, before, firsts, often)

    def _after(self, states: I64, byte: I64) -> I64:
        """The entry that says that a state is reached by a byte."""
        return np.where(states == 0, self.of_root[byte] * LANE << 8, self._entry[states])

    def _fill(self, moves: I64, rows: I64, content: I64, before: I64, firsts: I64, often: npt.NDArray[np.float64]) -> None:
        num_rows, every = len(content), np.arange(256)
        alone = moves[rows[moves[rows[0]]]]  # the state after two bytes from the root
        differs = np.zeros((256, 256), np.bool_)
        weight = np.zeros((256, 256))
        for byte in range(256):
            mine = np.flatnonzero(before == byte)
            unlike = moves[content[mine]] != alone[byte]
            differs[byte] = unlike.any(0)
            weight[byte] = (unlike * np.where(np.isinf(often[mine]), 0, often[mine])[:, None]).sum(0)
        order = np.argsort(np.where(differs, -weight, np.inf), axis=1, kind="stable")
        rank = np.empty((256, 256), np.int64)
        np.put_along_axis(rank, order, np.broadcast_to(every + 1, (256, 256)), axis=1)
        where = np.where(differs, SHARED + rank // LANE * (num_rows * LANE) + rank % LANE, every[:, None] * 256 + every)
        pieces = int(rank[differs].max()) // LANE + 1
        entries = np.zeros(SHARED + pieces * num_rows * LANE, np.uint32)
        entries[:SHARED] = self._after(alone, np.broadcast_to(every, (256, 256))).ravel()
        entries[SHARED : SHARED + num_rows * LANE : LANE] = firsts
        for byte in range(256):
            mine, used = np.flatnonzero(before == byte), np.flatnonzero(differs[byte])
            after = self._after(moves[content[mine]][:, used], used)
            entries[where[byte, used] + mine[:, None] * LANE] = after
        self.entries = entries
        self.slots = (where.astype(np.uint64) | (differs.astype(np.uint64) * LOW << HALF_WORD)).T.ravel()
