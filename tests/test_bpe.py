"""Kernels of byte-level BPE: merges in the order of ranks, a cache that forgets but never mistakes, added tokens, the check of NFC."""

from __future__ import annotations

import random
import re
import unicodedata
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels import bpe, nfc
from operators.kernels.added_tokens import NO_TOKEN, PASSED, added_tokens, next_added
from operators.kernels.bpe_cache import (
    LONG,
    MIN_BYTES,
    SHORT,
    cache_of,
    find_long,
    find_short,
    keep_long,
    keep_short,
    long_place,
    short_key,
)
from operators.kernels.buffers import text_buffers
from operators.kernels.vocabulary import NO_ID, id_of, vocabulary_of

BYTE_IDS = np.arange(256, dtype=np.int32)
Pair = tuple[int, int]


def buffer(text: bytes) -> np.ndarray:
    found = np.frombuffer(text, np.uint8)
    found.flags.writeable = False
    return found


def merged(way, merges: bpe.Merges, text: bytes) -> list[int]:
    """The tokens of a piece of text that begins in the middle of its data."""
    out = np.zeros(len(text) + 8, np.int32)
    number = way(merges, buffer(b"<" + text + b">"), 1, len(text), bpe.scratch(len(text)), out, 2)
    return out[2 : 2 + number].tolist()


def by_the_book(pairs: list[Pair], text: bytes) -> list[int]:
    """The lowest rank first, the leftmost of those; of a pair that is listed twice the later rank counts."""
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    tokens = list(text)
    while True:
        there = [(ranks[pair], place) for place, pair in enumerate(pairwise(tokens)) if pair in ranks]
        if not there:
            return tokens
        rank, place = min(there)
        tokens[place : place + 2] = [256 + rank]


def table(pairs: list[Pair]) -> bpe.Merges:
    left, right = (np.array(column, np.int64) for column in (zip(*pairs, strict=True) if pairs else ((), ())))
    return bpe.merges_of(BYTE_IDS, left, right, 256 + np.arange(len(pairs)))


@st.composite
def merge_lists(draw) -> list[Pair]:
    """Pairs of bytes and of what pairs become, earlier ones or later ones."""
    letters = list(b"abc")
    count = draw(st.integers(0, 20))
    tokens = st.sampled_from(letters + [256 + rank for rank in range(count)])
    return [(draw(tokens), draw(tokens)) for _ in range(count)]


@settings(deadline=None, max_examples=300)
@given(merge_lists(), st.text("abcd", min_size=1, max_size=bpe.SHORT_BYTES).map(str.encode))
def test_both_ways_merge_by_the_book(pairs, text):
    """A short piece and a long one are merged alike: the lowest rank, then the leftmost, as long as there is a pair."""
    merges, expected = table(pairs), by_the_book(pairs, text)
    assert merged(bpe.merge_short, merges, text) == expected
    assert merged(bpe.merge_long, merges, text) == expected


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 127, 128, 129, 1023, 1024, 1025, 32 * 1024 + 1])
def test_long_pieces_of_any_size(size):
    """The tree is right at the edges of its blocks and levels: runs, and letters at random whose merges undo no others."""
    run = table([(97, 97), (256, 256), (257, 257)])
    full, rest = divmod(size, 8)
    tail = [token for bit, token in ((4, 257), (2, 256), (1, 97)) if rest & bit]
    assert merged(bpe.merge_long, run, b"a" * size) == [258] * full + tail
    text = bytes(random.Random(size).choices(b"abc", k=size))
    found = merged(bpe.merge_long, table([(97, 98), (98, 99), (256, 99)]), text)
    assert found == [{b"ab": 256, b"bc": 257, b"abc": 258}.get(word, word[0]) for word in re.findall(rb"abc|ab|bc|[abc]", text, re.DOTALL)]


def test_ranks_beyond_a_power_of_two():
    """As many merges as any vocabulary has: each is found, and no other pair."""
    draw = random.Random(5)
    pairs = list(dict.fromkeys((draw.randrange(200_000), draw.randrange(200_000)) for _ in range(150_000)))
    merges = table(pairs)
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    others = [(left + 1, right) for left, right in pairs[:3000]]
    asked = pairs[::50] + others
    found = [int(bpe.rank_of(merges, left, right)) for left, right in asked]
    assert found == [ranks.get(pair, int(bpe.NO_RANK)) for pair in asked]


# --- the cache


@pytest.mark.parametrize("size", [MIN_BYTES, 5000, 1 << 16, (1 << 20) + 1])
def test_the_cache_takes_no_more_than_it_may(size):
    """All places and the heap together; the lines of the processor's cache that they begin on apart."""
    cache = cache_of(size)
    assert size // 2 < sum(array.nbytes for array in cache[:3]) <= size
    assert all(places.ctypes.data % 64 == 0 for places in (cache.short, cache.long))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1 << 32), st.sampled_from([MIN_BYTES, 1 << 14]))
def test_the_cache_forgets_but_never_mistakes(seed, size):
    """Pieces that come and go, a few of them alike but for a byte or a zero at the end: what is found is what was put there."""
    cache, draw = cache_of(size), random.Random(seed)
    known: dict[bytes, list[int]] = {}
    num_found = 0
    for _ in range(1500):
        length = draw.choice([1, 2, 7, 8, 9, SHORT - 1, SHORT, SHORT + 1, 23, 24, 25, LONG - 1, LONG])
        piece = bytes(draw.choices(b"\0a", k=min(length, 4))) + b"\0" * max(0, length - 4)
        ids = known.setdefault(piece, [draw.randrange(1 << 20) for _ in range(draw.choice([1, 2, 3, 4, 5, 6, 30]))])
        out = np.zeros(64, np.int32)
        data = buffer(b"x" * draw.randrange(3) + piece + b"y" * draw.choice([0, 1, 40]))
        at = bytes(data).index(piece[:1]) if not bytes(data).startswith(b"x") else len(data) - len(bytes(data).lstrip(b"x"))
        found = asked(cache, data, at, len(piece), out)
        assert found in ([], ids)
        num_found += bool(found)
        if not found:
            put(cache, data, at, len(piece), ids)
            assert asked(cache, data, at, len(piece), out) == ids
    assert num_found > 100


def asked(cache, data, at: int, size: int, out) -> list[int]:
    """Ids of a piece, none if it is not in the cache."""
    if size <= SHORT:
        number = find_short(cache, *short_key(data, at, size), out, 2)
    else:
        number = find_long(cache, long_place(cache, data, at, size), data, at, size, out, 2)
    return out[2 : 2 + number].tolist()


def put(cache, data, at: int, size: int, ids: list[int]) -> None:
    out = np.array([0, *ids], np.int32)
    if size <= SHORT:
        keep_short(cache, data, at, size, out, 1, len(ids))
    else:
        keep_long(cache, long_place(cache, data, at, size), data, at, size, out, 1, len(ids))


# --- what surrounds them

few_bytes = st.lists(st.sampled_from([b"a", b"b", b"<", b">", "é".encode()]), max_size=5).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(few_bytes.filter(bool), st.sampled_from([PASSED, 7, 8, 9]), max_size=5), st.lists(few_bytes, max_size=8).map(b"".join)
)
def test_added_tokens_are_found_leftmost_longest(tokens, text):
    """As a regular expression of the tokens, longest first, finds them; one that stays text hides those inside it."""
    longest_first = sorted(tokens, key=len, reverse=True)
    pattern = re.compile(b"|".join(map(re.escape, longest_first)) or b"(?!)")
    expected = [(*match.span(), tokens[match[0]]) for match in pattern.finditer(text) if tokens[match[0]] != PASSED]
    tree, data, at, found = added_tokens(tokens), buffer(text), 0, []
    while True:
        begin, end, token = next_added(tree, data, at, len(text))
        if token == NO_TOKEN:
            assert (begin, end) == (len(text), len(text))
            break
        found.append((begin, end, token))
        at = end
    assert found == expected


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(few_bytes, st.integers(0, 1000), max_size=6), few_bytes)
def test_tokens_are_found_by_their_bytes(tokens, text):
    """Each of them and nothing else, wherever it stands in the data."""
    vocabulary = vocabulary_of(tokens)
    for piece in (*tokens, text):
        assert id_of(vocabulary, buffer(b"xx" + piece + b"y"), 2, len(piece)) == tokens.get(piece, NO_ID)


marks = st.sampled_from([*"aeé\u0301\u0327\u0345\u093c\u0915\u0958\u1100\u1161\u11a8\uac00\u0b47\u0b3e\u212b", "\U0001d15e", "\u0378"])


@settings(deadline=None, max_examples=400)
@given(st.lists(st.text(marks | st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=4))
def test_what_is_surely_nfc_is(texts):
    """A text that the check lets pass is what the library and this Python make of it; plain letters and marks in order do pass."""
    from tokenizers import normalizers

    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    unsure = np.full(len(texts), 9, np.uint8)
    nfc.find_unsure(offsets, data, nfc.classes(), unsure)
    for text, is_unsure in zip(texts, unsure.tolist(), strict=True):
        if not is_unsure:
            assert normalizers.NFC().normalize_str(text) == text == unicodedata.normalize("NFC", text)
        elif text.isascii():
            pytest.fail(f"{text!r} is NFC without a doubt")


def test_most_text_is_surely_nfc():
    """Hindi, Thai and Arabic with their vowels, Vietnamese and Korean as they are written need no look."""
    texts = ["हिन्दी में", "ภาษาไทยที่", "مَرْحَبًا", "Tiếng Việt", "한국어", "Ελληνικά", "日本語がある"]
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    unsure = np.zeros(len(texts), np.uint8)
    nfc.find_unsure(offsets, data, nfc.classes(), unsure)
    assert unsure.tolist() == [0, 0, 0, 0, 0, 0, 0]
