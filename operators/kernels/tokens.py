"""Texts to token ids in one pass over Arrow's buffers: added tokens cut out, the rest split into pieces, each looked up or merged.

Owns the order of the steps, which is that of the `tokenizers` library. The ids of a text depend on it and the tables alone.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.added_tokens import NO_TOKEN, AddedTokens, next_added
from operators.kernels.bpe import SHORT_BYTES, Merges, merge_long, merge_short
from operators.kernels.bpe_cache import LONG, SHORT, find_long, find_short, keep_long, keep_short, long_place, short_key
from operators.kernels.lean import lean_kernel
from operators.kernels.splitting import inlined, match
from operators.kernels.unicode import NUM_CODES, decode
from operators.kernels.vocabulary import NO_ID, Vocabulary, id_of

MAX_SPLITS: Final = 8
SLACK: Final = 8
"""Places behind the ids that are written to and mean nothing: a cache writes all that one of its places holds."""


class Splits(NamedTuple):
    """The steps of a pre-tokenizer, each inside the pieces of the one before.

    Attributes:
        steps: Automata's steps, one after the other.
        classes: uint8: their classes of code points, likewise.
        first_steps: int64, by step: where its automaton begins in `steps`.
        keeps_gaps: Whether what a step's pattern does not match is a piece too.
    """

    steps: npt.NDArray[np.int32]
    classes: npt.NDArray[np.uint8]
    first_steps: npt.NDArray[np.int64]
    keeps_gaps: npt.NDArray[np.bool_]


class Model(NamedTuple):
    """A tokenizer.

    Attributes:
        raw_added: Added tokens that are looked for first.
        added: Those that are looked for in what is left.
        splits: How the rest is split into pieces.
        whole: Tokens that a piece may be as it is.
        merges: How other pieces are merged.
        prefix: int32: ids before those of each text.
        suffix: int32: ids behind them.
    """

    raw_added: AddedTokens
    added: AddedTokens
    splits: Splits
    whole: Vocabulary
    merges: Merges
    prefix: npt.NDArray[np.int32]
    suffix: npt.NDArray[np.int32]


@lean_kernel
def encode(offsets: Any, data: Any, taken: Any, model: Any, cache: Any, scratch: Any, limits: Any, out: Any, ends: Any) -> Any:
    """Ids of texts, one after the other in `out`, and where those of each text end. Returns the number of all.

    Args:
        offsets: int64 offsets of the texts in `data`.
        data: Their bytes, well-formed UTF-8.
        taken: uint8: 0 for a text that gets no ids at all.
        model: The tokenizer.
        cache: Pieces with their ids; changed.
        scratch: Room for the longest text; changed.
        limits: int64, of MAX_SPLITS; changed.
        out: int32, with room for an id a byte, the prefix and suffix of each text, and `SLACK`.
        ends: int64, one a text.
    """
    end = np.int64(0)
    for row in range(len(offsets) - 1):
        if taken[row] != 0:
            for place in range(len(model.prefix)):
                out[end] = model.prefix[place]
                end += 1
            end = _text(data, offsets[row], offsets[row + 1], model, cache, scratch, limits, out, end)
            for place in range(len(model.suffix)):
                out[end] = model.suffix[place]
                end += 1
        ends[row] = end
    return end


@lean_kernel
def _text(data: Any, at: Any, stop: Any, model: Any, cache: Any, scratch: Any, limits: Any, out: Any, end: Any) -> Any:
    """Write the ids of one text; returns where they end."""
    while True:
        raw_begin, raw_end, raw_token = next_added(model.raw_added, data, at, stop)
        while True:
            begin, behind, token = next_added(model.added, data, at, raw_begin)
            if len(model.splits.first_steps) == 1:
                end = _split(data, at, begin, model, cache, scratch, out, end)
            else:
                end = _split_deep(data, at, begin, model, cache, scratch, limits, out, end)
            if token == NO_TOKEN:
                break
            out[end] = token
            end += 1
            at = behind
        if raw_token == NO_TOKEN:
            return end
        out[end] = raw_token
        end += 1
        at = raw_end


@lean_kernel
def _split(data: Any, at: Any, stop: Any, model: Any, cache: Any, scratch: Any, out: Any, end: Any) -> Any:
    """Write the ids of a stretch of text that is split once; returns where they end."""
    splits = model.splits
    keeps_gaps = splits.keeps_gaps[0]
    while at < stop:
        behind = match(splits.steps, np.int64(0), splits.classes, np.int64(0), data, at, stop)
        if behind < 0:
            behind = _gap(splits, 0, data, at, stop)
            if not keeps_gaps:
                at = behind
                continue
        end = _piece(data, at, behind, model, cache, scratch, out, end)
        at = behind
    return end


@lean_kernel
def _split_deep(data: Any, at: Any, stop: Any, model: Any, cache: Any, scratch: Any, limits: Any, out: Any, end: Any) -> Any:
    """Write the ids of a stretch of text that is split in no step or in several; returns where they end."""
    splits = model.splits
    last = len(splits.first_steps) - 1
    if last < 0:
        return _piece(data, at, stop, model, cache, scratch, out, end) if at < stop else end
    level = 0
    limits[0] = stop
    while True:
        if at == limits[level]:
            if level == 0:
                return end
            level -= 1
            continue
        behind = _match(splits, level, data, at, limits[level])
        if behind < 0:
            behind = _gap(splits, level, data, at, limits[level])
            if not splits.keeps_gaps[level]:
                at = behind
                continue
        if level < last:
            level += 1
            limits[level] = behind
        else:
            end = _piece(data, at, behind, model, cache, scratch, out, end)
            at = behind


@lean_kernel
def _match(splits: Any, level: Any, data: Any, at: Any, stop: Any) -> Any:
    first = splits.first_steps[level]
    return match(splits.steps, first, splits.classes, np.int64(level) * NUM_CODES, data, at, stop)


@lean_kernel
def _gap(splits: Any, level: Any, data: Any, at: Any, stop: Any) -> Any:
    """Where the next match of a step begins, or the end."""
    while at < stop:
        _, size = decode(data, at, stop)
        at += size
        if at < stop and _match(splits, level, data, at, stop) >= 0:
            break
    return at


@inlined
def _piece(data: Any, at: Any, stop: Any, model: Any, cache: Any, scratch: Any, out: Any, end: Any) -> Any:
    """Write the ids of one piece; returns where they end. Only what most pieces need is here, to be compiled into the loop."""
    number = np.int64(0)
    if stop - at <= SHORT:
        low, high = short_key(data, at, stop - at)
        number = find_short(cache, low, high, out, end)
    if number == 0:
        number = _other_piece(data, at, stop - at, model.whole, model.merges, cache, scratch, out, end)
    return end + number


@lean_kernel
def _other_piece(data: Any, at: Any, size: Any, whole: Any, merges: Any, cache: Any, scratch: Any, out: Any, end: Any) -> Any:
    """Write the ids of a piece that is long, or short and not in the cache, where it is put; returns how many they are."""
    place = np.int64(0)
    if SHORT < size <= LONG:
        place = long_place(cache, data, at, size)
        number = find_long(cache, place, data, at, size, out, end)
        if number > 0:
            return number
    number = _merge(data, at, size, whole, merges, scratch, out, end)
    if size <= SHORT:
        keep_short(cache, data, at, size, out, end, number)
    elif size <= LONG:
        keep_long(cache, place, data, at, size, out, end, number)
    return number


@lean_kernel
def _merge(data: Any, at: Any, size: Any, whole: Any, merges: Any, scratch: Any, out: Any, end: Any) -> Any:
    """Write the ids of one piece that is not known yet; returns how many they are."""
    token = id_of(whole, data, at, size) if len(whole.ids) > 0 else np.int64(NO_ID)
    if token != NO_ID:
        out[end] = token
        return np.int64(1)
    if size <= SHORT_BYTES:
        return merge_short(merges, data, at, size, scratch, out, end)
    return merge_long(merges, data, at, size, scratch, out, end)
