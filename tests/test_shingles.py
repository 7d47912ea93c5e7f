"""Shingles: the kernels against plain Python, over any Unicode and real documents."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from functools import cache, reduce
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_samples import SHARED

from operators.kernels import word_folding
from operators.kernels.minhash import jaccard
from operators.kernels.shingles import shingle_sets
from operators.kernels.word_folding import DROPPED, DROPPED_STARTER, INVISIBLE, PUNCTUATION, folding, stands_alone
from operators.kernels.word_tiles import TILE_BYTES

DOCS = SHARED / "data" / "docs"
NEAR = SHARED / "data" / "truth" / "near_pairs.parquet"
NORMALIZATIONS = ("folded", "datatrove", "words", "none")
MASK = (1 << 64) - 1
TRIGGERS = [
    *("a", "Z", "word ", "The", "n't", "_", " ", "\n", "\t", "\x1c", "\0", "\x85", "\xa0", "\u3000", "-", "."),
    *("0", "9", "12", ".5", ",3", "1.2", "1.2.3", "x25y", "v1", "2nd", "1,", "\u0663", "\u060c", "\u066b", "\u2396", "\uff11"),
    *(
        "\xe9",
        "e\u0301",
        "\u0300",
        "\u0315",
        "\u034f",
        "\xdf",
        "\u1e9e",
        "\u0130",
        "\u03a3",
        "\u03c2",
        "\u03c3",
        "\u01c5",
        "\u212b",
        "\u212a",
    ),
    *("\u2260", "=\u0338", "\u037e", "\u1fef", "\u2329", "\u0340", "\u0344", "\u0f73", "\u0958", "\ufb2c"),
    *(
        "\u4f60",
        "\u597d",
        "\uf900",
        "\u3005",
        "\u304c",
        "\u304b\u3099",
        "\uff76",
        "\uff9e",
        "\u0e01",
        "\u0e33",
        "\u0e48",
        "\u102b",
        "\u1780",
    ),
    *("\ud55c", "\u1112\u1161\u11ab", "\uac00", "\u302e", "\U0001d165", "\U0001d16d", "\U0001d15f", "\U00016ff0", "\u1b44", "\U0001f600"),
    *("\u200b", "\u200d", "\xad", "\ufeff", "b" * 15, "c" * 16, "d" * 17, "e" * 33, "5" * 40, "f " * 20, "g h1 " * 13, "\u0434\u0430 "),
]
MARKS = re.compile("[" + "".join(chr(code) for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))) + "]+")
RICH = st.lists(st.sampled_from(TRIGGERS) | st.characters(exclude_categories=["Cs"]), max_size=60).map("".join)
TEXTS = st.text() | RICH


# --- plain Python


def words_of(text, normalization, *, alone=True):
    """The words of a text."""
    if normalization == "none":
        return text.split()
    if normalization == "words":
        return re.findall(r"\w+", text.lower().replace("\u03c2", "\u03c3"))
    text = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).lower().replace("\u03c2", "\u03c3"))
    if normalization == "datatrove":
        text = re.sub(rf"{digits()}+([.,\u060c\u066b\u2396\u2397\u2398]{digits()}+)?", "0", text)
    kept = {char for char in PUNCTUATION if char == "_" or char.isdecimal()} if normalization == "folded" else set()
    text = "".join(" " if char in PUNCTUATION - kept else char for char in text)
    text = "".join(char for char in text if unicodedata.category(char) != "Mn" and char not in INVISIBLE)
    words = {char for char in set(text) if alone and not char.isspace() and not char.isdecimal() and stands_alone(char)}
    return "".join(f" {char} " if char in words else char for char in text).split()


@cache
def digits():
    """Every character of category Nd, as a class of `re`."""
    return "[" + "".join(chr(code) for code in range(sys.maxunicode + 1) if chr(code).isdecimal()) + "]"


def units_of(text, kind, normalization):
    words = words_of(text, normalization, alone=kind == "word")
    return words if kind == "word" else list(" ".join(words))


FIRST, SECOND, LENGTH, MIX1, MIX2, STEP = (
    *(0xE220A8397B1DCDAF, 0x6E789E6AA1B965F5, 0x06C45D188009454F, 0xF88BB8A8724C81ED, 0x1B39896A51A8749B, 0x53CB9F0C747EA2EB),
)


def hash_of_unit(unit):
    """Sixteen bytes at a time; the length goes into the last step."""
    data, state = unit.encode("utf-8", "surrogatepass"), 0
    for at in range(0, len(data), 16):
        block = data[at : at + 16].ljust(16, b"\0")
        if at + 16 >= len(data):
            state += len(data) * LENGTH
        state = (state + int.from_bytes(block[:8], "little") * FIRST + int.from_bytes(block[8:], "little") * SECOND) & MASK
        state = (state ^ state >> 32) * MIX1 & MASK
        state ^= state >> 29
    return state


def hash_of_shingle(units):
    state = reduce(lambda total, unit: (total * STEP + hash_of_unit(unit)) & MASK, units, 0)
    state = (state ^ state >> 32) * MIX1 & MASK
    state = (state ^ state >> 29) * MIX2 & MASK
    return state ^ state >> 32


def shingles_of(text, kind, size, normalization):
    units = units_of(text, kind, normalization)
    return {tuple(units[at : at + size]) for at in range(max(1, len(units) - size + 1))} - {()}


def hashes_of(text, kind, size, normalization):
    return sorted(map(hash_of_shingle, shingles_of(text, kind, size, normalization)))


def large(texts):
    return pa.array(texts, pa.large_string())


def found(texts, kind="word", size=5, normalization="datatrove"):
    """What the kernel finds, as lists."""
    array = texts if isinstance(texts, pa.Array) else large(texts)
    offsets, hashes = shingle_sets(array, kind, size, normalization)
    assert offsets[0] == 0
    assert offsets[-1] == len(hashes)
    return [hashes[begin:end].tolist() for begin, end in pairwise(offsets)]


# --- against plain Python


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("kind", ["word", "char"])
@settings(deadline=None, max_examples=150)
@given(st.lists(TEXTS, max_size=4), st.integers(1, 7), st.data())
def test_any_text_has_the_hashes_of_its_shingles(kind, normalization, texts, size, data):
    """Whatever the text, and wherever it lies in a batch or slice of one, its hashes are those of its shingles in plain Python."""
    expected = [hashes_of(text, kind, size, normalization) for text in texts]
    assert found(texts, kind, size, normalization) == expected
    start = data.draw(st.integers(0, len(texts)))
    assert found(large(texts).slice(start), kind, size, normalization) == expected[start:]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@settings(deadline=None, max_examples=25)
@given(RICH, st.integers(1, 3 * TILE_BYTES), RICH)
@example("", 1, "x" * (TILE_BYTES - 2) + "\U0001d16d" * 29 + "\U0001d165 y z")
@example("", 1, "1" * 2 * TILE_BYTES + ".5 a" + "2" * 100)
@example("", 1, "a_b" * TILE_BYTES)
def test_long_texts_are_not_cut(normalization, text, num_bytes, end):
    """Words, numbers and characters that lie across the tiles in which a text is read are whole."""
    text = text * (num_bytes // max(1, len(text.encode("utf-8", "surrogatepass")))) + end
    if any(len(run) > 30 for run in MARKS.findall(text)):
        return  # ordered in stretches
    for kind in ("word", "char"):
        assert found([text], kind, 5, normalization) == [hashes_of(text, kind, 5, normalization)]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_every_character_is_what_python_says(normalization):
    """Each assigned code point, between letters and between digits."""
    codes = (code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"})
    texts = [f"a{chr(code)}b 1{chr(code)}2.3" for code in codes if not 0xAC10 <= code < 0xD790]
    joined = ["\n".join(texts[at : at + 50]) for at in range(0, len(texts), 50)]
    for at in range(0, len(joined), 500):
        some = joined[at : at + 500]
        assert found(some, "word", 1, normalization) == [hashes_of(text, "word", 1, normalization) for text in some]


@pytest.mark.parametrize("ascii_text", [True, False])
@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("aB1. ,x-_2\n"), min_size=40, max_size=300), st.integers(0, 70))
def test_ascii_is_read_in_blocks_as_character_by_character(ascii_text, text, shift):
    """Where a text begins in its buffer, and whether ASCII follows, is no matter."""
    before, behind = "y" * shift, "" if ascii_text else "\xe9" * 40
    array = large([before, text, behind]).slice(1, 1)
    for normalization in NORMALIZATIONS:
        assert found(array, "word", 2, normalization) == [hashes_of(text, "word", 2, normalization)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_any_bytes_go_through(values):
    """Ill-formed UTF-8 neither fails nor changes what others have."""
    raw = pa.array([*values, b"the words of a good text"], pa.large_binary())
    array = pa.LargeStringArray.from_buffers(len(raw), *raw.buffers()[1:])
    for normalization in NORMALIZATIONS:
        for kind in ("word", "char"):
            assert found(array, kind, 3, normalization)[-1] == found(["the words of a good text"], kind, 3, normalization)[0]


BETWEEN_PAGES = """
import random, sys
import numpy as np, pyarrow as pa
from guarded import Guarded, rubbish
from operators.kernels.minhash import signatures
from operators.kernels.shingles import shingle_sets
rng = random.Random(1)
memory = Guarded(1 << 16)
for number in range(400):
    parts = [rubbish(rng)[: rng.randrange(200)] for _ in range(rng.randrange(1, 5))]
    parts += [b"plain words, 3.14 and _more_ of them "[: rng.randrange(40)] * rng.randrange(4)]
    data = b"".join(parts)
    offsets = np.cumsum([0, *map(len, parts)])
    buffer = memory.holding(data, at_end=number % 2 == 0)
    array = pa.LargeStringArray.from_buffers(len(parts), pa.py_buffer(offsets), buffer)
    copy = pa.LargeStringArray.from_buffers(len(parts), pa.py_buffer(offsets), pa.py_buffer(data + b" and more text"))
    for kind in ("word", "char"):
        for normalization in ("datatrove", "words", "none"):
            found = [signatures(each, kind, 3, normalization, 8, 2, 4).low.tolist() for each in (array, copy)]
            assert found[0] == found[1]
            sets = [[part.tolist() for part in shingle_sets(each, kind, 3, normalization)] for each in (array, copy)]
            assert sets[0] == sets[1]
"""


def test_nothing_is_read_outside_the_texts():
    """Texts between pages that nobody may touch, well formed or not, and what lies behind them does not count."""
    done = subprocess.run([sys.executable, "-c", BETWEEN_PAGES], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]


# --- what it is for


@settings(deadline=None, max_examples=300)
@given(RICH)
def test_canonical_equivalents_have_the_same_shingles(text):
    """Composed, decomposed or a mixture."""
    forms = [text, *(unicodedata.normalize(form, text) for form in ("NFC", "NFD"))]
    for kind in ("word", "char"):
        first, *others = found(forms, kind, 3)
        assert all(other == first for other in others)


def test_every_decomposition_is_equivalent():
    """Of each character that has one, Hangul included."""
    chars = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.normalize("NFD", chr(code)) != chr(code)]
    assert len(chars) > 13_000
    texts = [f"x {char}{char}y1{char}" for char in chars]
    assert found(texts, "char", 3) == found([unicodedata.normalize("NFD", text) for text in texts], "char", 3)


def test_more_marks_than_the_stream_safe_format_has():
    """A run of 30 marks is ordered as a whole, one of any length takes no longer than its bytes do."""
    run = "\U0001d16d\U0001d165" * 15
    assert found(["a" + run], "word", 1) == found([unicodedata.normalize("NFD", "a" + run)], "word", 1)
    many = "a" + "\U0001d16d\U0001d165" * 200_000
    assert found([many, many + "b"], "word", 1)[0] != found([many], "char", 3)[0]


def test_documents_shorter_than_a_shingle_have_one_of_all_their_words():
    """None for no words, whatever else the text has."""
    sets = found(["", " .,\n", "one", "One!", "one two three four", "one two three four five", "one two three four five six"])
    assert [len(each) for each in sets] == [0, 0, 1, 1, 1, 1, 2]
    assert sets[2] == sets[3]
    assert sets[4] != sets[5]
    assert [len(each) for each in found(["abcd", "abcde", "a\nb--c d"], "char", 5)] == [1, 1, 3]


def test_repeated_shingles_count_once():
    """Sets are sorted and distinct, for many equal and for many different hashes."""
    texts = ["a b c " * 50_000, " ".join(map(str, range(3000))), " ".join(f"w{n}x" for n in range(3000)), *["q w e r t y u i o p"] * 2]
    for text, hashes in zip(texts, found(texts, "word", 3, "none"), strict=True):
        assert hashes == sorted(set(hashes))
        assert len(hashes) == len(shingles_of(text, "word", 3, "none"))


def test_characters_of_scripts_without_spaces_are_words():
    """But not where characters are the units."""
    assert found(["\u4f60\u597d\u4e16\u754c"], "word", 1) == [hashes_of("\u4f60 \u597d \u4e16 \u754c", "word", 1, "none")]
    assert found(["\u4f60\u597d\u4e16\u754c"], "word", 1, "words") == [[hash_of_shingle(["\u4f60\u597d\u4e16\u754c"])]]
    assert found(["\u4f60\u597d\u4e16\u754c \u597d"], "char", 6) == [[hash_of_shingle("\u4f60\u597d\u4e16\u754c \u597d")]]


def test_size_below_one_is_refused():
    """There is no shingle of nothing."""
    with pytest.raises(ValueError, match="shingle size: 0 found; expected at least 1"):
        shingle_sets(large(["a"]), "word", 0, "none")


def test_no_text_has_more_units_than_bytes():
    """What the room for hashes relies on: a character becomes at most as many as it has bytes, those that separate included."""
    for normalization in NORMALIZATIONS:
        for code in range(sys.maxunicode + 1):
            if unicodedata.category(chr(code)) not in {"Cn", "Cs", "Co"}:
                pieces = word_folding._PIECES_OF[normalization](chr(code))
                assert sum(kind not in {DROPPED, DROPPED_STARTER} for kind, _ in pieces) <= len(chr(code).encode())


def test_a_huge_document_goes_through():
    """Fifty megabytes in one row, of one word and of many."""
    one, many = "x" * 50_000_000, "all work and no play makes " * 2_000_000
    sets = found([one, many, "x"])
    assert [len(each) for each in sets] == [1, 6, 1]
    assert sets[0] != sets[2]


# --- against datatrove, and real documents


def test_punctuation_is_that_of_datatrove():
    """Each of its characters, and no other."""
    text = pytest.importorskip("datatrove.utils.text")
    assert set(text.PUNCTUATION) == PUNCTUATION


def real_texts(step, names="*"):
    if not DOCS.exists():
        pytest.skip(f"real documents are absent: {DOCS}")
    tables = [pq.read_table(path, columns=["text"]) for path in sorted(DOCS.glob(f"{names}.parquet"))]
    return pa.concat_tables(tables)["text"].cast(pa.large_string()).combine_chunks()[::step]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_real_documents(normalization):
    """A sample of all groups and languages, word by word and character by character."""
    texts = real_texts(1201)
    texts = texts.filter(pc.less(pc.binary_length(texts), 20_000))
    for kind in ("word", "char"):
        assert found(texts, kind, 5, normalization) == [hashes_of(text, kind, 5, normalization) for text in texts.to_pylist()]


def test_words_are_those_of_simplify_text():
    """datatrove's own normalization gives the same words of real documents without the characters of which it is told that they differ."""
    simplify_text = pytest.importorskip("datatrove.utils.text").simplify_text
    spellings = (chr(code) for code in range(sys.maxunicode + 1) if PUNCTUATION & set(unicodedata.normalize("NFD", chr(code))))
    other_spellings = set(spellings) - PUNCTUATION
    assert {"\u2260", "\u037e"} < other_spellings
    texts = [text for text in real_texts(121).to_pylist() if not other_spellings & set(text)]
    assert len(texts) > 400
    changes = {ord(char): None for char in INVISIBLE} | {0x3C2: "\u03c3"}
    differ = [text for text in texts if simplify_text(text).translate(changes).split() != words_of(text, "datatrove", alone=False)]
    assert differ == []


def test_jaccard_of_the_truth_is_reproduced():
    """Shingles of five words under "words" give every near pair the similarity that the truth file has."""
    if not NEAR.exists():
        pytest.skip(f"near pairs are absent: {NEAR}")
    pairs = pq.read_table(NEAR)
    table = pa.concat_tables([pq.read_table(path, columns=["id", "text"]) for path in sorted(DOCS.glob("*.parquet"))])
    wanted = pc.unique(pa.chunked_array([*pairs["id_a"].chunks, *pairs["id_b"].chunks]))
    table = table.filter(pc.is_in(table["id"], wanted))
    place = {name: row for row, name in enumerate(table["id"].to_pylist())}
    offsets, hashes = shingle_sets(table["text"].cast(pa.large_string()).combine_chunks(), "word", 5, "words")
    first, second = (np.array([place[name] for name in pairs[side].to_pylist()]) for side in ("id_a", "id_b"))
    similarity = jaccard(offsets, hashes, offsets, hashes, first, second)
    truth = pairs["jaccard_w5"].to_numpy()
    assert len(truth) > 10_000
    assert np.abs(similarity - truth).max() < 1e-4
    assert folding("words") is folding("words")
