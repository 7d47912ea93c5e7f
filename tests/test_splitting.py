"""Splitting patterns: matches of the automaton are those of the regex engine inside `tokenizers`."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from operator_samples import real_documents
from tokenizers import Regex, pre_tokenizers

from operators import split_members, splitting
from operators.kernels.splitting import match
from operators.kernels.unicode import decode
from operators.splitting import GPT2, Automaton, UnknownPattern, compile_digits, compile_pattern, compile_punctuation, compile_text

O200K_LOWER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
O200K_UPPER = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
ENDINGS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    "gpt2": GPT2,
    "llama3": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{ENDINGS}",
    "qwen2": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{ENDINGS}",
    "qwen3.5": rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{ENDINGS}",
    "cl100k-possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": rf"{O200K_LOWER}{CONTRACTIONS}?|{O200K_UPPER}{CONTRACTIONS}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{ENDINGS}",
    "tekken": rf"{O200K_LOWER}|{O200K_UPPER}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{ENDINGS}",
    "deepseek-1": r"\p{N}{1,3}",
    "deepseek-2": "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "deepseek-3": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    + ENDINGS,
    "bloom": " ?[^(\\s|[.,!?…。，、।۔،])]+",
    "lines": r"[^\n]+\n?|\n(?=[a-z]|\z)|(?=\n)(?!a).(?!\n|$)|\s(?=$)|\r+",
}
LETTERS = (
    "aAbsStTrReEvVlLmMdDfFiI\u017f\u212aKk\u0130\u0131\xdf\u1e9e\ufb06\xe9\u0301\u0903\u4e00\u3042\u30ab\u0e01\u0e31\u01c5\u02bc\u0345"
)
OTHERS = (
    " \t\r\n\v\f\x85\xa0\u2028\u3000\u200b\u200d''\u2019\"/.,!?()|\\-_{}1239"
    "\u0663\xb2\u2167\U0001d7ce\U0001f468\ufe0f\u0378\U000e0100\ufffd\x00\x1c"
)
TEXTS = st.one_of(st.text(max_size=60), st.text(LETTERS + OTHERS, max_size=60), st.text("aS' \n\r1.", max_size=40))
ATOMS = (
    *("a", "s", "'", "1", " ", r"\s", r"\S", r"\p{L}", r"\p{^L}", r"\P{N}", r"\d", r"\w", r"[^\s\p{L}]", ".", r"\n", r"\x{e9}", r"\u017f"),
    *("(?i:s)", "(?i:a)", "(?i:[a-k])", "[a-cs'1]", "[[:alpha:]&&[^a]]", r"[^\]a\n]"),
)


@njit
def split(steps, classes, data, at, stop, ends):
    """Write where the pieces of a text end: its matches, and the runs of characters that are in none. Returns how many there are.

    `ends` is int64 and has room for one piece a byte.
    """
    num_pieces = np.int64(0)
    start = np.int64(at)
    while at < stop:
        end = match(steps, 0, classes, 0, data, at, stop)
        if end < 0:
            at += decode(data, at, stop)[1]
            continue
        if start < at:
            ends[num_pieces] = at
            num_pieces += 1
        ends[num_pieces] = end
        num_pieces += 1
        at = start = end
    if start < stop:
        ends[num_pieces] = stop
        num_pieces += 1
    return num_pieces


def pieces(found: Automaton, data: bytes) -> list[bytes]:
    """A text in the pieces that the kernel finds, which lie in the midst of other bytes that it must not see."""
    around = np.frombuffer(b"\r\n " + data + b"\n a1", np.uint8)
    ends = np.full(len(data) + 1, -7, np.int64)
    around.flags.writeable = False
    number = split(found.steps, found.classes, around, 3, 3 + len(data), ends)
    assert (ends[number:] == -7).all()
    return [bytes(around[start:end]) for start, end in pairwise([3, *ends[:number].tolist()])]


def texts_of(found: Automaton, text: str) -> list[str]:
    return [piece.decode() for piece in pieces(found, text.encode())]


@cache
def library(pattern: str):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def said(pre_tokenizer, text: str) -> list[str]:
    return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", PATTERNS)
@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_matches_are_those_of_the_library(name, text):
    """A known pattern's pieces are the library's, for any text."""
    assert texts_of(compile_pattern(PATTERNS[name]), text) == said(library(PATTERNS[name]), text)


@pytest.mark.parametrize("name", PATTERNS)
def test_real_documents_are_split_as_the_library_does(name):
    """Real documents in many languages and code come apart as in the library."""
    found = compile_pattern(PATTERNS[name])
    documents = real_documents("multi-lid-00000", "code-00000", "edge-00000", "web-thirdparty-00003", limit=40)
    for text in documents.column("text").to_pylist():
        assert texts_of(found, text[:3000]) == said(library(PATTERNS[name]), text[:3000])


def test_every_character_is_of_the_library_s_kind():
    """No code point is in another class than in the library, next to a letter, a digit, a space and itself."""
    text = "".join(f"{char}{char}a{char}1{char} " for char in map(chr, range(1, 0x3200)))
    for pattern in PATTERNS.values():
        assert texts_of(compile_pattern(pattern), text) == said(library(pattern), text)


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_byte_level_s_own_pattern(text):
    """`GPT2` is what `ByteLevel` splits at."""
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    spans = [(start, end) for _, (start, end) in level.pre_tokenize_str(text)]
    assert [text[start:end] for start, end in spans] == texts_of(compile_pattern(GPT2), text)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_digits_punctuation_and_plain_strings(text):
    """The other pre-tokenizers that part single characters from the rest do it as here."""
    for individual in (False, True):
        assert texts_of(compile_digits(individual), text) == said(pre_tokenizers.Digits(individual_digits=individual), text)
    assert texts_of(compile_punctuation(True), text) == said(pre_tokenizers.Punctuation("contiguous"), text)
    assert texts_of(compile_punctuation(False), text) == said(pre_tokenizers.Punctuation("isolated"), text)
    assert texts_of(compile_text(" ?s(."), text + " ?s(." + text) == said(pre_tokenizers.Split(" ?s(.", "isolated"), text + " ?s(." + text)


def _quantified(inner: str, quantifier: str) -> str:
    return f"(?:{inner}){quantifier}"


atoms = st.sampled_from(ATOMS)
parts = st.recursive(
    st.one_of(
        atoms,
        st.builds("{}{}".format, atoms, st.sampled_from(["?", "*", "+", "?+", "*+", "++", "{2}", "{1,2}", "{,2}", "{2,}", "{1,2}+"])),
        st.builds(
            "(?{}{})".format, st.sampled_from("=!"), st.one_of(atoms, st.builds("{}|{}".format, atoms, st.sampled_from(["$", r"\z", "a"])))
        ),
        st.builds("(?>{}{})".format, atoms, st.sampled_from(["?", "*", "+", "{2}", "{2,}"])),
        st.sampled_from(["$", r"\z", "'(?i:ll|re)"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"(?:{'|'.join(options)})"),
        st.builds(_quantified, inner, st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "{2,}"])),
        inner.map("({})".format),
    ),
    max_leaves=8,
)
TOKENS = (
    *"ab1s' .|()[]{}^$*+?\\-,&:",
    "(?:",
    "(?i:",
    "(?=",
    "(?!",
    "(?>",
    "[^",
    "\\s",
    "\\p{L}",
    "\\z",
    "\\]",
    "\\n",
    "{2}",
    "{1,2}",
    "[:alpha:]",
    "\\x{61}",
    "&&",
)
cached_members = cache(split_members.members)


@settings(max_examples=400, deadline=None)
@given(
    patterns=st.lists(st.builds("{}{}".format, atoms, parts) | parts, min_size=1, max_size=3), texts=st.lists(TEXTS, min_size=3, max_size=6)
)
def test_any_pattern_of_the_subset_matches_as_in_the_library(patterns, texts):
    """A pattern that is taken, however it is put together, finds what the library finds."""
    pattern = "|".join(patterns)
    try:
        found = splitting._automaton(pattern, cached_members)
    except UnknownPattern:
        return
    for text in texts:
        assert texts_of(found, text) == said(library(pattern), text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=8).map("".join), TEXTS)
def test_any_text_is_a_pattern_read_as_the_library_reads_it_or_refused(pattern, text):
    """Whatever stands where a pattern should, it is refused, or finds what the library finds."""
    try:
        found = splitting._made(pattern)
    except UnknownPattern:
        return
    assert texts_of(found, text) == said(library(pattern), text)


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        (r"(?<=a)b", "lookbehind (?<="),
        (r"(?<!a)b", "negative lookbehind (?<!"),
        (r"(?<name>a)", "named group (?<"),
        (r"\bword", r"word boundary \b"),
        (r"a+?", "lazy quantifier ?"),
        (r"a{2}?b", "lazy quantifier ?"),
        (r"(a)\1", r"escape \1"),
        (r"a(?=bc)", "lookahead of more than one character (?="),
        (r"a(?!b(?!c))", "lookahead of more than one character (?!"),
        (r"(?m:.)", "option (?m:.)"),
        (r"a(?i)b", "option (?i)b"),
        (r"(?#x)a", "comment (?#"),
        (r"(?:ab)++", "possessive quantifier or atomic group (?> of more than one set of characters"),
        (r"(?>a|ab)c", "possessive quantifier or atomic group (?> of more than one set of characters"),
        (r"^a", "start of a line ^"),
        (r"\Aa", r"start of the text \A"),
        (r"a*", "a pattern that can match without a character"),
        (r"a|", "a pattern that can match without a character"),
        (r"(?=a)", "a pattern that can match without a character"),
        (r"b(?:a*)*", "repetition of what can match without a character"),
        (r"a**", "quantifier after a quantifier"),
        (r"+a", "quantifier + that follows nothing"),
        (r"$+a", "quantifier after an assertion"),
        (r"(a", "group that is not closed"),
        (r"a)", "closing parenthesis that no group opens"),
        (r"[a", "class [ that is not closed"),
        (r"[]a]", "class that begins with ]"),
        (r"a{", "brace { that begins no interval"),
        (r"a{3,2}", "interval whose upper bound is below the lower"),
        (r"a{1000000}", "brace { that begins no interval"),
        (r"(?:a{90}){90}", "repetitions that unfold into more than 4000 places"),
        (r"\p{Nothing}", "a pattern that tokenizers itself refuses"),
        (r"\xe9", r"escape \xe9"),
        (r"\q", r"escape \q"),
        ("a\\", "escape \\"),
        ("(" * 60 + "a" + ")" * 60, "groups nested deeper than 50"),
        (r"(?i:st)", "'s' and 't' side by side where case is ignored"),
        (r"(?i:s(?:'|t))", "'s' and 't' side by side where case is ignored"),
        (r"(?i)fi+", "'f' and 'i' side by side where case is ignored"),
        (r"(?i:s{2})", "'s' and 's' side by side where case is ignored"),
        ("(?i:\xdf)", "'\xdf' where case is ignored"),
        (r"(?i:[^a])", "[^a] where case is ignored"),
        (r"(?i:\p{L})", r"\p{L} where case is ignored"),
        (r"(?:a|b)*a(?:a|b){11}c", "an automaton of more than"),
    ],
)
def test_what_is_not_known_is_refused_in_words(pattern, rule):
    """A pattern that no automaton stands for is refused, and the construct named."""
    with pytest.raises(UnknownPattern) as caught:
        compile_pattern(pattern)
    assert caught.value.rule.startswith(rule)
    assert str(caught.value) == caught.value.rule


def test_an_empty_plain_string_is_refused():
    """A plain string of no characters would match everywhere."""
    with pytest.raises(UnknownPattern):
        compile_text("")


def test_the_library_takes_one_character_for_two_where_case_is_ignored():
    """The reason for refusing `(?i:st)`: the library finds the ligature too."""
    assert said(library("(?i:st)"), "a\ufb06b") == ["a", "\ufb06", "b"]


@settings(max_examples=120, deadline=None)
@given(
    st.binary(max_size=60)
    | st.builds(lambda text, at, byte: text.encode()[:at] + byte + text.encode()[at:], TEXTS, st.integers(0, 60), st.binary(max_size=2))
)
def test_any_bytes_end_in_pieces_that_are_the_text(data):
    """Bytes that are no UTF-8 neither crash nor hang, and none is lost."""
    for pattern in PATTERNS.values():
        found = pieces(compile_pattern(pattern), data)
        assert b"".join(found) == data
        assert b"" not in found


@pytest.mark.parametrize("char", ["a", " ", "\n", "1", "'", "\xe9", "\u4e00"])
def test_a_long_run_takes_time_in_proportion(char):
    """Hundreds of thousands of one character is split at once by every pattern."""
    for pattern in PATTERNS.values():
        assert "".join(texts_of(compile_pattern(pattern), char * 300_000)) == char * 300_000


def test_the_same_pattern_gives_the_same_automaton():
    """What is kept on the node is what is made; both arrays are read only and of the types that the kernel is compiled for."""
    for pattern in (GPT2, PATTERNS["o200k"]):
        kept, made = compile_pattern(pattern), splitting._made(pattern)
        assert (kept.steps.dtype, kept.classes.dtype, kept.classes.shape) == (np.int32, np.uint8, (0x110000,))
        assert not kept.steps.flags.writeable
        assert not kept.classes.flags.writeable
        assert np.array_equal(kept.steps, made.steps)
        assert np.array_equal(kept.classes, made.classes)
        assert len(kept.steps) % (int(kept.classes.max()) + 1) == 0
        assert (kept.classes > 0).all()
