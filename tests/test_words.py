"""Words over Arrow buffers: English ones as spaCy's tokenizer has them, others by Unicode's boundaries."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operator_samples import SHARED

from operators.kernels import words_english_data, words_unicode_data
from operators.kernels.buffers import text_buffers
from operators.kernels.unicode import tables
from operators.kernels.words_english import english_rules, split_english
from operators.kernels.words_unicode import ENGLISH, UNICODE, split_batch, split_unicode, word_tables

MODES = pytest.mark.parametrize("mode", [ENGLISH, UNICODE])
SPECIALS = [special.replace("¦", "") for special in words_english_data.SPECIALS.split()]
PARTS = [part for pattern in words_english_data.PATTERNS.split() for part in pattern.split("¦")]
SPACES = ["", "", "", "", "", " ", " ", " ", "  ", "\n", "\t", "\x1c", "\u00a0", "\u2003", "\u3000"]
WORDS = ["hello", "World", "the", "X", "AB", "aB", "he", "Mr", "Ph", "D", "well", "a.m", "U.S", "o", "co", "12", "3", "5", "1,000", "3.14"]
MARKS = list(".,;:!?()[]{}<>_#*&'\"`\u00b4\u2019\u2018\u201c\u201d\u201e\u00ab\u00bb\u201a$\u00a3\u20ac\u00a5+-\u2013\u2014~^=/\\|@%\u00a7")
WIDE = list("\u2026\u00a9\u00b0\u2605\u2192\u6f22\u304b\u2022\U0001f389\u0ca0\ufffd\u3299\ufdfd\u2139\u00a6\u066a\u06d4\u3002\u300c\u0905")
WIDE += list("\u094d\u093e\u09e7\u0668\u00f1\u00c9\u00df\u0416\u0436\u0391\u03b1\u00e4\U00020000\U0001f1e6\u0301\u200d\u00ad\u200b")
URLS = [
    "http://",
    "www.",
    "foo.com",
    "user@",
    "x.org",
    ":80",
    "/path",
    "?q=1",
    "#frag",
    "192.168.1.1",
    "8.8.8.8",
    "127.0.0.1",
    "172.16.0.1",
]
URLS += [
    "172.15.0.1",
    "223.255.255.254",
    "sub_domain.co",
    "mailto:",
    "\u0663.\u0664.\u0665.\u0666",
    "1.2.3.\u096a",
    "a_.com",
    "-a.com",
    "a-b.io",
]
TAILS = words_english_data.TAILS.split()
PIECES = st.one_of(*map(st.sampled_from, (SPECIALS, PARTS, TAILS, WORDS, MARKS, WIDE, URLS)))
APOSTROPHES = PIECES.map(lambda piece: piece.replace("'", "\u2019"))
RICH = st.lists(st.tuples(PIECES | APOSTROPHES, st.sampled_from(SPACES)), max_size=14).map(lambda pairs: "".join(map("".join, pairs)))

# By the rules of spaCy 3.8: text, words.
ENGLISH_EXAMPLES = [
    ("Hello there, don't go!", "Hello|there|,|do|n't|go|!"),
    ("He's from the U.S.A. (really)...", "He|'s|from|the|U.S.A.|(|really|)|..."),
    ("Mr. Smith\u2019s dog. I\u2019ll go.", "Mr.|Smith|\u2019s|dog|.|I|\u2019ll|go|."),
    ("well-known a--b 3-4 5--b and/or x/y", "well|-|known|a|--|b|3|-|4|5|-|-b|and/or|x|/|y"),
    ("5km 10am $50 50US$ 10% 3.14 1,000 +5 C++", "5|km|10|am|$|50|50|US$|10|%|3.14|1,000|+5|C++"),
    ("see http://foo.bar/a?b=c, foo@bar.com.", "see|http://foo.bar/a?b=c|,|foo@bar.com|."),
    ("8.8.8.8/x 10.0.0.1/x", "8.8.8.8/x|10.0.0.1|/|x"),
    ("':)' :-))) (8) a.B", "'|:)|'|:-)))|(|8)|a.|B"),
    ("id. Id. and-Mr. he 's and- Mr.", "i|d.|Id.|and|-|Mr.|he|'s|and-|Mr."),
    ("\u201cquoted\u201d a\u00a0b\u3000c \u2026\u2026 5\u00b0C.", "\u201c|quoted|\u201d|a|b|c|\u2026|\u2026|5|\u00b0|C|."),
    (" \n\t ", ""),
]
UNICODE_EXAMPLES = [
    ("Hello, world...", "Hello|,|world|.|.|."),
    ("can't 3.14 a.b 'x' foo_bar 1,2.", "can't|3.14|a.b|'|x|'|foo_bar|1,2|."),
    ('\u05e2\u05d1"\u05d2 \u05e2\' \u05e2"', '\u05e2\u05d1"\u05d2|\u05e2\'|\u05e2|"'),
    ("a\u0301b x\u00ady \u200b 'tis", "a\u0301b|x\u00ady|'|tis"),
    (
        "\U0001f600\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1e9",
        "\U0001f600|\U0001f44d\U0001f3fd|\U0001f1e9\U0001f1ea|\U0001f1eb\U0001f1f7|\U0001f1e9",
    ),
    ("\u4e2d\u6587\u3002\u3042\u30a2\u30ab\u309a", "\u4e2d|\u6587|\u3002|\u3042|\u30a2|\u30ab\u309a"),
    ("\u0e2a\u0e27\u0e31\u0e2a \u0e51\u0e52 \u0f56\u0f7c\u0f51", "\u0e2a|\u0e27\u0e31|\u0e2a|\u0e51\u0e52|\u0f56\u0f7c|\u0f51"),
    ("\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440!", "\u041f\u0440\u0438\u0432\u0435\u0442|\u043c\u0438\u0440|!"),
    (" \n\t\u00a0", ""),
]


def words(mode: int, texts: list[str | None]) -> list[list[str]]:
    """The words that the kernel finds."""
    offsets, data = text_buffers(pa.array(texts, pa.large_string()))
    lists, bounds = split_batch(mode, english_rules(), word_tables(), tables(), offsets, data)
    raw = data.tobytes()
    found = [raw[start:stop].decode() for start, stop in bounds.tolist()]
    return [found[start:stop] for start, stop in pairwise(lists)]


@pytest.fixture(scope="session")
def spacy_words():
    """Words as datatrove has them: spaCy's tokens, stripped, without the empty ones."""
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")

    def split(text: str) -> list[str]:
        with nlp.memory_zone():
            return [word for token in nlp.tokenizer(text) if (word := token.text.strip())]

    return split


@pytest.mark.parametrize(("text", "expected"), ENGLISH_EXAMPLES)
def test_english_words(text, expected):
    """Marks are words, contractions are two, abbreviations and URLs are one."""
    assert words(ENGLISH, [text]) == [[word for word in expected.split("|") if word]]


@pytest.mark.parametrize(("text", "expected"), UNICODE_EXAMPLES)
def test_unicode_words(text, expected):
    """Words end where Unicode has it; letters of scripts without spaces are words."""
    assert words(UNICODE, [text]) == [[word for word in expected.split("|") if word]]


@settings(deadline=None, max_examples=1000)
@given(RICH)
def test_english_words_are_those_of_spacy(spacy_words, text):
    """Whatever marks, contractions, emoticons, URLs, units and symbols stand side by side."""
    assume("IS_ALPHA" not in text)
    assert words(ENGLISH, [text]) == [spacy_words(text)]


@settings(deadline=None, max_examples=300)
@given(st.text())
def test_english_words_of_any_text_are_those_of_spacy(spacy_words, text):
    """Any text at all."""
    assume("IS_ALPHA" not in text)
    assert words(ENGLISH, [text]) == [spacy_words(text)]


def test_every_character_is_split_as_spacy_does(spacy_words):
    """Each character before, after and between letters and digits, and before a full stop."""
    chars = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    # Every run of equal classes, and what is at its ends.
    edges = {int(run.split(":")[0], 16) for run in words_english_data.CLASSES.split()}
    chosen = [char for char in chars if ord(char) in edges or ord(char) + 1 in edges or ord(char) < 256]
    texts = [f"{char}ab a{char}b 1{char} ab{char} {char}{char}. a.{char} {char}.A 1{char}A" for char in chosen]
    together = " \n".join(texts)
    assert words(ENGLISH, [together]) == [spacy_words(together)]


def test_rules_are_those_of_the_installed_spacy():
    """What is kept in the repository is what the source says."""
    spacy = pytest.importorskip("spacy")
    if spacy.__version__ != words_english_data.SPACY_VERSION:
        pytest.skip(f"spaCy {spacy.__version__} is installed, the rules are of {words_english_data.SPACY_VERSION}")
    from operators.kernels import words_english_source as source

    assert source.classes().split() == words_english_data.CLASSES.split()
    assert source.tails().split() == words_english_data.TAILS.split()
    assert source.specials().split() == words_english_data.SPECIALS.split()
    assert source.patterns().split() == words_english_data.PATTERNS.split()


def test_properties_are_those_of_the_installed_regex():
    """What is kept in the repository is what the source says, if it is of the same version of Unicode."""
    pytest.importorskip("regex")
    from operators.kernels import words_unicode_source as source

    if not source.is_same_unicode():
        pytest.skip("the installed regex knows another version of Unicode")
    assert source.classes().split() == words_unicode_data.CLASSES.split()


def unicode_words(text: str) -> list[str]:
    """Segments of UAX #29 by its rules, one after the other, over properties that `regex` tells; white space always ends one."""
    found: list[str] = []
    for part in text.split():
        starts = [0, *(at for at in range(1, len(part)) if _is_boundary(part, at)), len(part)]
        found += [part[start:stop] for start, stop in pairwise(starts)]
    return [segment for segment in found if not _has(segment, r"[\p{Z}\p{Cc}\p{Cf}]+")]


@cache
def _has(text: str, pattern: str) -> bool:
    regex = pytest.importorskip("regex")
    return regex.fullmatch(pattern, text) is not None


@cache
def _value(char: str) -> str:
    values = "ALetter Hebrew_Letter Numeric ExtendNumLet MidLetter MidNumLet Single_Quote MidNum Double_Quote Regional_Indicator"
    value = next((value for value in values.split() if _has(char, rf"\p{{Word_Break={value}}}")), "Other")
    is_by_character = _has(char, r"[\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]")
    return "Other" if value == "ALetter" and is_by_character else value


def _is_ignored(char: str) -> bool:
    return _has(char, r"[\p{Word_Break=Extend}\p{Word_Break=Format}\p{Word_Break=ZWJ}]")


def _is_boundary(text: str, at: int) -> bool:
    """Whether a segment begins at a place inside a text without white space."""
    if _is_ignored(text[at]) or (text[at - 1] == "\u200d" and _has(text[at], r"\p{Extended_Pictographic}")):
        return False
    before = text[0] + "".join(char for char in text[1:at] if not _is_ignored(char))
    after = "".join(char for char in text[at + 1 :] if not _is_ignored(char))
    left, right = _value(before[-1]), _value(text[at])
    second_left = _value(before[-2]) if len(before) > 1 else ""
    second_right = _value(after[0]) if after else ""
    letters, mid_letters, mid_numbers = (
        {"ALetter", "Hebrew_Letter"},
        {"MidLetter", "MidNumLet", "Single_Quote"},
        {"MidNum", "MidNumLet", "Single_Quote"},
    )
    num_regional = len(before) - len(before.rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
    joined = (
        left in letters and right in letters,
        left in letters and right in mid_letters and second_right in letters,
        second_left in letters and left in mid_letters and right in letters,
        left == "Hebrew_Letter" and right == "Single_Quote",
        left == "Hebrew_Letter" and right == "Double_Quote" and second_right == "Hebrew_Letter",
        second_left == "Hebrew_Letter" and left == "Double_Quote" and right == "Hebrew_Letter",
        left in letters | {"Numeric"} and right in letters | {"Numeric"},
        second_left == "Numeric" and left in mid_numbers and right == "Numeric",
        left == "Numeric" and right in mid_numbers and second_right == "Numeric",
        left in letters | {"Numeric", "ExtendNumLet"} and right == "ExtendNumLet",
        left == "ExtendNumLet" and right in letters | {"Numeric"},
        num_regional % 2 == 1 and right == "Regional_Indicator",
    )
    return not any(joined)


TRIGGERS = list(
    "abZ09_.,:;'\"\u2019\u00b7-+ \n\x01\x1c\u00a0\u0301\u00ad\u200d\u200c\u200b\u2764\U0001f3fd\U0001f1e9\U0001f1ea\u05d0\u05d1\u4e2d"
)
TRIGGERS += list("\u3042\u30ab\u30fc\u0e2a\u0e31\u0e51\u0f56\u0f7c\u1000\u0663,\u060c\u24c2\u0085\u180e\u2060\ufe0f\u20ac\u07c0\u202f")


@settings(deadline=None, max_examples=500)
@given(st.text(st.sampled_from(TRIGGERS), max_size=20) | st.text())
def test_unicode_words_are_those_of_the_rules(text):
    """The kernel, which goes forward once, and the rules read one by one give the same words."""
    assert words(UNICODE, [text]) == [unicode_words(text)]


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from('abZ09_.,:;"- \n!\u05d0\u05d1\u0663\u0430\u4e2d\u3042\u00e9'), max_size=40))
def test_unicode_words_are_those_of_regex(text):
    """The boundaries of the regex package, where it has no rules of its own (for marks, flags and the apostrophe)."""
    regex = pytest.importorskip("regex")
    expected = [word for part in text.split() for word in regex.split(r"\b", part, flags=regex.WORD | regex.V1) if word]
    assert words(UNICODE, [text]) == [expected]


def documents(step: int) -> list[str]:
    """Every so-manieth of the real documents of each group."""
    paths = sorted((SHARED / "data" / "docs").glob("*.parquet"))
    if not paths:
        pytest.skip(f"real documents are absent: {SHARED / 'data' / 'docs'}")
    return [text for path in paths for text in pq.read_table(path, columns=["text"])["text"].to_pylist()[::step] if text]


def test_english_words_of_real_documents(spacy_words):
    """Books, papers, web pages, code and other languages."""
    texts = [text for text in documents(120) if "IS_ALPHA" not in text]
    found = words(ENGLISH, texts)
    assert [at for at, text in enumerate(texts) if found[at] != spacy_words(text)] == []


def test_unicode_words_of_real_documents():
    """Some hundred characters of documents in many languages."""
    texts = [text[:400] for text in documents(400)]
    assert words(UNICODE, texts) == [unicode_words(text) for text in texts]


@MODES
def test_texts_without_words_and_slices(mode):
    """Null, empty and blank texts have none; a slice's words are those of its rows."""
    assert words(mode, []) == []
    assert words(mode, [None, "", " \n", "a"]) == [[], [], [], ["a"]]
    texts = pa.array(["one two", "three", "four five"], pa.large_string()).slice(1, 2)
    offsets, data = text_buffers(texts)
    lists, bounds = split_batch(mode, english_rules(), word_tables(), tables(), offsets, data)
    assert lists.tolist() == [0, 1, 3]
    assert [data[start:stop].tobytes() for start, stop in bounds] == [b"three", b"four", b"five"]


@MODES
@settings(deadline=None, max_examples=300)
@given(data=st.binary(max_size=60), pad=st.integers(0, 3))
def test_any_bytes_give_words_in_order(mode, data, pad):
    """Ill-formed bytes never make a kernel read or write outside the text: words lie in it, in order, apart."""
    whole = np.frombuffer(b"\xe2\x80'"[:pad] + data + b"\x99s\xf0", np.uint8)
    starts, ends = np.full(len(data) + 2, -1, np.int32), np.full(len(data) + 2, -1, np.int32)
    if mode == ENGLISH:
        count = split_english(english_rules(), tables(), whole, np.int64(pad), np.int64(pad + len(data)), starts, ends)
    else:
        count = split_unicode(word_tables(), whole, np.int64(pad), np.int64(pad + len(data)), starts, ends)
    bounds = np.stack([starts[:count], ends[:count]], 1).ravel()
    assert (np.diff(bounds) >= 0).all()
    assert (starts[:count] < ends[:count]).all()
    assert count == 0 or (bounds[0] >= 0 and bounds[-1] <= len(data))
    assert starts[-1] == ends[-1] == -1


@MODES
@pytest.mark.parametrize(
    "piece", ["(", ".", "a.", "@", "a@b.", "'", "-", "a-", "\u2026", "5km", ":)", "\u0301", "\u200d", "a'\u0301", "\ufffd", "1.2.3."]
)
def test_long_chunks_go_through(mode, piece):
    """Two hundred thousand characters without white space go through at once: a second look back for each would take hours."""
    assert len(words(mode, [piece * (200_000 // len(piece))])) == 1


@MODES
def test_a_document_of_fifty_megabytes(mode):
    """Every word of it is found."""
    text = np.frombuffer(b"some words, " * 4_200_000, np.uint8)
    starts, ends = np.empty(len(text) + 1, np.int32), np.empty(len(text) + 1, np.int32)
    if mode == ENGLISH:
        count = split_english(english_rules(), tables(), text, np.int64(0), np.int64(len(text)), starts, ends)
    else:
        count = split_unicode(word_tables(), text, np.int64(0), np.int64(len(text)), starts, ends)
    assert count == 3 * 4_200_000
