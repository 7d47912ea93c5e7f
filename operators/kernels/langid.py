"""Language identification by py3langid's model: its automaton walked and its classes scored over offsets and bytes.

Owns the kernel and says how it wants the model, which langid_layout.py arranges.

The automaton finds, after each byte, the longest of 100,000 byte n-grams that ends there. A document's score of a class is the sum,
over the n-grams found in it, of log1p(times found) times the n-gram's weight there. Three things make that quick:

- An entry of the transition table holds the next row and which of the states with that row it is. Rows are cut into pieces of one cache
  line, the likeliest bytes after the row's last byte first; entries that are equal in all rows with one last byte are kept once.
- No n-gram is longer than `depth` bytes, so a walk that begins that much earlier finds the same: each document is walked in eight
  places at once, which hides the memory's latency.
- Weights are multiples of 1/512 less than 13 above the class's least. As 16-bit integers ten rows can be added exactly before the sum
  is weighted; n-grams found equally often share a weight.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.jit import kernel
from operators.kernels.lean import lean_kernel
from operators.kernels.vectors import LINE, TOGETHER, add_line, add_ten

SHARED: Final = 65536
"""Where the rows begin in the table: before them lie the entries that are equal in all rows, by the last two bytes."""
LANE: Final = 16
"""Entries of a row in one piece: a cache line of 64 bytes. The first one of the first piece is not an entry but the row's first state."""
PIECE: Final = LINE
"""Classes of a row of weights in one piece: a cache line of 64 bytes. A piece of all rows comes before the next piece."""
PIECES: Final = 5
WIDTH: Final = PIECE * PIECES
UNIT: Final = 512.0
STREAMS: Final = 8
TILE_BYTES: Final = 1 << 20
TILE_DOCS: Final = 1024
LOGS: Final = 4096
NEGLIGIBLE: Final = -30.0
LOW: Final = np.uint64(0xFFFFFFFF)
HALF_WORD: Final = np.uint64(32)
BYTE_BITS: Final = np.uint64(8)
LAST_BYTE: Final = np.uint64(255)


class Model(NamedTuple):
    """py3langid's model, laid out for `score`.

    Attributes:
        entries: uint32, (row << 8) | which of its states: `SHARED` shared ones, then the rows piece by piece.
        slots: uint64 by (last byte << 8) | byte: where the entry lies, and in the upper half whether the row counts.
        special: uint8, a bit by state: it has no n-gram, or another state has the same.
        rows: int32 by state: its n-gram's row of weights; if it is special that other state, or -1.
        weights: uint16, flat, by piece, row and class: weight above the class's least in units of 1/512; the last row is zero.
        least: float64 by class: its least weight.
        prior: float64 by class.
        fold: int32 by class: the class whose label it shares, itself if none comes before it.
        logs: float32: log1p of small numbers.
        start: The entry of the state before the first byte, and the longest n-gram's bytes.
    """

    entries: npt.NDArray[np.uint32]
    slots: npt.NDArray[np.uint64]
    special: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int32]
    weights: npt.NDArray[np.uint16]
    least: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    fold: npt.NDArray[np.int32]
    logs: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]


@lean_kernel
def _entry(entries: Any, slots: Any, entry: Any, pair: Any) -> Any:
    """The entry after one more byte; `pair` is the byte before it and itself."""
    slot = slots[pair]
    return np.uint64(entries[((entry >> BYTE_BITS) & (slot >> HALF_WORD)) + (slot & LOW)])


@lean_kernel
def _state(entries: Any, entry: Any) -> Any:
    """The number of the state that an entry leads to. It is read from the cache line that the next step most likely needs."""
    return entries[SHARED + (entry >> BYTE_BITS)] + (entry & LAST_BYTE)


@lean_kernel
def _walk(model: Any, data: Any, begin: Any, first: Any, stop: Any, out: Any, at: Any) -> Any:
    """Walk from `begin` to `stop` and note the states from `first` on."""
    entries, slots = model.entries, model.slots
    entry, before = np.uint64(model.start[0]), np.uint64(0)
    for i in range(begin, stop):
        byte = np.uint64(data[i])
        entry = _entry(entries, slots, entry, before | byte)
        before = byte << BYTE_BITS
        if i >= first:
            out[at] = _state(entries, entry)
            at += 1
    return at


@lean_kernel
def _walk_apart(model: Any, data: Any, start: Any, stop: Any, out: Any, begin: Any) -> Any:
    """Note the state after each byte, in any order; eight places are walked at once. Returns how many."""
    entries, slots, depth = model.entries, model.slots, model.start[1]
    part = (stop - start) // STREAMS
    if part <= depth:
        return _walk(model, data, start, start, stop, out, begin) - begin
    zero = np.uint64(0)
    root = np.uint64(model.start[0])
    e0, e1, e2, e3, e4, e5, e6, e7 = root, root, root, root, root, root, root, root
    b0, b1, b2, b3, b4, b5, b6, b7 = zero, zero, zero, zero, zero, zero, zero, zero
    s1 = start + part
    s2, s3, s4, s5, s6, s7 = s1 + part, s1 + 2 * part, s1 + 3 * part, s1 + 4 * part, s1 + 5 * part, s1 + 6 * part
    at = begin
    for i in range(-depth, part):
        if i >= 0:
            c0 = np.uint64(data[start + i])
            e0 = _entry(entries, slots, e0, b0 | c0)
            b0 = c0 << BYTE_BITS
        c1 = np.uint64(data[s1 + i])
        e1 = _entry(entries, slots, e1, b1 | c1)
        b1 = c1 << BYTE_BITS
        c2 = np.uint64(data[s2 + i])
        e2 = _entry(entries, slots, e2, b2 | c2)
        b2 = c2 << BYTE_BITS
        c3 = np.uint64(data[s3 + i])
        e3 = _entry(entries, slots, e3, b3 | c3)
        b3 = c3 << BYTE_BITS
        c4 = np.uint64(data[s4 + i])
        e4 = _entry(entries, slots, e4, b4 | c4)
        b4 = c4 << BYTE_BITS
        c5 = np.uint64(data[s5 + i])
        e5 = _entry(entries, slots, e5, b5 | c5)
        b5 = c5 << BYTE_BITS
        c6 = np.uint64(data[s6 + i])
        e6 = _entry(entries, slots, e6, b6 | c6)
        b6 = c6 << BYTE_BITS
        c7 = np.uint64(data[s7 + i])
        e7 = _entry(entries, slots, e7, b7 | c7)
        b7 = c7 << BYTE_BITS
        if i >= 0:
            out[at], out[at + 1] = _state(entries, e0), _state(entries, e1)
            out[at + 2], out[at + 3] = _state(entries, e2), _state(entries, e3)
            out[at + 4], out[at + 5] = _state(entries, e4), _state(entries, e5)
            out[at + 6], out[at + 7] = _state(entries, e6), _state(entries, e7)
            at += 8
    rest = start + STREAMS * part
    return _walk(model, data, rest - depth, rest, stop, out, at) - begin


@lean_kernel
def _count(model: Any, visits: Any, begin: Any, end: Any, counts: Any, touched: Any) -> Any:
    """Count how often each n-gram was found; `touched` gets the state of each once, and some with a count of zero. Returns how many."""
    special, rows = model.special, model.rows
    num = 0
    for i in range(begin, end):
        state = visits[i]
        seen = counts[state]
        touched[num] = state
        counts[state] = seen + 1
        num += seen == 0
    for i in range(num):
        state = touched[i]
        if (special[state >> 3] >> (state & 7)) & 1:
            same = rows[state]  # another state that stands for the same n-gram, or none
            if same >= 0:
                touched[num] = same
                num += counts[same] == 0
                counts[same] += counts[state]
            counts[state] = 0
    return num


@lean_kernel
def _sort(model: Any, counts: Any, touched: Any, num: Any, found: Any, at: Any, more: Any, sizes: Any, doc: Any) -> Any:
    """Clear the counts and note each n-gram's row by its count: 1, 2, 3, each filled up to groups, then more with the count beside it.

    Returns the place after them.
    """
    rows, none = model.rows, np.uint32(len(model.weights) // (PIECES * PIECE) - 1)
    n1, n2, n3, n4 = 0, 0, 0, 0
    for i in range(num):
        seen = counts[touched[i]]
        n1 += seen == 1
        n2 += seen == 2
        n3 += seen == 3
        n4 += seen > 3
    sizes[doc * 4], sizes[doc * 4 + 1], sizes[doc * 4 + 2], sizes[doc * 4 + 3] = n1, n2, n3, n4
    end1 = at + _whole(n1)
    end2 = end1 + _whole(n2)
    end3 = end2 + _whole(n3)
    end4 = end3 + n4
    n1, n2, n3, n4 = at, end1, end2, end3
    # What is written behind the last of a list is written over by the next one: last come those that fill it up.
    for i in range(num):
        state = touched[i]
        seen = counts[state]
        counts[state] = 0
        row = np.uint32(rows[state])
        found[n1 if seen == 1 else n2 if seen == 2 else n3 if seen == 3 else n4 if seen > 3 else end4] = row
        more[n4] = seen
        n1 += seen == 1
        n2 += seen == 2
        n3 += seen == 3
        n4 += seen > 3
    for i in range(n1, end1):
        found[i] = none
    for i in range(n2, end2):
        found[i] = none
    for i in range(n3, end3):
        found[i] = none
    return end4


@lean_kernel
def _whole(num: Any) -> Any:
    """The number filled up to whole groups."""
    return (num + TOGETHER - 1) // TOGETHER * TOGETHER


@lean_kernel
def _add(weights: Any, base: Any, rows: Any, begin: Any, end: Any, factor: Any, sums: Any, out: Any) -> None:
    """Add one piece of the rows, all with one factor."""
    for i in range(begin, end, TOGETHER):
        add_ten(weights, base, rows, i, factor, sums, out)


@lean_kernel
def _add_each(weights: Any, base: Any, rows: Any, counts: Any, begin: Any, end: Any, logs: Any, sums: Any, out: Any) -> Any:
    """Add one piece of the rows, each with the log1p of its count. Returns the sum of these."""
    total = 0.0
    for i in range(begin, end):
        factor = _log(logs, counts[i])
        total += factor
        add_line(weights, base + np.int64(rows[i]) * PIECE, factor, sums, out)
    return total


@lean_kernel
def _log(logs: Any, count: Any) -> Any:
    """log1p of a count, as a float32."""
    return logs[count] if count < LOGS else np.float32(np.log1p(np.float64(count)))


@lean_kernel
def _decide(model: Any, sums: Any, base: Any, factors: Any, num_bytes: Any, chances: Any) -> Any:
    """The first of the likeliest classes and its probability; `factors` is the sum of all rows' factors, 0 if nothing was found."""
    num, best = len(model.prior), -np.inf
    for j in range(num):
        raw = sums[base + j] / UNIT + factors * model.least[j] + model.prior[j] if factors > 0 else 0.0
        chances[j] = raw
        best = max(best, raw)
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
def _add_all(model: Any, num_docs: Any, begins: Any, sizes: Any, found: Any, more: Any, sums: Any, factors: Any) -> None:
    """The sums of all documents of a tile, piece by piece, so that a piece's rows stay in the processor's cache."""
    weights, logs = model.weights, model.logs
    num_rows = len(weights) // (PIECES * PIECE)
    for i in range(num_docs * WIDTH):
        sums[i] = 0
    for piece in range(PIECES):
        base = piece * num_rows * PIECE
        for doc in range(num_docs):
            at, out = begins[doc], doc * WIDTH + piece * PIECE
            factor = 0.0
            for seen in range(1, 4):
                num = sizes[doc * 4 + seen - 1]
                end = at + _whole(num)
                _add(weights, base, found, at, end, logs[seen], sums, out)
                factor += num * np.float64(logs[seen])
                at = end
            factor += _add_each(weights, base, found, more, at, at + sizes[doc * 4 + 3], logs, sums, out)
            factors[doc] = factor


@kernel
def score(model: Any, offsets: Any, data: Any, todo: Any, counts: Any, classes: Any, scores: Any) -> None:
    """The likeliest class of each text that is to do, and its probability, as py3langid's `classify` of its bytes has them.

    Documents are taken together up to some size, and each step is done for all of them before the next, as each has its own tables,
    which together don't fit the processor's cache. No document's result depends on the others'.
    """
    num_rows, longest = len(todo), 0
    for row in range(num_rows):
        if todo[row]:
            longest = max(longest, offsets[row + 1] - offsets[row])
    room = longest + min(TILE_BYTES, offsets[num_rows] - offsets[0])
    docs = min(TILE_DOCS, num_rows)
    visits, found = np.empty(room, np.uint32), np.empty(room + docs * 3 * TOGETHER + 1, np.uint32)
    more = np.empty(len(found), np.uint32)
    touched = np.empty(min(longest, len(counts)) * 2 + 1, np.uint32)
    which, starts, begins, sizes = (
        np.empty(docs, np.int64),
        np.empty(docs + 1, np.int64),
        np.empty(docs, np.int64),
        np.empty(docs * 4, np.int64),
    )
    sums, factors = np.empty(docs * WIDTH, np.float32), np.empty(docs, np.float64)
    chances = np.empty(len(model.prior), np.float64)
    num, size = 0, 0
    for row in range(num_rows):
        if todo[row]:
            which[num], starts[num] = row, size
            size += _walk_apart(model, data, offsets[row], offsets[row + 1], visits, size)
            num += 1
            starts[num] = size
        if num == docs or size >= TILE_BYTES or row == num_rows - 1:
            at = 0
            for doc in range(num):
                begins[doc] = at
                distinct = _count(model, visits, starts[doc], starts[doc + 1], counts, touched)
                at = _sort(model, counts, touched, distinct, found, at, more, sizes, doc)
            _add_all(model, num, begins, sizes, found, more, sums, factors)
            for doc in range(num):
                mine = which[doc]
                num_bytes = offsets[mine + 1] - offsets[mine]
                classes[mine], scores[mine] = _decide(model, sums, doc * WIDTH, factors[doc], num_bytes, chances)
            num, size = 0, 0
