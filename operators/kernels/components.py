"""Components: sets of documents that verified pairs join, found in one task by union-find or over partitions by large-star/small-star.

The rounds are those of Kiveris et al., "Connected Components in MapReduce and Beyond" (SoCC 2014). A node is the place of a document. All
links of a node meet in one task; for a node that has more than a task holds, each star comes apart into two passes over chunks: `minima`,
folded, and then `starred`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.radix import as_signed, as_word, read_only, sort_distinct_pairs, sort_pairs

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Links = tuple[I64, I64]
Star = Literal["large", "small"]

MIX1: Final = np.uint64(0xFF51AFD7ED558CCD)
MIX2: Final = np.uint64(0xC4CEB9FE1A85EC53)
SALT: Final = np.uint64(0x9E3779B97F4A7C15)
HALF: Final = np.uint64(33)


@kernel
def _dense(places: U64, rows: U64, ids: U64) -> Any:
    """Number sorted places from zero on, each once: `ids[row]` is the number; the places move to the front. How many there are."""
    num = 0
    for at in range(len(places)):
        if num == 0 or places[at] != places[num - 1]:
            places[num] = places[at]
            num += 1
        ids[np.int64(rows[at])] = num - 1
    return num


@kernel
def _find(parents: U64, node: Any) -> Any:
    """The root of a node; every other node on the way is hung one higher."""
    at = np.int64(node)
    while True:
        above = np.int64(parents[at])
        if above == at:
            return at
        parents[at] = parents[above]
        at = np.int64(parents[at])


@kernel
def _unite(ids: U64, parents: U64) -> None:
    """Join the ends of each link, then hang every node on its root. A root is the smallest of its component."""
    num_links = len(ids) >> 1
    for node in range(len(parents)):
        parents[node] = node
    for link in range(num_links):
        one, other = _find(parents, ids[link]), _find(parents, ids[num_links + link])
        if one < other:
            parents[other] = one
        else:
            parents[one] = other
    # No node is above a larger one: what is smaller hangs on its root already.
    for node in range(len(parents)):
        parents[node] = parents[np.int64(parents[node])]


def components(u: I64, v: I64) -> Links:
    """The nodes of the links, sorted, each once, and of each the smallest node of its component.

    Links may come in any order and direction, more than once, and from a node to itself. Memory beside the links: at most 81 bytes a
    link, of which at most 32 stay (where no two links share a node).

    Raises:
        ValueError: Columns of different lengths.
    """
    num_links = len(u)
    read_only(u, np.int64, "u")
    read_only(v, np.int64, "v", num_links)
    places, rows = np.empty(2 * num_links, np.uint64), np.arange(2 * num_links, dtype=np.uint64)
    places[:num_links], places[num_links:] = as_word(u), as_word(v)
    sort_pairs(places, rows)
    ids = np.empty_like(rows)
    num_nodes = int(_dense(places, rows, ids))
    parents = rows[:num_nodes]
    _unite(ids, parents)
    nodes = as_signed(places[:num_nodes])
    return nodes, nodes[parents.view(np.int64)]


@kernel
def _minima(high: U64, low: U64, nodes: U64, smallest: U64) -> Any:
    """Each different `high` of sorted pairs, and the smallest of it and its `low`; how many there are."""
    found = 0
    for row in range(len(high)):
        if row == 0 or high[row] != high[row - 1]:
            nodes[found], smallest[found] = high[row], min(high[row], low[row])
            found += 1
    return found


def _sorted_words(u: I64, v: I64) -> tuple[U64, U64]:
    """Links as words, sorted by both ends."""
    high = as_word(read_only(u, np.int64, "u"))
    low = as_word(read_only(v, np.int64, "v", len(high)))
    sort_pairs(high, low)
    return high, low


def _minimum_words(high: U64, low: U64) -> tuple[U64, U64]:
    """`minima` of sorted words."""
    nodes, smallest = np.empty(len(high), np.uint64), np.empty(len(high), np.uint64)
    found = int(_minima(high, low, nodes, smallest))
    return nodes[:found], smallest[:found]


def minima(u: I64, v: I64) -> Links:
    """The nodes `u`, sorted, each once, and the smallest of each and all the `v` that it is linked to.

    Folds over chunks: the minima of chunks' minima, put one after the other, are those of the whole. Memory: 33 bytes a link.

    Raises:
        ValueError: Columns of different lengths.
    """
    nodes, smallest = _minimum_words(*_sorted_words(u, v))
    return as_signed(nodes), as_signed(smallest)


@kernel
def _star(u: U64, v: U64, nodes: U64, smallest: U64, is_large: bool, larger: U64, smaller: U64) -> Any:
    """The links of a star from sorted links; how many there are, or -1 if a node is not among `nodes`."""
    found, at = 0, 0
    for row in range(len(u)):
        while at < len(nodes) and nodes[at] < u[row]:
            at += 1
        if at == len(nodes) or nodes[at] != u[row]:
            return -1
        least = smallest[at]
        if is_large:
            if v[row] > u[row]:
                larger[found], smaller[found] = v[row], least
                found += 1
            continue
        if v[row] < u[row] and v[row] != least:
            larger[found], smaller[found] = v[row], least
            found += 1
        if (row == 0 or u[row - 1] != u[row]) and u[row] != least:
            larger[found], smaller[found] = u[row], least
            found += 1
    return found


def starred(u: I64, v: I64, nodes: I64, smallest: I64, star: Star) -> Links:
    """The links that a star makes of some links, when the minima of their nodes `u` are known; each once, from larger to smaller.

    The links of chunks, put together, are those of the whole, some more than once. Memory: at most 80 bytes a link and 16 a node.

    Args:
        u: Nodes whose star it is.
        v: Nodes that they are linked to, as `large_star` or `small_star` wants them.
        nodes: Sorted nodes, with all of `u`, as `minima` gives them.
        smallest: Their minima over all links.
        star: Which of the two.

    Returns:
        The larger ends and the smaller ends, sorted by smaller end and then by larger end.

    Raises:
        ValueError: A node of `u` has no minimum, or columns of different lengths.
    """
    known = as_word(read_only(nodes, np.int64, "nodes"))
    return _star_links(*_sorted_words(u, v), known, as_word(read_only(smallest, np.int64, "smallest", len(known))), star)


def _star_links(high: U64, low: U64, nodes: U64, smallest: U64, star: Star) -> Links:
    """`starred` of sorted words."""
    # A small star also links the node itself, and its smallest may be in another chunk.
    room = len(high) if star == "large" else 2 * len(high)
    larger, smaller = np.empty(room, np.uint64), np.empty(room, np.uint64)
    found = int(_star(high, low, nodes, smallest, star == "large", larger, smaller))
    if found < 0:
        raise ValueError(
            "starred: found a node that has no minimum; expected every node of `u` among `nodes`; fold the minima of all chunks"
        )
    larger, smaller = larger[:found], smaller[:found]
    kept = sort_distinct_pairs(smaller, larger)
    return as_signed(larger[:kept]), as_signed(smaller[:kept])


def large_star(u: I64, v: I64) -> Links:
    """Each node's larger neighbours, linked to the smallest of the node and its neighbours.

    Takes every link in both directions, (u, v) and (v, u), and all the links of a node `u`: a partition of them by `u`, in any order.
    Gives links from larger to smaller end, each once, sorted by smaller end and then by larger end; other partitions may give the same
    link. Memory: 65 bytes a link.

    Raises:
        ValueError: Columns of different lengths.
    """
    words = _sorted_words(u, v)
    return _star_links(*words, *_minimum_words(*words), "large")


def small_star(u: I64, v: I64) -> Links:
    """Each node and its smaller neighbours, linked to the smallest of them.

    Takes every link once, from its larger end `u` to its smaller end `v`, as both stars give them, and all those of a node `u`: a
    partition of them by `u`, in any order. Gives links as `large_star` does. Memory: 81 bytes a link.

    Raises:
        ValueError: Columns of different lengths.
    """
    words = _sorted_words(u, v)
    return _star_links(*words, *_minimum_words(*words), "small")


@kernel
def _digest(u: I64, v: I64) -> Any:
    """Sum of a hash of each link."""
    total = np.uint64(0)
    for row in range(len(u)):
        x = np.uint64(u[row]) * SALT
        x = (x ^ (x >> HALF)) * MIX1 + np.uint64(v[row])
        x = (x ^ (x >> HALF)) * MIX2
        x = (x ^ (x >> HALF)) * MIX1
        total += x ^ (x >> HALF)
    return total


def digest_links(u: I64, v: I64) -> int:
    """A number below 2**64 that stands for the links in any order; a link that is there twice counts twice.

    Folds over chunks: the sum of chunks' digests modulo 2**64 is that of the whole.

    Raises:
        ValueError: Columns of different lengths.
    """
    ones = read_only(u, np.int64, "u")
    return int(_digest(ones, read_only(v, np.int64, "v", len(ones))))
