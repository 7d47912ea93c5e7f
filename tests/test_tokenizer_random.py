"""Small tokenizers that nobody would make, on texts over their own alphabet: the order of merges is the library's to the last tie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizer_gallery import BYTES, GPT2, LLAMA3, Json, added, bpe, byte_level, spelled, splits, token, tokenizer, written
from tokenizing import check

LETTERS = "ab \u00e9\u0301"  # few letters have many ties; an accent is two bytes and may be composed, the space begins words
PIECES = [spelled(each) for each in "ab "] + [BYTES[byte] for byte in "\u00e9\u0301".encode()]
PRE_TOKENIZERS: dict[str, Json] = {
    "alone": byte_level(regex=False),
    "gpt2": byte_level(),
    "prefixed": byte_level(prefix=True),
    "llama3": splits(LLAMA3),
    "gpt2-as-split": splits(GPT2),
}
ANY = settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))

pieces = st.text(LETTERS, max_size=24)
# Repeated ones are pieces of more than 127 and 1,023 bytes, for which an implementation may have another way.
words = st.lists(pieces | st.builds(str.__mul__, pieces, st.sampled_from([2, 7, 64])), min_size=1, max_size=4)


@st.composite
def merge_lists(draw: Any) -> list[tuple[str, str]]:
    """Pairs of what is there already, in any order in the end: a pair's parts may be made by later pairs, or by none."""
    tokens, pairs = list(PIECES), []
    for _ in range(draw(st.integers(0, 12))):
        left, right = (draw(st.sampled_from(tokens)) for _ in range(2))
        pairs.append((left, right))
        tokens.append(left + right)
    return draw(st.permutations(pairs)) if draw(st.booleans()) else pairs


@st.composite
def added_tokens(draw: Any) -> list[Json]:
    """Tokens over the texts' own alphabet, of any flags, some twice."""
    flags = {flag: draw(st.booleans()) for flag in ("normalized", "lstrip", "rstrip", "special")}
    contents = draw(st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=4))
    return [token(each, **(flags if draw(st.booleans()) else {})) for each in contents]


@st.composite
def models(draw: Any, merges: list[tuple[str, str]]) -> Json:
    """A model of the merges whose ids are in any order, with gaps, and may begin anywhere; whole words may be in the vocabulary."""
    names = list(dict.fromkeys([*BYTES.values(), *(left + right for left, right in merges)]))
    more = draw(st.lists(st.text(PIECES, min_size=2, max_size=6), max_size=3))
    names += [each for each in dict.fromkeys(more) if each not in set(names)]
    if draw(st.booleans()):
        names = names[::-1]
    first, step = draw(st.sampled_from([(0, 1), (3, 7), (70000, 1)]))
    vocab = {name: first + step * place for place, name in enumerate(names)}
    return bpe(merges, vocab, ignore_merges=draw(st.booleans()))


@pytest.fixture(scope="session")
def path(tmp_path_factory):
    """Where each tokenizer is written over the one before."""
    return tmp_path_factory.mktemp("random") / "tokenizer.json"


@ANY
@given(st.data(), merge_lists(), words)
def test_the_order_of_merges_is_the_library_s(path, data, merges, documents):
    """Of all pairs that there are the one of the lowest rank is merged first, of equals the leftmost, again and again."""
    made = tokenizer(data.draw(models(merges)), byte_level(regex=False))
    check(written(made, path), documents, by_kernels=True)


@settings(parent=ANY, max_examples=100)
@given(st.data(), merge_lists(), words, st.sampled_from(sorted(PRE_TOKENIZERS)), added_tokens(), st.sampled_from([None, "NFC"]))
def test_any_small_tokenizer_gives_the_library_s_ids(path, data, merges, documents, pre, tokens, normal):
    """Merges, ids, added tokens, pre-tokenizer and normal form, all at once."""
    model = data.draw(models(merges))
    normalizer = None if normal is None else {"type": normal}
    made = tokenizer(model, PRE_TOKENIZERS[pre], tokens=added(len(model["vocab"]), *tokens), normalizer=normalizer)
    check(written(made, path), documents, framed=data.draw(st.booleans()))


@settings(parent=ANY, max_examples=100)
@given(merge_lists(), words, st.sets(st.sampled_from(PIECES), min_size=1), st.sampled_from(["", "unk", "fused", "bytes"]))
def test_missing_bytes_are_the_library_s_affair(path, merges, documents, missing, way):
    """A vocabulary that lacks letters drops them, puts unknowns in their place, or their bytes, as the library does."""
    kept = [pair for pair in merges if not (set(pair[0]) | set(pair[1])) & missing]
    names = [each for each in dict.fromkeys([*BYTES.values(), *(left + right for left, right in kept)]) if not set(each) & missing]
    flags: dict[str, Any] = {"unk": {"unk_token": "<unk>"}, "fused": {"unk_token": "<unk>", "fuse_unk": True}}.get(way, {})
    if way == "bytes":
        names += [f"<0x{byte:02X}>" for byte in range(256)]
        flags = {"byte_fallback": True}
    vocab = {name: place for place, name in enumerate([*names, "<unk>"])}
    check(written(tokenizer(bpe(kept, vocab, **flags)), path), documents)


@ANY
@given(st.integers(1, 12), st.permutations(range(6)), st.lists(st.integers(0, 70) | st.integers(100, 300), min_size=1, max_size=4))
@example(1, [0, 1, 2, 3, 4, 5], [3])
def test_runs_of_one_letter(path, count, order, lengths):
    """Ties of one letter, where pairs overlap: `aaa` is `aa`, `a`, and so on up to products of products."""
    tokens = ["a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaaa"]
    pairs = [(tokens[left], tokens[right]) for left in range(5) for right in range(5)]
    merges = [pairs[(7 * order[place % 6] + place) % len(pairs)] for place in range(count)]
    check(
        written(tokenizer(bpe(merges, {name: place for place, name in enumerate(names_of(merges))})), path),
        ["a" * each for each in lengths],
        by_kernels=True,
    )


def test_the_order_of_merges_where_tokens_share_an_id(path):
    """The library does a merge that it has in mind where another pair with the same product came to stand: not the one of lowest rank."""
    merges = [("aa", "b"), ("a", "aa"), ("a", "a"), ("a", "aab")]
    vocab = {each: place for place, each in enumerate(BYTES.values())}
    vocab |= {"aa": vocab["b"], "aab": 300, "aaa": 301, "aaab": 301}
    check(written(tokenizer(bpe(merges, vocab), byte_level(regex=False)), path), ["aabbb", "aabbb" * 60])


@ANY
@given(merge_lists(), words, st.data())
def test_tokens_may_share_an_id(path, merges, documents, data):
    """Where two tokens have one id, what their pairs become is the library's affair."""
    names = names_of(merges)
    vocab = {name: place for place, name in enumerate(names)}
    for left, right in merges:
        if data.draw(st.booleans()):
            vocab[left + right] = vocab[data.draw(st.sampled_from([*names[256:], "a", "b"]))]
    check(written(tokenizer(bpe(merges, vocab), byte_level(regex=False)), path), documents)


def names_of(merges: list[tuple[str, str]]) -> list[str]:
    """Bytes, and all that the merges join or make."""
    return list(dict.fromkeys([*BYTES.values(), *(each for left, right in merges for each in (left, right, left + right))]))


MAKERS = [("a", "b"), ("b", "a"), ("ab", "a"), ("a", "ba"), ("aba", "b"), ("ab", "ab"), ("a", "a")]


@settings(parent=ANY, max_examples=40)
@given(st.permutations(MAKERS), st.text("ab", min_size=1, max_size=30), st.sampled_from([1, 9]))
def test_products_of_several_pairs(path, merges, text, times):
    """A token that more than one pair makes is made by the pair whose turn it is, and a pair may be listed twice."""
    vocab = {name: place for place, name in enumerate(names_of(merges))}
    check(written(tokenizer(bpe([*merges, merges[0]], vocab)), path), [text * times], by_kernels=True)
