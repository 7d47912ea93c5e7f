"""A cache of pieces of text with their tokens: of fixed size, exact, and lossy.

Text repeats its words, so most pieces were merged before. A piece of up to 15 bytes, and one of up to 39, each has two places where it may
stand; a new one takes the first, what stood there moves to the second. A place holds the piece itself, so that no two are mistaken for each
other, and its tokens, or where in a heap they are. When the heap is full all is forgotten. What is in the cache changes the time alone.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.lines import load64
from operators.kernels.splitting import inlined

Words = npt.NDArray[np.uint64]

SHORT: Final = 15
"""Longest piece whose bytes, with its size, fill two words."""
LONG: Final = 39
"""Longest piece whose bytes, with its size, fill five words."""
SHORT_WORDS: Final = 4
LONG_WORDS: Final = 8
SHORT_TOKENS: Final = 3
LONG_TOKENS: Final = 5
LINE_WORDS: Final = 8
MIN_BYTES: Final = 1 << 12
"""Smallest cache: a few places of each kind."""

_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW: Final = np.uint64(0xFFFF_FFFF)
_HALF: Final = np.uint64(32)
_ONE: Final = np.uint64(1)
_SPREADS: Final = tuple(
    map(np.uint64, (0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5))
)
_S0, _S1, _S2, _S3, _S4 = _SPREADS


class Cache(NamedTuple):
    """The places, of one thread.

    Attributes:
        short: uint64, four a place: two of the piece, then number and tokens.
        long: uint64, eight a place: five of the piece, then number and tokens.
        heap: int32: tokens of pieces that have more than their place holds.
        used: int64, of one: places of the heap that are taken.
        short_shift: 64 less the binary logarithm of half the number of short places.
        long_shift: The same of long ones.
    """

    short: Words
    long: Words
    heap: npt.NDArray[np.int32]
    used: npt.NDArray[np.int64]
    short_shift: np.uint64
    long_shift: np.uint64


def cache_of(num_bytes: int) -> Cache:
    """An empty cache of at most so many bytes, at least MIN_BYTES: half of it for short pieces, a quarter for long ones, the rest heap."""
    size = 1 << (max(num_bytes, MIN_BYTES).bit_length() - 1)  # the power of two below
    short, long = size // 2, size // 4
    return Cache(
        _on_lines(short // 8),
        _on_lines(long // 8),
        np.zeros(size // 16, np.int32),
        np.zeros(1, np.int64),
        np.uint64(65 - (short // (8 * SHORT_WORDS)).bit_length() + 1),
        np.uint64(65 - (long // (8 * LONG_WORDS)).bit_length() + 1),
    )


def _on_lines(num_words: int) -> Words:
    """Zeros that begin where a line of the processor's cache does: the two places of a short piece are on one, each of a long one too."""
    room = np.zeros(num_words + LINE_WORDS, np.uint64)
    first = -(room.ctypes.data // room.itemsize) % LINE_WORDS
    return room[first : first + num_words]


@lean_kernel
def _word(data: Any, at: Any, size: Any) -> Any:
    """The first `size` bytes from a place on, at most eight, as one number; zero for none. Reads nothing beyond the data."""
    if size <= 0:
        return np.uint64(0)
    if at + 8 <= len(data):
        word = load64(data, at)
        return word if size >= 8 else word & ((_ONE << np.uint64(8 * size)) - _ONE)
    found = np.uint64(0)
    for place in range(min(size, 8)):
        found |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return found


@inlined
def short_key(data: Any, at: Any, size: Any) -> Any:
    """A piece of 1 to SHORT bytes as two words; its size stands in the last byte."""
    if at + 16 > len(data):
        return _word(data, at, size), _word(data, at + 8, size - 8) | (np.uint64(size) << np.uint64(56))
    low, high = load64(data, at), np.uint64(0)
    if size < 8:
        low &= (_ONE << np.uint64(8 * size)) - _ONE
    else:
        high = load64(data, at + 8) & ((_ONE << np.uint64(8 * size - 64)) - _ONE)
    return low, high | (np.uint64(size) << np.uint64(56))


@inlined
def find_short(cache: Any, low: Any, high: Any, out: Any, end: Any) -> Any:
    """Write the tokens of a short piece to `out`, which has room for three; returns how many they are, 0 if it is not there."""
    short = cache.short
    at = np.int64((((low * _S0) ^ (high * _S1)) * _S2) >> cache.short_shift) * (2 * SHORT_WORDS)
    if short[at] != low or short[at + 1] != high:
        at += SHORT_WORDS
        if short[at] != low or short[at + 1] != high:
            return np.int64(0)
    first, second = short[at + 2], short[at + 3]
    number = np.int64(first & _LOW)
    if number <= SHORT_TOKENS:
        out[end] = first >> _HALF
        out[end + 1] = second & _LOW
        out[end + 2] = second >> _HALF
    else:
        start = np.int64(second)
        for place in range(number):
            out[end + place] = cache.heap[start + place]
    return number


@lean_kernel
def keep_short(cache: Any, data: Any, at: Any, size: Any, out: Any, end: Any, number: Any) -> None:
    """Put a short piece there; its tokens are the `number` in `out` from `end` on."""
    short = cache.short
    low, high = short_key(data, at, size)
    at = np.int64((((low * _S0) ^ (high * _S1)) * _S2) >> cache.short_shift) * (2 * SHORT_WORDS)
    second = np.uint64(0)
    if number > SHORT_TOKENS:
        second = np.uint64(_put(cache, out, end, number))
    else:
        if number > 1:
            second = np.uint64(np.uint32(out[end + 1]))
        if number > 2:
            second |= np.uint64(np.uint32(out[end + 2])) << _HALF
    for place in range(SHORT_WORDS):
        short[at + SHORT_WORDS + place] = short[at + place]
    short[at], short[at + 1] = low, high
    short[at + 2] = np.uint64(number) | (np.uint64(np.uint32(out[end])) << _HALF)
    short[at + 3] = second


@lean_kernel
def _put(cache: Any, out: Any, end: Any, number: Any) -> Any:
    """Copy tokens to the heap; returns where they are. If there is no room all that was kept is forgotten."""
    if cache.used[0] + number > len(cache.heap):
        for place in range(len(cache.short)):
            cache.short[place] = 0
        for place in range(len(cache.long)):
            cache.long[place] = 0
        cache.used[0] = 0
    start = cache.used[0]
    for place in range(number):
        cache.heap[start + place] = out[end + place]
    cache.used[0] = start + number
    return start


@lean_kernel
def long_place(cache: Any, data: Any, at: Any, size: Any) -> Any:
    """The first of the two places where a piece of SHORT + 1 to LONG bytes may stand."""
    mixed = (_word(data, at, 8) * _S0) ^ (_word(data, at + 8, 8) * _S1) ^ (_word(data, at + 16, size - 16) * _S2)
    mixed ^= (_word(data, at + 24, size - 24) * _S3) ^ ((_word(data, at + 32, size - 32) + np.uint64(size)) * _S4)
    return np.int64((mixed * _S0) >> cache.long_shift) * (2 * LONG_WORDS)


@lean_kernel
def _is_long(long: Any, place: Any, data: Any, at: Any, size: Any) -> Any:
    if long[place] != _word(data, at, 8) or long[place + 1] != _word(data, at + 8, 8):
        return False
    if long[place + 2] != _word(data, at + 16, size - 16) or long[place + 3] != _word(data, at + 24, size - 24):
        return False
    return long[place + 4] == _word(data, at + 32, size - 32) | (np.uint64(size) << np.uint64(56))


@lean_kernel
def find_long(cache: Any, place: Any, data: Any, at: Any, size: Any, out: Any, end: Any) -> Any:
    """Write the tokens of a long piece to `out`, which has room for five; returns how many they are, 0 if it is not there."""
    long = cache.long
    if not _is_long(long, place, data, at, size):
        place += LONG_WORDS
        if not _is_long(long, place, data, at, size):
            return np.int64(0)
    number = np.int64(long[place + 5] & _LOW)
    if number <= LONG_TOKENS:
        out[end] = long[place + 5] >> _HALF
        out[end + 1] = long[place + 6] & _LOW
        out[end + 2] = long[place + 6] >> _HALF
        out[end + 3] = long[place + 7] & _LOW
        out[end + 4] = long[place + 7] >> _HALF
    else:
        start = np.int64(long[place + 6])
        for token in range(number):
            out[end + token] = cache.heap[start + token]
    return number


@lean_kernel
def keep_long(cache: Any, place: Any, data: Any, at: Any, size: Any, out: Any, end: Any, number: Any) -> None:
    """Put a long piece there; its tokens are the `number` in `out` from `end` on."""
    long = cache.long
    start = np.int64(0)
    if number > LONG_TOKENS:
        start = _put(cache, out, end, number)
    for word in range(LONG_WORDS):
        long[place + LONG_WORDS + word] = long[place + word]
    long[place], long[place + 1] = _word(data, at, 8), _word(data, at + 8, 8)
    long[place + 2], long[place + 3] = _word(data, at + 16, size - 16), _word(data, at + 24, size - 24)
    long[place + 4] = _word(data, at + 32, size - 32) | (np.uint64(size) << np.uint64(56))
    long[place + 5] = np.uint64(number) | (np.uint64(np.uint32(out[end])) << _HALF)
    long[place + 6], long[place + 7] = np.uint64(start), np.uint64(0)
    if number <= LONG_TOKENS:
        long[place + 6] = _token(out, end, 1, number) | (_token(out, end, 2, number) << _HALF)
        long[place + 7] = _token(out, end, 3, number) | (_token(out, end, 4, number) << _HALF)


@lean_kernel
def _token(out: Any, end: Any, number: Any, count: Any) -> Any:
    return np.uint64(np.uint32(out[end + number])) if number < count else np.uint64(0)
