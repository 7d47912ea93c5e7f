"""Texts to normalized words, a tile at a time: enough for most documents, small enough for the processor's nearest cache.

A tile is the words' UTF-8 in a scratch array and where each begins and ends there; what lies between words means nothing. Of a word that
does not end in its tile the tile has what there is, and the next one goes on. ASCII is read 64 bytes at a time, whole words only; the rest
character by character, with the tables of `word_folding`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.ascii_blocks import BLOCK_BYTES, above_highest_bit, fold_block, lowest_bit
from operators.kernels.lean import lean_kernel
from operators.kernels.lines import load64, store64
from operators.kernels.unicode import decode, encode
from operators.kernels.word_folding import (
    ALONE,
    ALONE_OTHER,
    DIGIT,
    DROPPED,
    FIRST_SYLLABLE,
    FRACTION,
    HANGUL,
    KIND_MASK,
    KIND_SHIFT,
    MARK,
    PAYLOAD,
    SAME,
    SEPARATOR,
    SEVERAL,
    Normalization,
)

TILE_BYTES: Final = 8192
"""A tile is full when so many bytes are written: the words of a text of 8 kB, and what lies between them."""
SLACK: Final = 512
MAX_RUN: Final = 30
"""Marks that are ordered among each other; the stream-safe format of UAX #15 has no longer runs."""

# Places in the state.
AT: Final = 0  # next byte of the text
SIZE: Final = 1  # bytes in the tile
COUNT: Final = 2  # words in the tile, the open one not
OPEN: Final = 3  # where the open word begins, -1 if there is none
NUM_STATES: Final = 4

_ZERO: Final = 48
_ALL, _ONE = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(1)
_HIGHS = np.uint64(0x8080808080808080)


class Rules(NamedTuple):
    """What a normalization does with ASCII, and whether characters may stand alone.

    Attributes:
        letter_bits: Bits that are set in letters.
        digit_bits: Bits that are cleared in digits; if any, digits are numbers.
        alnum: All bits if words are letters and digits, none if they are all but white space.
        underscore: All bits if the underscore is part of words.
        alone: Whether characters of some scripts are words by themselves.
    """

    letter_bits: np.uint8
    digit_bits: np.uint8
    alnum: np.uint64
    underscore: np.uint64
    alone: bool


class Tile(NamedTuple):
    """Scratch for one thread.

    Attributes:
        text: uint8: words.
        begins: int32: where each word begins in `text`.
        ends: int32: where it ends.
        state: int64, by `AT`, `SIZE`, `COUNT`, `OPEN`.
        classes: int64: combining classes of the marks just written.
        places: int64: where those begin in `text`.
        tail: uint8: the last bytes of all, padded to a block.
    """

    text: npt.NDArray[np.uint8]
    begins: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    state: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    tail: npt.NDArray[np.uint8]


def rules(normalization: Normalization, *, alone: bool) -> Rules:
    """The rules of a normalization."""
    every, none = np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64(0)
    return Rules(
        letter_bits=np.uint8(0 if normalization == "none" else 0x20),
        digit_bits=np.uint8(0x0F if normalization == "datatrove" else 0),
        alnum=none if normalization == "none" else every,
        underscore=every if normalization in ("words", "folded") else none,
        alone=alone,
    )


def tile() -> Tile:
    """Scratch for one thread."""
    room = TILE_BYTES + SLACK
    return Tile(
        text=np.zeros(room, np.uint8),
        begins=np.zeros(room, np.int32),
        ends=np.zeros(room, np.int32),
        state=np.zeros(NUM_STATES, np.int64),
        classes=np.zeros(MAX_RUN, np.int64),
        places=np.zeros(MAX_RUN + 1, np.int64),
        tail=np.zeros(BLOCK_BYTES, np.uint8),
    )


@lean_kernel
def _whole_words(word: Any, mark: Any, digit: Any, limit: Any) -> Any:
    """How many of the first `limit` bytes of a block are whole words, numbers and what separates them; 0 if the first is longer."""
    valid = _ALL if limit >= BLOCK_BYTES else (_ONE << np.uint64(limit)) - _ONE
    # A full stop or comma behind a digit may be part of a number.
    return above_highest_bit(~word & ~(mark & (digit << _ONE)) & valid)


@lean_kernel
def _number_words(letter: Any, digit: Any, mark: Any) -> Any:
    """Words of a block in which each number is one character, its first or last digit, and where something speaks against that.

    A number is digits with at most one fraction. Written as one digit, letters before or behind it touch it; where there are some on both
    sides of a longer one, or a second fraction follows, it cannot be told by bits.
    """
    join = (digit << _ONE) & mark & (digit >> _ONE)
    second = join << _ONE
    twice = (digit + second) & ~digit & join
    number = digit | join
    first, last = number & ~(number << _ONE), number & ~(number >> _ONE)
    behind_letter = first & (letter << _ONE)
    their_ends = ((number + behind_letter) & ~number) >> _ONE
    between = their_ends & last & ~first & (letter >> _ONE)
    return letter | behind_letter | (last & ~their_ends), twice | between


@lean_kernel
def _ascii_words(data: Any, at: Any, stop: Any, rules: Any, tile: Any) -> Any:
    """Add whole words of ASCII from a place where none is open, as long as there are some and room; returns the place behind them."""
    text, begins, ends = tile.text, tile.begins, tile.ends
    size, count = tile.state[SIZE], tile.state[COUNT]
    while at < stop and size <= TILE_BYTES:
        left = stop - at
        if left >= BLOCK_BYTES or at + BLOCK_BYTES <= len(data):
            masks = fold_block(data, at, text, size, rules.letter_bits, rules.digit_bits)
        else:
            for i in range(left):
                tile.tail[i] = data[at + i]
            masks = fold_block(tile.tail, np.int64(0), text, size, rules.letter_bits, rules.digit_bits)
        letter, digit, underscore, space, mark, other = masks
        word = ((letter | digit | (underscore & rules.underscore)) & rules.alnum) | ~(space | rules.alnum)
        if rules.digit_bits == 0:
            mark = np.uint64(0)
        limit = min(lowest_bit(other), left)
        taken = left if left < BLOCK_BYTES and limit == left else _whole_words(word, mark, digit, limit)
        if taken == 0:
            break
        valid = _ALL >> np.uint64(BLOCK_BYTES - taken)
        if rules.digit_bits != 0 and digit & valid:
            word, against = _number_words(letter & valid, digit & valid, mark & valid)
            if against:
                taken = _whole_words(letter | digit, mark, digit, lowest_bit(against))
                if taken == 0:
                    break
                valid = _ALL >> np.uint64(BLOCK_BYTES - taken)
                word, against = _number_words(letter & valid, digit & valid, mark & valid)
        word &= valid
        edges = word ^ (word << _ONE)
        while edges:
            begins[count] = size + lowest_bit(edges)
            edges &= edges - _ONE
            ends[count] = size + lowest_bit(edges)
            edges &= edges - _ONE
            count += 1
        size += taken
        at += taken
    tile.state[SIZE], tile.state[COUNT] = size, count
    return at


@lean_kernel
def _behind_digits(data: Any, at: Any, stop: Any, folding: Any) -> Any:
    """The place behind a run of digits."""
    while at < stop:
        code, size = decode(data, at, stop)
        action = folding.actions[(np.int64(folding.pages[code >> 8]) << 8) | (code & 255)]
        if (action >> KIND_SHIFT) & KIND_MASK != DIGIT:
            break
        at += size
    return at


@lean_kernel
def _behind_number(data: Any, at: Any, stop: Any, folding: Any) -> Any:
    """The place behind a number: digits, and a fraction if there is one."""
    at = _behind_digits(data, at, stop, folding)
    if at < stop:
        code, size = decode(data, at, stop)
        action = folding.actions[(np.int64(folding.pages[code >> 8]) << 8) | (code & 255)]
        if action & FRACTION:
            end = _behind_digits(data, at + size, stop, folding)
            return end if end > at + size else at
    return at


@lean_kernel
def _add_mark(text: Any, size: Any, run: Any, combining: Any, code: Any, classes: Any, places: Any) -> Any:
    """Write a mark behind those of the run whose class is not higher, and the others again behind it; returns the size."""
    start = run
    while start > 0 and classes[start - 1] > combining:
        start -= 1
    written = np.int64(encode(code, text, size))
    if start < run:
        begin = places[start]
        # Marks are of three or four bytes, and there are at most 30.
        for _ in range(written):
            last = text[size + written - 1]
            for i in range(size + written - 1, begin, -1):
                text[i] = text[i - 1]
            text[begin] = last
    for i in range(run, start, -1):
        classes[i] = classes[i - 1]
        places[i] = places[i - 1] + written
    classes[start] = combining
    if start == run:
        places[start] = size
    return size + written


@lean_kernel
def _copied(data: Any, at: Any, width: Any, text: Any, size: Any) -> Any:
    """Copy a character, and what lies behind it where that is shorter than to look; returns its width."""
    if at + 8 <= len(data):
        store64(text, size, load64(data, at))
    else:
        for i in range(width):
            text[size + i] = data[at + i]
    return width


@lean_kernel
def _any_words(data: Any, at: Any, stop: Any, folding: Any, rules: Any, tile: Any) -> Any:
    """Add words character by character, until the tile is full, the text ends, or no word is open and ASCII follows; returns the place."""
    text, begins, ends, longer = tile.text, tile.begins, tile.ends, folding.longer
    size, count, begin = tile.state[SIZE], tile.state[COUNT], tile.state[OPEN]
    piece, last_piece, run = np.int64(0), np.int64(0), np.int64(0)
    code, width = np.int64(0), np.int64(0)
    last_part = DIGIT if rules.alone else ALONE_OTHER
    while True:
        if piece < last_piece:
            action = np.int64(longer[piece])
            piece += 1
        else:
            if at >= stop or (size > TILE_BYTES and (run == 0 or run == MAX_RUN)):
                break
            code, width = decode(data, at, stop)
            code, width = np.int64(code), np.int64(width)
            action = np.int64(folding.actions[(np.int64(folding.pages[code >> 8]) << 8) | (code & 255)])
            kind = (action >> KIND_SHIFT) & KIND_MASK
            at = _behind_number(data, at, stop, folding) if kind == DIGIT else at + width
        kind = (action >> KIND_SHIFT) & KIND_MASK
        payload = action & PAYLOAD
        if kind <= last_part:
            if begin < 0:
                begin = size
            if kind == SAME or kind == ALONE:  # noqa: SIM109  a set is slower
                size += _copied(data, at - width, width, text, size)
            else:
                size += np.int64(encode(_ZERO if kind == DIGIT else payload, text, size))
            run = 0
        elif kind == SEPARATOR:
            if begin >= 0:
                begins[count], ends[count] = begin, size
                count += 1
                begin = -1
            run = 0
            if piece == last_piece and at + 8 <= len(data) and load64(data, at) & _HIGHS == 0:
                break
        elif kind <= ALONE_OTHER:
            if begin >= 0:
                begins[count], ends[count] = begin, size
                count += 1
                begin = -1
            begins[count] = size
            if kind == ALONE:
                size += _copied(data, at - width, width, text, size)
            else:
                size += np.int64(encode(payload, text, size))
            ends[count] = size
            count += 1
            run = 0
        elif kind == HANGUL:
            if begin < 0:
                begin = size
            index = code - FIRST_SYLLABLE
            size += np.int64(encode(0x1100 + index // 588, text, size))
            size += np.int64(encode(0x1161 + index % 588 // 28, text, size))
            if index % 28:
                size += np.int64(encode(0x11A7 + index % 28, text, size))
            run = 0
        elif kind == MARK:
            if begin < 0:
                begin = size
                run = 0
            if run == MAX_RUN:
                run = 0
            size = _add_mark(text, size, run, np.int64(longer[payload]), np.int64(longer[payload + 1]), tile.classes, tile.places)
            run = run + 1
        elif kind == SEVERAL:
            piece, last_piece = payload + 1, payload + 1 + np.int64(longer[payload])
        elif kind != DROPPED:
            run = 0
    tile.state[SIZE], tile.state[COUNT], tile.state[OPEN] = size, count, begin
    return at


@lean_kernel
def fill_tile(data: Any, stop: Any, folding: Any, rules: Any, tile: Any) -> Any:
    """Add the words from `AT` on, until the tile is full or the text ends; a word that the end of the text ends is closed."""
    state = tile.state
    at = state[AT]
    while at < stop and state[SIZE] <= TILE_BYTES:
        if state[OPEN] < 0:
            at = _ascii_words(data, at, stop, rules, tile)
            if at >= stop or state[SIZE] > TILE_BYTES:
                break
        at = _any_words(data, at, stop, folding, rules, tile)
    if at >= stop and state[OPEN] >= 0:
        tile.begins[state[COUNT]], tile.ends[state[COUNT]] = state[OPEN], state[SIZE]
        state[COUNT] += 1
        state[OPEN] = -1
    state[AT] = at
