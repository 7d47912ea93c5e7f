"""Language identification by py3langid's model: its automaton walked and its classes scored over offsets and bytes.

Owns the kernel and says how it wants the model, which langid_layout.py arranges.

The automaton finds, after each byte, the longest of 100,000 byte n-grams that ends there. A document's score of a class is the sum,
over the n-grams found in it, of log1p(times found) times the n-gram's weight there. Four things make that quick:

- An entry of the transition table holds the next row and which of the states with that row it is. Rows are cut into pieces of one cache
  line, the likeliest bytes after the row's last byte first; entries that are equal in all rows with one last byte are kept once.
- No n-gram is longer than `depth` bytes, so a walk that begins that much earlier finds the same: each document is walked in eight
  places at once, which hides the memory's latency.
- Weights are multiples of 1/512 less than 13 above the class's least. As 16-bit integers ten rows can be added exactly before the sum
  is weighted; n-grams found equally often share a weight.
- Classes are judged in clusters of eight. A row of bytes says how much an n-gram can bring a class of each cluster at most; only clusters
  of which one could come near the best one are added up, usually two or three of eighteen.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel
from operators.kernels.vectors import TOGETHER, row_adder, two_bytes

SHARED: Final = 65536
"""Where the rows begin in the table: before them lie the entries that are equal in all rows, by the last two bytes."""
LANE: Final = 16
"""Entries of a row in one piece: a cache line of 64 bytes. The first one of the first piece is not an entry but the row's first state."""
CLUSTER: Final = 8
"""Classes of a cluster, whose weights lie together: 16 bytes a row. A cluster of all rows comes before the next cluster."""
CLUSTERS: Final = 18
WIDTH: Final = CLUSTER * CLUSTERS
BOUNDS: Final = 32
"""Bounds of a row: one a cluster, and zeros."""
BOUND_UNIT: Final = 16.0
UNIT: Final = 512.0
STREAMS: Final = 8
TILE_BYTES: Final = 1 << 20
TILE_DOCS: Final = 1024
LOGS: Final = 4096
FEW: Final = 16.0
NEGLIGIBLE: Final = -30.0
NEAR: Final = 15.0
"""A class whose logarithm is further below the best one's is left out: 142 of them together change a probability by 5e-5 at most."""
LOW: Final = np.uint64(0xFFFFFFFF)
HALF_WORD: Final = np.uint64(32)
BYTE_BITS: Final = np.uint64(8)
LAST_BYTE: Final = np.uint64(255)
ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT = (np.uint64(number) for number in range(1, 9))


class Model(NamedTuple):
    """py3langid's model, laid out for `score`.

    Attributes:
        entries: uint32, (row << 8) | which of its states: `SHARED` shared ones, then the rows piece by piece.
        slots: uint64 by (byte << 8) | byte before it: where the entry lies, and in the upper half whether the row counts.
        rows: uint32 by state: its n-gram's row of weights, the last one for none.
        weights: uint16, flat, by cluster, row and place in it: weight above the class's least in units of 1/512; the last row is zero.
        bounds: uint8, flat, by row and cluster: the greatest weight of its classes above `floor`, in units of 1/16, rounded up.
        floor: float64 by cluster: the least of its classes' greatest weights.
        most: float64 by cluster: its classes' greatest prior.
        place: int32 by class: where its weights lie: cluster * 8 and the place in it.
        classes: int32 by place: the class, -1 for none.
        least: float64 by class: its least weight.
        prior: float64 by class.
        fold: int32 by class: the class whose label it shares, itself if none comes before it.
        logs: float32: log1p of small numbers.
        start: The entry of the state before the first byte, and the longest n-gram's bytes.
    """

    entries: npt.NDArray[np.uint32]
    slots: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.uint16]
    bounds: npt.NDArray[np.uint8]
    floor: npt.NDArray[np.float64]
    most: npt.NDArray[np.float64]
    place: npt.NDArray[np.int32]
    classes: npt.NDArray[np.int32]
    least: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    fold: npt.NDArray[np.int32]
    logs: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]


_bound_tens, _bound_each = row_adder(BOUNDS, together=True), row_adder(BOUNDS, together=False)
_add_tens, _add_each = row_adder(CLUSTER, together=True), row_adder(CLUSTER, together=False)


def num_grams(model: Model) -> int:
    """How many n-grams a model has, and one for none: the length of the counts that `score` needs."""
    return len(model.weights) // WIDTH


@lean_kernel
def _entry(entries: Any, slots: Any, entry: Any, pair: Any) -> Any:
    """The entry after one more byte; `pair` is that byte, shifted, and the one before it."""
    slot = slots[pair]
    return np.uint64(entries[((entry >> BYTE_BITS) & (slot >> HALF_WORD)) + (slot & LOW)])


@lean_kernel
def _row(entries: Any, rows: Any, entry: Any) -> Any:
    """The row of the n-gram that an entry leads to. Its state's number is in the cache line that the next step most likely needs."""
    return rows[entries[SHARED + (entry >> BYTE_BITS)] + (entry & LAST_BYTE)]


@lean_kernel
def _enter(model: Any, data: Any, at: Any) -> Any:
    """The entry after a first byte."""
    return _entry(model.entries, model.slots, np.uint64(model.start[0]), np.uint64(data[at]) << BYTE_BITS)


@lean_kernel
def _walk(model: Any, data: Any, begin: Any, first: Any, stop: Any, out: Any, at: Any) -> Any:
    """Walk from `begin` to `stop`, which is behind it, and note the rows of the n-grams found from `first` on."""
    entries, slots, rows = model.entries, model.slots, model.rows
    entry = _enter(model, data, begin)
    if begin >= first:
        out[at] = _row(entries, rows, entry)
        at += 1
    for i in range(begin, stop - 1):
        entry = _entry(entries, slots, entry, two_bytes(data, i))
        if i + 1 >= first:
            out[at] = _row(entries, rows, entry)
            at += 1
    return at


@lean_kernel
def _walk_apart(model: Any, data: Any, start: Any, stop: Any, out: Any, begin: Any) -> Any:
    """Note the row of the n-gram found after each byte, in any order; eight places are walked at once. Returns how many."""
    entries, slots, rows, depth = model.entries, model.slots, model.rows, model.start[1]
    part = (stop - start - 1) // STREAMS
    if start == stop:
        return 0
    if part <= depth:
        return _walk(model, data, start, start, stop, out, begin) - begin
    # A place is that of the byte before: two bytes are read with each step. The first state noted is the one after byte `s1 + 1`, which
    # depends on `depth` bytes.
    back = max(depth - 2, 0)
    s0, s1, s2, s3 = start, start + part, start + 2 * part, start + 3 * part
    s4, s5, s6, s7 = start + 4 * part, start + 5 * part, start + 6 * part, start + 7 * part
    e0, e1 = _enter(model, data, s0), _enter(model, data, s1 - back)
    e2, e3 = _enter(model, data, s2 - back), _enter(model, data, s3 - back)
    e4, e5 = _enter(model, data, s4 - back), _enter(model, data, s5 - back)
    e6, e7 = _enter(model, data, s6 - back), _enter(model, data, s7 - back)
    out[begin] = _row(entries, rows, e0)
    at = np.uint64(begin + 1)
    for i in range(-back, part):
        e1 = _entry(entries, slots, e1, two_bytes(data, s1 + i))
        e2 = _entry(entries, slots, e2, two_bytes(data, s2 + i))
        e3 = _entry(entries, slots, e3, two_bytes(data, s3 + i))
        e4 = _entry(entries, slots, e4, two_bytes(data, s4 + i))
        e5 = _entry(entries, slots, e5, two_bytes(data, s5 + i))
        e6 = _entry(entries, slots, e6, two_bytes(data, s6 + i))
        e7 = _entry(entries, slots, e7, two_bytes(data, s7 + i))
        if i >= 0:
            e0 = _entry(entries, slots, e0, two_bytes(data, s0 + i))
            out[at], out[at + ONE] = _row(entries, rows, e0), _row(entries, rows, e1)
            out[at + TWO], out[at + THREE] = _row(entries, rows, e2), _row(entries, rows, e3)
            out[at + FOUR], out[at + FIVE] = _row(entries, rows, e4), _row(entries, rows, e5)
            out[at + SIX], out[at + SEVEN] = _row(entries, rows, e6), _row(entries, rows, e7)
            at += EIGHT
    rest = start + 1 + STREAMS * part
    if rest == stop:
        return np.int64(at) - begin
    return _walk(model, data, rest + 1 - depth, rest, stop, out, np.int64(at)) - begin


@lean_kernel
def _count(visits: Any, visited: Any, counts: Any, touched: Any) -> Any:
    """Count how often each n-gram was found; `touched` gets each one's row once, and perhaps that of none. Returns how many."""
    num = np.uint64(0)
    for i in range(np.uint64(visited)):
        row = visits[i]
        seen = counts[row]
        touched[num] = row
        counts[row] = seen + np.uint32(1)
        num += np.uint64(seen == 0)
    counts[len(counts) - 1] = 0
    return num


@lean_kernel
def _sort(model: Any, counts: Any, touched: Any, num: Any, found: Any, at: Any, often: Any, apart: Any, sizes: Any, doc: Any) -> Any:
    """Clear the counts and note each n-gram's row by its count: 1, 2, 3, each filled up to groups, then more with the factor beside it.

    `apart` is room for three lists. Returns the place after them, and the sum of all factors.
    """
    logs, none = model.logs, np.uint32(len(counts) - 1)
    room = np.uint64(len(apart) // 4)
    n1, n2, n3, n4 = np.uint64(at), np.uint64(0), room, TWO * room
    # Each row is written to all the lists, and stays on the one whose length then grows: no branch that a processor could not foresee.
    for i in range(num):
        row = touched[i]
        seen = counts[row]
        counts[row] = 0
        found[n1], apart[n2], apart[n3], apart[n4], apart[n4 + room] = row, row, row, row, seen
        n1 += np.uint64(seen == 1)
        n2 += np.uint64(seen == 2)
        n3 += np.uint64(seen == 3)
        n4 += np.uint64(seen > 3)
    num1, num2, num3, num4 = np.int64(n1) - at, np.int64(n2), np.int64(n3 - room), np.int64(n4 - TWO * room)
    sizes[doc * 4], sizes[doc * 4 + 1], sizes[doc * 4 + 2], sizes[doc * 4 + 3] = num1, num2, num3, num4
    end = _fill(found, at + num1, num1, none)
    end = _fill(found, _copy(apart, 0, num2, found, end), num2, none)
    end = _fill(found, _copy(apart, np.int64(room), num3, found, end), num3, none)
    factors = num1 * np.float64(logs[1]) + num2 * np.float64(logs[2]) + num3 * np.float64(logs[3])
    for i in range(num4):
        found[end] = apart[2 * np.int64(room) + i]
        often[end] = _log(logs, apart[3 * np.int64(room) + i])
        factors += often[end]
        end += 1
    return end, factors


@lean_kernel
def _copy(rows: Any, begin: Any, num: Any, out: Any, at: Any) -> Any:
    for i in range(num):
        out[at + i] = rows[begin + i]
    return at + num


@lean_kernel
def _fill(found: Any, at: Any, num: Any, none: Any) -> Any:
    """Fill a list up to whole groups with the row that weighs nothing. Returns the place behind it."""
    for _ in range(_whole(num) - num):
        found[at] = none
        at += 1
    return at


@lean_kernel
def _whole(num: Any) -> Any:
    """The number filled up to whole groups."""
    return (num + TOGETHER - 1) // TOGETHER * TOGETHER


@lean_kernel
def _log(logs: Any, count: Any) -> Any:
    """log1p of a count, as a float32."""
    return logs[count] if count < LOGS else np.float32(np.log1p(np.float64(count)))


@lean_kernel
def _bound_all(model: Any, num_docs: Any, begins: Any, sizes: Any, found: Any, often: Any, factors: Any, bounds: Any) -> None:
    """What a class of each cluster can reach at most in each document of a tile."""
    for doc in range(num_docs):
        at, out = begins[doc], doc * BOUNDS
        for i in range(out, out + BOUNDS):
            bounds[i] = 0
        for seen in range(1, 4):
            end = at + _whole(sizes[doc * 4 + seen - 1])
            _bound_tens(model.bounds, np.int64(0), found, at, end, model.logs[seen], bounds, out)
            at = end
        _bound_each(model.bounds, np.int64(0), found, at, at + sizes[doc * 4 + 3], often, bounds, out)
        for cluster in range(CLUSTERS):
            reached = bounds[out + cluster] / BOUND_UNIT + factors[doc] * model.floor[cluster] + model.most[cluster]
            bounds[out + cluster] = np.float32(reached)


@lean_kernel
def _add_cluster(model: Any, cluster: Any, at: Any, doc: Any, sizes: Any, found: Any, often: Any, sums: Any) -> None:
    """The sums of a cluster's classes in a document, whose lists begin at `at`."""
    weights, out = model.weights, doc * WIDTH + cluster * CLUSTER
    base = cluster * (len(weights) // CLUSTERS)
    for i in range(out, out + CLUSTER):
        sums[i] = 0
    for seen in range(1, 4):
        end = at + _whole(sizes[doc * 4 + seen - 1])
        _add_tens(weights, base, found, at, end, model.logs[seen], sums, out)
        at = end
    _add_each(weights, base, found, at, at + sizes[doc * 4 + 3], often, sums, out)


@lean_kernel
def _raw(model: Any, number: Any, weight: Any, factors: Any) -> Any:
    """The logarithm of a class, from the sum of its weights and that of all rows' factors."""
    found = weight / UNIT + factors * model.least[number]
    if factors < FEW:  # in short texts classes tie in the library's float32, and it takes the first
        return np.float64(np.float32(np.float32(found) + np.float32(model.prior[number]))) if factors > 0 else 0.0
    return found + model.prior[number]


@lean_kernel
def _best_of(model: Any, cluster: Any, doc: Any, factors: Any, sums: Any) -> Any:
    """The greatest logarithm of a cluster's classes."""
    best = -np.inf
    for place in range(cluster * CLUSTER, (cluster + 1) * CLUSTER):
        number = model.classes[place]
        if number >= 0:
            best = max(best, _raw(model, number, sums[doc * WIDTH + place], factors))
    return best


@lean_kernel
def _decide(model: Any, sums: Any, added: Any, doc: Any, factors: Any, num_bytes: Any, chances: Any) -> Any:
    """The first of the likeliest classes and its probability; `factors` is the sum of all rows' factors, 0 if nothing was found."""
    num, best = len(model.prior), -np.inf
    for j in range(num):
        place = model.place[j]
        chances[j] = _raw(model, j, sums[doc * WIDTH + place], factors) if added[doc * CLUSTERS + place // CLUSTER] else -np.inf
        best = max(best, chances[j])
    scale, total = 1.0 / np.sqrt(np.float64(max(num_bytes, 1))), 0.0
    for j in range(num):
        power = (chances[j] - best) * scale
        chances[j] = np.exp(power) if power > NEGLIGIBLE else 0.0
        total += chances[j]
    for j in range(num):
        first = model.fold[j]
        if first != j:
            chances[first] += chances[j]
            chances[j] = 0.0
    found = 0
    for j in range(num):
        if chances[j] > chances[found]:
            found = j
    return found, chances[found] / total


@lean_kernel
def _add_near(
    model: Any,
    num_docs: Any,
    reach: Any,
    begins: Any,
    sizes: Any,
    found: Any,
    often: Any,
    factors: Any,
    bounds: Any,
    best: Any,
    added: Any,
    sums: Any,
) -> None:
    """Add up the clusters of each document that may hold a class near the best one: `reach` is how near that is, by document.

    The likeliest cluster of each comes first. The others are gone through one after the other for all documents, so that a cluster's rows
    stay in the processor's cache.
    """
    for doc in range(num_docs):
        first = 0
        for cluster in range(CLUSTERS):
            added[doc * CLUSTERS + cluster] = False
            if bounds[doc * BOUNDS + cluster] > bounds[doc * BOUNDS + first]:
                first = cluster
        _add_cluster(model, first, begins[doc], doc, sizes, found, often, sums)
        added[doc * CLUSTERS + first] = True
        best[doc] = _best_of(model, first, doc, factors[doc], sums)
    for cluster in range(CLUSTERS):
        for doc in range(num_docs):
            if not added[doc * CLUSTERS + cluster] and bounds[doc * BOUNDS + cluster] >= best[doc] - reach[doc]:
                _add_cluster(model, cluster, begins[doc], doc, sizes, found, often, sums)
                added[doc * CLUSTERS + cluster] = True
                best[doc] = max(best[doc], _best_of(model, cluster, doc, factors[doc], sums))


@kernel
def score(model: Any, offsets: Any, data: Any, todo: Any, counts: Any, classes: Any, scores: Any) -> None:
    """The likeliest class of each text that is to do, and its probability, as py3langid's `classify` of its bytes has them.

    Documents are taken together up to some size, and the n-grams of all are found before those of any are weighed: the tables for both
    don't fit the processor's cache. No document's result depends on the others'.
    """
    num_rows, longest = len(todo), 0
    for row in range(num_rows):
        if todo[row]:
            longest = max(longest, offsets[row + 1] - offsets[row])
    most = min(longest, len(counts))
    docs = min(TILE_DOCS, num_rows)
    room = most + min(TILE_BYTES, offsets[num_rows] - offsets[0]) + docs * 3 * TOGETHER + 1
    visits, found, often = np.empty(longest, np.uint32), np.empty(room, np.uint32), np.empty(room, np.float32)
    touched = np.empty(most + 1, np.uint32)
    apart = np.empty(4 * len(touched), np.uint32)
    which, lengths = np.empty(docs, np.int64), np.empty(docs, np.int64)
    begins, sizes = np.empty(docs, np.int64), np.empty(docs * 4, np.int64)
    sums, bounds = np.empty(docs * WIDTH, np.float32), np.empty(docs * BOUNDS, np.float32)
    factors, best, reach = np.empty(docs, np.float64), np.empty(docs, np.float64), np.empty(docs, np.float64)
    added = np.empty(docs * CLUSTERS, np.bool_)
    chances = np.empty(len(model.prior), np.float64)
    num, size, at = 0, 0, 0
    for row in range(num_rows):
        if todo[row]:
            length = offsets[row + 1] - offsets[row]
            which[num], lengths[num], begins[num] = row, length, at
            reach[num] = NEAR * np.sqrt(np.float64(length))
            visited = _walk_apart(model, data, offsets[row], offsets[row + 1], visits, 0)
            distinct = _count(visits, visited, counts, touched)
            at, factors[num] = _sort(model, counts, touched, distinct, found, at, often, apart, sizes, num)
            size += min(length, len(counts))
            num += 1
        if num == docs or size >= TILE_BYTES or row == num_rows - 1:
            _bound_all(model, num, begins, sizes, found, often, factors, bounds)
            _add_near(model, num, reach, begins, sizes, found, often, factors, bounds, best, added, sums)
            for doc in range(num):
                classes[which[doc]], scores[which[doc]] = _decide(model, sums, added, doc, factors[doc], lengths[doc], chances)
            num, size, at = 0, 0, 0
