"""Search for many phrases at once, in text as `str.lower()` would have it, without lower-casing it.

Phrases lie in groups (a language's list is one), each a tree whose edges are bytes. The search walks down from every place at which a
phrase may begin; most end at a small table of first three bytes. The edges of all trees lie in one hash table, so that memory grows
with the phrases alone: about 40 bytes for each of their bytes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from operators.kernels.lean import lean_kernel
from operators.kernels.unicode import LOWER, NUM_CODES, TITLE, UPPER, WORD, Tables, class_of, decode, decode_last

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

MAX_PHRASE_BYTES: Final = 1024
"""Longer phrases are refused: the search takes at most this many steps from one place."""

DOTTED_I: Final = 0x130  # its lower case is two characters, "i" and U+0307
SIGMA: Final = 0x3A3  # its lower case is another at the end of a word
SMALL_SIGMA: Final = 0xCF83  # in UTF-8
FINAL_SIGMA: Final = 0xCF82
DOTTED_BYTES: Final = 0x69CC87  # "i" and U+0307 in UTF-8
HEAD_BITS: Final = 13
GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
MID_WORD: Final = "'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a"
"""Word_Break MidLetter, MidNumLet and Single_Quote, which with Mn, Me, Cf, Lm and Sk are Case_Ignorable."""


LOWERED = np.arange(256, dtype=np.uint8)
LOWERED[65:91] += 32
KINDS = np.array([2 if byte > 127 else chr(byte).isalnum() or byte == 95 for byte in range(256)], np.uint8)
"""What a byte below 0x80 is by itself: its lower case, and whether it is a `\\w`; one above has the kind 2."""


class Phrases(NamedTuple):
    r"""The trees of some groups of phrases; node 0 is no node.

    Attributes:
        bounded: uint8, by group: 1 if a phrase must be flanked by characters that are no `\w`, or by the text's ends.
        starts: int32, by `(group << 8) | byte`: the node behind a phrase's first byte.
        heads: uint8, by group and hash of three bytes: 1 if a phrase may begin with them; the third is 0 where it is not looked at.
        edges: int64, in slots: `(node << 8) | byte`, or -1.
        targets: int32, in the same slots: the node that the edge leads to.
        shift: How far a hashed edge is shifted to give its first slot.
        ends: int32, by node: number of the phrase that ends there, or -1.
        ignorable: int32, sorted: code points that the final sigma looks past; none if no phrase holds a sigma.
    """

    bounded: npt.NDArray[np.uint8]
    starts: I32
    heads: npt.NDArray[np.uint8]
    edges: I64
    targets: I32
    shift: np.uint64
    ends: I32
    ignorable: I32


@lean_kernel
def _head(group: Any, three: Any) -> Any:
    """Place in `heads` of three bytes, given as one number."""
    return (np.int64(group) << HEAD_BITS) | (((np.int64(three) * 0x9E3779B1) >> 19) & ((1 << HEAD_BITS) - 1))


@lean_kernel
def _utf8(code: Any) -> Any:
    """The bytes of a character as one number, the first one highest, and how many they are."""
    if code < 0x80:
        return code, 1
    if code < 0x800:
        return (0xC0 | (code >> 6)) << 8 | (0x80 | (code & 0x3F)), 2
    two = (0x80 | ((code >> 6) & 0x3F)) << 8 | (0x80 | (code & 0x3F))
    if code < 0x10000:
        return (0xE0 | (code >> 12)) << 16 | two, 3
    return (0xF0 | (code >> 18)) << 24 | (0x80 | ((code >> 12) & 0x3F)) << 16 | two, 4


@lean_kernel
def _is_ignorable(phrases: Any, code: Any) -> Any:
    at = np.searchsorted(phrases.ignorable, np.int32(code))
    return at < len(phrases.ignorable) and phrases.ignorable[at] == code


@lean_kernel
def _sigma(phrases: Any, data: Any, start: Any, at: Any, stop: Any, tables: Any) -> Any:
    """Lower case of the capital sigma at a place, in UTF-8: final behind a cased letter and before none, past case-ignorable characters."""
    if len(phrases.ignorable) == 0:
        return SMALL_SIGMA
    before, code = at, np.int64(0)
    while before > start:
        code, size = decode_last(data, start, before)
        if not _is_ignorable(phrases, code):
            break
        before -= size
    if before == start or class_of(tables, code) & (UPPER | LOWER | TITLE) == 0:
        return SMALL_SIGMA
    after = at + 2
    while after < stop:
        code, size = decode(data, after, stop)
        if not _is_ignorable(phrases, code):
            break
        after += size
    if after < stop and class_of(tables, code) & (UPPER | LOWER | TITLE) != 0:
        return SMALL_SIGMA
    return FINAL_SIGMA


@lean_kernel
def find_phrase(phrases: Any, group: Any, data: Any, start: Any, stop: Any, tables: Any) -> Any:
    """The number of the first phrase of a group in `data[start:stop]`, or -1.

    One loop in a loop, without calls that take arrays: numba counts references at each, which costs more than the walk.
    """
    starts, heads, ends, edges, targets = phrases.starts, phrases.heads, phrases.ends, phrases.edges, phrases.targets
    pages, classes, lowers = tables.pages, tables.classes, tables.lower
    bounded, shift, mask = phrases.bounded[group] != 0, phrases.shift, len(edges) - 1
    row, at, is_word = np.int64(group) << 8, np.int64(start), False
    while at < stop:
        if bounded and is_word:
            while at < stop and KINDS[data[at]] == 1:
                at += 1
            if at == stop:
                break
        byte = np.int64(data[at])
        begins = not (bounded and is_word)
        if byte < 0x80:
            packed, num_bytes, size = np.int64(LOWERED[byte]), 1, 1
            is_word = KINDS[byte] != 0
        else:
            code, size = decode(data, at, stop)
            place = (np.int64(pages[code >> 8]) << 8) | (code & 255)
            packed, num_bytes = _utf8(code + np.int64(lowers[place]))
            is_word = classes[place] & WORD != 0
            if code == DOTTED_I:
                packed, num_bytes, is_word = np.int64(DOTTED_BYTES >> 8), 2, False
            elif code == SIGMA and begins:
                packed = _sigma(phrases, data, start, at, stop, tables)
        here, at = at, at + size
        if not begins:
            continue
        lead = packed >> (8 * (num_bytes - 1))
        node = np.int64(starts[row | lead])
        if node == 0:
            continue
        if ends[node] < 0:
            if num_bytes == 1:
                second = data[at] if at < stop else np.uint8(0)
                third = data[at + 1] if at + 1 < stop else np.uint8(0)
                three = lead << 16 | np.int64(LOWERED[second]) << 8 | np.int64(LOWERED[third])
                if (second | third) < 0x80 and heads[_head(group, three)] == 0:  # the lower case of one above may have other bytes
                    continue
            elif heads[_head(group, packed << 8 if num_bytes == 2 else packed >> (8 * (num_bytes - 3)))] == 0:
                continue
        node = np.int64(-1)
        while here < stop:
            if data[here] < 0x80:
                packed, num_bytes, size = np.int64(LOWERED[data[here]]), 1, 1
            else:
                code, size = decode(data, here, stop)
                if code == DOTTED_I:
                    packed, num_bytes = np.int64(DOTTED_BYTES), 3
                elif code == SIGMA:
                    packed, num_bytes = _sigma(phrases, data, start, here, stop, tables), 2
                else:
                    packed, num_bytes = _utf8(code + np.int64(lowers[(np.int64(pages[code >> 8]) << 8) | (code & 255)]))
            dotted = packed == DOTTED_BYTES
            while num_bytes > 0 and node != 0:
                num_bytes -= 1
                byte = (packed >> (8 * num_bytes)) & 255
                if node == -1:
                    node = np.int64(starts[row | byte])
                else:
                    key = (node << 8) | byte
                    slot = np.int64((np.uint64(key) * GOLDEN) >> shift)
                    while edges[slot] != key and edges[slot] != -1:
                        slot = (slot + 1) & mask
                    node = np.int64(targets[slot])  # 0 in a free slot
                if dotted and num_bytes == 2 and ends[node] >= 0:
                    return np.int64(ends[node])  # before U+0307, which is no `\w`
            if node == 0:
                break
            here += size
            if ends[node] >= 0:
                if not bounded or here >= stop:
                    return np.int64(ends[node])
                if data[here] < 0x80:
                    follows_word = KINDS[data[here]] != 0
                else:
                    code, size = decode(data, here, stop)
                    follows_word = classes[(np.int64(pages[code >> 8]) << 8) | (code & 255)] & WORD != 0
                if not follows_word:
                    return np.int64(ends[node])
    return np.int64(-1)


@lean_kernel
def find_phrases(offsets: Any, data: Any, groups: Any, phrases: Any, tables: Any, found: Any) -> None:
    """For each text the number of the first phrase of its group in it, or -1; so it is where the group is below zero."""
    for row in range(len(offsets) - 1):
        found[row] = -1
        if groups[row] >= 0:
            found[row] = find_phrase(phrases, np.int64(groups[row]), data, offsets[row], offsets[row + 1], tables)


def first_phrases(offsets: I64, data: npt.NDArray[np.uint8], groups: I32, phrases: Phrases, tables: Tables) -> I32:
    r"""The number of the first phrase in each text, or -1.

    Equal to a search by `re` for the group's phrases in `text.lower()`, in a bounded group for `(?:\W|^)(a|b|...)(?:\W|$)`; of the
    phrases that begin at the first place it is the shortest. (One that begins with U+0307 is not found in the lower case of U+0130.)

    Args:
        offsets: Bounds of the texts in `data`.
        data: Bytes of the texts, of any kind; where they are no UTF-8 they match nothing.
        groups: Group of each text, below zero for none.
        phrases: What is looked for.
        tables: The tables of `operators.kernels.unicode`.
    """
    found = np.empty(len(offsets) - 1, np.int32)
    find_phrases(offsets, data, groups, phrases, tables, found)
    return found


def phrases_of(groups: Sequence[tuple[Sequence[str], bool]]) -> Phrases:
    """The trees of some groups of phrases, each with whether it is bounded; phrases are numbered in the order given, over all groups.

    Raises:
        ValueError: A phrase is empty or longer than 1024 bytes.
    """
    edges: dict[int, int] = {}
    ends = [-1]
    starts = np.zeros(max(1, len(groups)) << 8, np.int32)
    heads = np.zeros(max(1, len(groups)) << HEAD_BITS, np.uint8)
    number = 0
    for group, (texts, _) in enumerate(groups):
        for text in texts:
            _add(_checked(text), number, group, edges, ends, starts, heads)
            number += 1
    has_sigma = any("\u03c2" in text or "\u03c3" in text for texts, _ in groups for text in texts)
    shift, keys, targets = _edge_table(edges)
    bounded = np.array([bounded for _, bounded in groups] or [False], np.uint8)
    ignorable = np.array(_case_ignorable() if has_sigma else [], np.int32)
    return Phrases(bounded, starts, heads, keys, targets, shift, np.array(ends, np.int32), ignorable)


def _checked(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    if not 0 < len(data) <= MAX_PHRASE_BYTES:
        raise ValueError(f"phrase {text[:40]!r} has {len(data)} bytes; expected 1 to {MAX_PHRASE_BYTES}; remove it from its list")
    return data


def _add(data: bytes, number: int, group: int, edges: dict[int, int], ends: list[int], starts: I32, heads: npt.NDArray[np.uint8]) -> None:
    """Put a phrase into its group's tree; of equal ones the first stays."""
    row = group << 8 | data[0]
    node = int(starts[row])
    if node == 0:
        node = starts[row] = len(ends)
        ends.append(-1)
    if len(data) > 1:
        pair = (data[0] << 8 | data[1]) << 8
        heads[[_head_of(group, pair), *(_head_of(group, pair | third) for third in (data[2:3] or range(256)))]] = 1
    for byte in data[1:]:
        key = node << 8 | byte
        if key not in edges:
            edges[key] = len(ends)
            ends.append(-1)
        node = edges[key]
    if ends[node] < 0:
        ends[node] = number


def _head_of(group: int, three: int) -> int:
    """`_head` outside of kernels, which a call from Python would compile for one more type."""
    place: int = _head.py_func(group, three)  # type: ignore[attr-defined]
    return place


def _edge_table(edges: dict[int, int]) -> tuple[np.uint64, I64, I32]:
    """The edges in an open hash table that is at most half full."""
    bits = max(4, (2 * len(edges)).bit_length())
    keys, targets = np.full(1 << bits, -1, np.int64), np.zeros(1 << bits, np.int32)
    golden, mask = int(GOLDEN), (1 << bits) - 1
    for key, target in edges.items():
        at = (key * golden & (1 << 64) - 1) >> (64 - bits)
        while keys[at] != -1:
            at = (at + 1) & mask
        keys[at], targets[at] = key, target
    return np.uint64(64 - bits), keys, targets


@cache
def _case_ignorable() -> list[int]:
    """Code points with the property Case_Ignorable, sorted."""
    kinds = ("Mn", "Me", "Cf", "Lm", "Sk")
    return [code for code in range(NUM_CODES) if unicodedata.category(chr(code)) in kinds or chr(code) in MID_WORD]
