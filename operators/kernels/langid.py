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
from operators.kernels.vectors import LINE, TOGETHER, add_lines, add_tens, two_bytes

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
FEW: Final = 16.0
NEGLIGIBLE: Final = -30.0
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
        weights: uint16, flat, by piece, row and class: weight above the class's least in units of 1/512; the last row is zero.
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
    least: npt.NDArray[np.float64]
    prior: npt.NDArray[np.float64]
    fold: npt.NDArray[np.int32]
    logs: npt.NDArray[np.float32]
    start: npt.NDArray[np.int64]


def num_grams(model: Model) -> int:
    """How many n-grams a model has, and one for none: the length of the counts that `score` needs."""
    return len(model.weights) // WIDTH


@lean_kernel
def _entry(entries: Any, slots: Any, entry: Any, pair: Any) -> Any:
    """The entry after one more byte; `pair` is that byte, shifted, and the one before it."""
    slot = slots[pair]
    return np.uint64(entries[((entry >> BYTE_BITS) & (slot >> HALF_WORD)) + (slot & LOW)])


@lean_kernel
def _state(entries: Any, entry: Any) -> Any:
    """The number of the state that an entry leads to. It is read from the cache line that the next step most likely needs."""
    return entries[SHARED + (entry >> BYTE_BITS)] + (entry & LAST_BYTE)


@lean_kernel
def _enter(model: Any, data: Any, at: Any) -> Any:
    """The entry after a first byte."""
    return _entry(model.entries, model.slots, np.uint64(model.start[0]), np.uint64(data[at]) << BYTE_BITS)


@lean_kernel
def _walk(model: Any, data: Any, begin: Any, first: Any, stop: Any, out: Any, at: Any) -> Any:
    """Walk from `begin` to `stop`, which is behind it, and note the states from `first` on."""
    entries, slots = model.entries, model.slots
    entry = _enter(model, data, begin)
    if begin >= first:
        out[at] = _state(entries, entry)
        at += 1
    for i in range(begin, stop - 1):
        entry = _entry(entries, slots, entry, two_bytes(data, i))
        if i + 1 >= first:
            out[at] = _state(entries, entry)
            at += 1
    return at


@lean_kernel
def _walk_apart(model: Any, data: Any, start: Any, stop: Any, out: Any, begin: Any) -> Any:
    """Note the state after each byte, in any order; eight places are walked at once. Returns how many."""
    entries, slots, depth = model.entries, model.slots, model.start[1]
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
    out[begin] = _state(entries, e0)
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
            out[at], out[at + ONE] = _state(entries, e0), _state(entries, e1)
            out[at + TWO], out[at + THREE] = _state(entries, e2), _state(entries, e3)
            out[at + FOUR], out[at + FIVE] = _state(entries, e4), _state(entries, e5)
            out[at + SIX], out[at + SEVEN] = _state(entries, e6), _state(entries, e7)
            at += EIGHT
    rest = start + 1 + STREAMS * part
    if rest == stop:
        return np.int64(at) - begin
    return _walk(model, data, rest + 1 - depth, rest, stop, out, np.int64(at)) - begin


@lean_kernel
def _count(model: Any, visits: Any, begin: Any, end: Any, counts: Any, touched: Any) -> Any:
    """Count how often each n-gram was found; `touched` gets each one's row once, and perhaps that of none. Returns how many."""
    rows = model.rows
    num = np.uint64(0)
    for i in range(np.uint64(begin), np.uint64(end)):
        row = rows[visits[i]]
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
def _decide(model: Any, sums: Any, base: Any, factors: Any, num_bytes: Any, chances: Any) -> Any:
    """The first of the likeliest classes and its probability; `factors` is the sum of all rows' factors, 0 if nothing was found."""
    num, best = len(model.prior), -np.inf
    for j in range(num):
        raw = sums[base + j] / UNIT + factors * model.least[j]
        if factors < FEW:  # in short texts classes tie in the library's float32, and it takes the first
            raw = np.float64(np.float32(np.float32(raw) + np.float32(model.prior[j]))) if factors > 0 else 0.0
        else:
            raw += model.prior[j]
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
def _add_all(model: Any, num_docs: Any, begins: Any, sizes: Any, found: Any, often: Any, sums: Any) -> None:
    """The sums of all documents of a tile, piece by piece, so that a piece's rows stay in the processor's cache."""
    weights, logs = model.weights, model.logs
    num_rows = len(weights) // (PIECES * PIECE)
    for i in range(num_docs * WIDTH):
        sums[i] = 0
    for piece in range(PIECES):
        base = piece * num_rows * PIECE
        for doc in range(num_docs):
            at, out = begins[doc], doc * WIDTH + piece * PIECE
            for seen in range(1, 4):
                end = at + _whole(sizes[doc * 4 + seen - 1])
                add_tens(weights, base, found, at, end, logs[seen], sums, out)
                at = end
            add_lines(weights, base, found, at, at + sizes[doc * 4 + 3], often, sums, out)


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
    often = np.empty(len(found), np.float32)
    touched = np.empty(min(longest, len(counts)) + 1, np.uint32)
    apart = np.empty(4 * len(touched), np.uint32)
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
                at, factors[doc] = _sort(model, counts, touched, distinct, found, at, often, apart, sizes, doc)
            _add_all(model, num, begins, sizes, found, often, sums)
            for doc in range(num):
                mine = which[doc]
                num_bytes = offsets[mine + 1] - offsets[mine]
                classes[mine], scores[mine] = _decide(model, sums, doc * WIDTH, factors[doc], num_bytes, chances)
            num, size = 0, 0
