"""Which documents go: a document is removed if it forms a verified pair with an earlier one that is kept, the first of which it names.

Owns the rule, over edges (later document, earlier document) with the words of keep order of both ends; in one task, or slice by slice of
keep order where no task holds all edges. Earlier and first are meant in keep order: words are compared one after the other, the most
significant first, and no two documents have the same. A document that is nobody's later end is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.buckets import bucket_sizes
from operators.kernels.jit import kernel
from operators.kernels.radix import as_word, read_only, sort_order

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

MOST_WORDS: Final = 5
FREE: Final = np.int64(-(1 << 63))
SCRAMBLE: Final = np.uint64(0x9E3779B97F4A7C15)
FINISH: Final = np.uint64(0xFF51AFD7ED558CCD)
HALF: Final = np.uint64(32)
AHEAD: Final = 512
"""Edges whose ends are looked up at a time."""


class Decision(NamedTuple):
    """What is decided in a slice.

    Attributes:
        edges: Rows of the slice's edges that say why a document is removed, one a document.
        incoming: Rows of the incoming removals that say so, one a document. No document is in both.
        removed: Sorted places of all documents of the slice that are removed.
    """

    edges: I64
    incoming: I64
    removed: I64


@kernel
def _home(table: I64, place: Any) -> Any:
    """The slot at which to begin to look for a place."""
    mixed = np.uint64(place) * SCRAMBLE
    mixed = (mixed ^ (mixed >> HALF)) * FINISH
    return np.int64((mixed ^ (mixed >> HALF)) & np.uint64(len(table) - 2))


@kernel
def _slot(table: I64, place: Any) -> Any:
    """Where a place is in the table, or belongs: it is there if `table[slot] == place`.

    The table has a power of two of slots, some of which are free, and one more, for the place that stands for a free slot.
    """
    if place == FREE:
        return np.int64(len(table) - 1)
    mask, at = len(table) - 2, _home(table, place)
    while table[at] != place and table[at] != FREE:
        at = (at + 1) & mask
    return at


@kernel
def _insert(table: I64, added: I64) -> None:
    """Put places into the table."""
    for place in added:
        table[_slot(table, place)] = place


@kernel
def _num_documents(order: I64, b: I64) -> Any:
    """How many documents the edges have as later ends, if those of one follow each other in `order`."""
    found = 0
    for at in range(len(order)):
        found += at == 0 or b[order[at]] != b[order[at - 1]]
    return found


@kernel
def _precedes(words: Any, one: int, others: Any, other: int) -> Any:
    """-1 if a row of some words comes before a row of others, 1 if after, 0 if all words are the same."""
    # One by one, `MOST_WORDS` of them: a word picked by a variable would cost a hundred times as much.
    if words[0][one] != others[0][other]:
        return -1 if words[0][one] < others[0][other] else 1
    if len(words[1]) and words[1][one] != others[1][other]:
        return -1 if words[1][one] < others[1][other] else 1
    if len(words[2]) and words[2][one] != others[2][other]:
        return -1 if words[2][one] < others[2][other] else 1
    if len(words[3]) and words[3][one] != others[3][other]:
        return -1 if words[3][one] < others[3][other] else 1
    if len(words[4]) and words[4][one] != others[4][other]:
        return -1 if words[4][one] < others[4][other] else 1
    return 0


@kernel
def _contradiction(b_words: Any, a_words: Any, num_edges: int) -> Any:
    """The first edge whose earlier end does not come before its later one; -1 if there is none."""
    for edge in range(num_edges):
        if _precedes(a_words, edge, b_words, edge) >= 0:
            return edge
    return -1


@kernel
def _remove(table: I64, later: Any, best: Any, cascade: bool, chosen: I64, found: int) -> Any:
    """Choose the edge of a document, if it has one and is not removed already; how many are chosen now."""
    if best < 0:
        return found
    slot = _slot(table, later)
    if table[slot] == later:
        return found
    if cascade:
        table[slot] = later
    chosen[found] = best
    return found + 1


@kernel
def _decide(order: I64, b: I64, a: I64, a_words: Any, table: I64, cascade: bool, chosen: I64) -> Any:
    """Of each document `b`, whose edges follow each other in `order`, the edge to the first `a` that is not in the table of removed ones.

    With `cascade` those that have one are removed for the documents that follow. A `b` in the table gets none. How many are chosen.
    """
    laters, earliers = np.empty(AHEAD, np.int64), np.empty(AHEAD, np.int64)
    found, best, touched = 0, np.int64(-1), np.int64(0)
    later = b[order[0]] if len(order) else np.int64(0)
    for start in range(0, len(order), AHEAD):
        num = min(AHEAD, len(order) - start)
        # What lies far apart in memory is touched ahead, so that it is waited for together.
        for at in range(num):
            laters[at], earliers[at] = b[order[start + at]], a[order[start + at]]
        for at in range(num):
            touched ^= table[_home(table, earliers[at])] ^ table[_home(table, laters[at])]
        for at in range(num):
            if laters[at] != later:
                found = _remove(table, later, best, cascade, chosen, found)
                later, best = laters[at], np.int64(-1)
            if table[_slot(table, earliers[at])] == earliers[at]:
                continue
            edge = order[start + at]
            if best >= 0:
                side = _precedes(a_words, edge, a_words, best)
                if side > 0 or (side == 0 and earliers[at] >= a[best]):
                    continue
            best = edge
    return _remove(table, later, best, cascade, chosen, found), touched


def _columns(words: Sequence[U64], num_rows: int, name: str) -> Any:
    """Words as a tuple of one length, which kernels are compiled for; absent ones are empty."""
    if not 1 <= len(words) <= MOST_WORDS:
        raise ValueError(f"{name}: found {len(words)} order words; expected 1 to {MOST_WORDS}; put shorter keys into one word")
    found = [read_only(word, np.uint64, name, num_rows) for word in words]
    absent = read_only(np.zeros(0, np.uint64), np.uint64, name)
    return tuple(found + [absent] * (MOST_WORDS - len(found)))


def _table(removed: I64, more: int) -> I64:
    """A table of removed places with room for some more."""
    table = np.full((1 << max(4, (2 * (len(removed) + more)).bit_length())) + 1, FREE, np.int64)
    table[-1] = 0
    _insert(table, removed)
    return table


def _chosen(order: I64, b: I64, a: I64, a_words: Any, removed: I64, *, cascade: bool) -> I64:
    """The edges that `_decide` chooses."""
    frozen = read_only(order, np.int64, "order")
    num_documents = int(_num_documents(frozen, b))
    chosen = np.empty(num_documents, np.int64)
    found, _ = _decide(frozen, b, a, a_words, _table(removed, num_documents if cascade else 0), cascade, chosen)
    return chosen[: int(found)]


def survivors(b: I64, a: I64, b_words: Sequence[U64], a_words: Sequence[U64], gone: I64 | None = None) -> I64:
    """The edges that say why a document is removed, one for each removed document, in keep order of the removed.

    Document `b[i]` formed a verified pair with the earlier `a[i]`. Documents are decided in keep order: one goes if an earlier one of its
    pairs is kept, and its edge to the first such is named. Edges may come in any order and more than once.

    Memory beside the edges: 50 bytes an edge while they are sorted, then 8 an edge and 24 to 40 for each document that is a `b`.

    Args:
        b: Places of the later documents.
        a: Places of the earlier ones.
        b_words: 1 to 5 words of keep order of each `b`.
        a_words: As many of each `a`.
        gone: Places of documents that are removed already: nothing is removed for them, and they are not removed again.

    Raises:
        ValueError: An edge whose earlier end does not come before its later one, no or too many words, columns of different lengths.
    """
    num_edges = len(b)
    later, earlier = read_only(b, np.int64, "b"), read_only(a, np.int64, "a", num_edges)
    before, after = _columns(a_words, num_edges, "a_words"), _columns(b_words, num_edges, "b_words")
    if len(a_words) != len(b_words):
        raise ValueError(f"survivors: found {len(a_words)} order words of `a`, {len(b_words)} of `b`; expected as many; use one policy")
    wrong = int(_contradiction(after, before, num_edges))
    if wrong >= 0:
        raise ValueError(
            f"edge {wrong}: document {int(earlier[wrong])} does not come before {int(later[wrong])} in keep order; expected the earlier "
            "end as `a`; turn the edge, or look for documents of which two have the same order words"
        )
    removed = read_only(np.zeros(0, np.int64) if gone is None else gone, np.int64, "gone")
    order = sort_order([*b_words, as_word(later)])
    return _chosen(order, later, earlier, before, removed, cascade=True)


def _first_kept(b: I64, a: I64, a_words: Sequence[U64], removed: I64) -> I64:
    """Of each `b` that is not removed, the edge to its first `a` that is not; sorted."""
    num_edges = len(b)
    later, earlier = read_only(b, np.int64, "b"), read_only(a, np.int64, "a", num_edges)
    before = _columns(a_words, num_edges, "a_words")
    chosen = _chosen(sort_order([as_word(later)]), later, earlier, before, read_only(removed, np.int64, "removed"), cascade=False)
    return np.sort(chosen)


def decide_slice(
    b: I64,
    a: I64,
    b_words: Sequence[U64],
    a_words: Sequence[U64],
    incoming_b: I64,
    incoming_a: I64,
    incoming_words: Sequence[U64],
) -> Decision:
    """Decide the documents of one slice of keep order.

    Slices are decided one after the other in keep order. Incoming are the removals of this slice's documents that `outgoing` gave for
    earlier slices, of which a document names the first; as earlier slices precede in keep order, these come before any of the slice's
    own. Folded over all slices this is what `survivors` says of all edges, however keep order is cut.

    Args:
        b: Later ends of the edges that have both ends in the slice.
        a: Their earlier ends.
        b_words: Words of keep order of each `b`.
        a_words: And of each `a`.
        incoming_b: Documents of this slice that are removed for a document of an earlier slice.
        incoming_a: The document that each is removed for.
        incoming_words: Words of keep order of each `incoming_a`.

    Raises:
        ValueError: As `survivors`.
    """
    incoming = _first_kept(incoming_b, incoming_a, incoming_words, np.zeros(0, np.int64))
    gone = np.asarray(incoming_b, np.int64)[incoming]
    edges = survivors(b, a, b_words, a_words, gone)
    return Decision(edges, incoming, np.sort(np.concatenate([gone, np.asarray(b, np.int64)[edges]])))


def outgoing(b: I64, a: I64, a_words: Sequence[U64], removed: I64) -> I64:
    """The edges of a decided slice that remove documents of later slices: to the first kept `a` of each `b` that is not removed.

    Takes any chunk of the edges whose earlier end is in the slice; inner ones among them give nothing. Sorted; at most one for each `b`
    of the chunk. Memory: 50 bytes an edge, and 16 to 32 for each removed document.

    Args:
        b: Later ends.
        a: Earlier ends, documents of the slice.
        a_words: Words of keep order of each `a`.
        removed: Places of the documents of the slice that are removed, as `decide_slice` gives them.

    Raises:
        ValueError: No or too many words, or columns of different lengths.
    """
    return _first_kept(b, a, a_words, removed)


def num_removed_for(kept: I64) -> I64:
    """How many removed documents name the same kept one, for each removed document, given the one that it names.

    Memory: at most 57 bytes a document, of which 8 stay.
    """
    word = as_word(read_only(kept, np.int64, "kept"))
    order = sort_order([word])
    _, sizes = bucket_sizes(word[order], 1)
    counts = np.empty(len(order), np.int64)
    counts[order] = np.repeat(sizes, sizes)
    return counts
