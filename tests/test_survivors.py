"""Survivors: who is removed, and for whom, against ten lines of plain Python; whole and slice by slice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.radix import as_word
from operators.kernels.survivors import MOST_WORDS, decide_slice, num_removed_for, outgoing, survivors

LEAST = -(2**63)
PLACES = st.lists(st.one_of(st.integers(-30, 30), st.integers(LEAST, 2**63 - 1), st.just(LEAST)), min_size=2, max_size=20, unique=True)
WORDS = st.integers(1, MOST_WORDS)


def decided(pairs, key, gone=()):
    """The rule: documents in keep order, each removed for the first earlier kept document of its pairs."""
    removed: dict[int, int | None] = dict.fromkeys(gone)
    for document in sorted({later for later, _ in pairs}, key=key.__getitem__):
        kept = [earlier for later, earlier in pairs if later == document and earlier not in removed]
        if kept and document not in removed:
            removed[document] = min(kept, key=key.__getitem__)
    return {later: earlier for later, earlier in removed.items() if earlier is not None}


@st.composite
def corpora(draw):
    """Places, keep order words of each, and pairs (later, earlier), some twice."""
    places, num_words = draw(PLACES), draw(WORDS)
    word = st.one_of(st.integers(0, 2), st.integers(0, 2**64 - 1))
    keys = draw(st.lists(st.tuples(*[word] * num_words), min_size=len(places), max_size=len(places), unique=True))
    key = dict(zip(places, keys, strict=True))
    ends = draw(st.lists(st.tuples(st.sampled_from(places), st.sampled_from(places)), max_size=60))
    return key, [tuple(sorted(pair, key=key.__getitem__, reverse=True)) for pair in ends if pair[0] != pair[1]]


def ends(pairs):
    """Later and earlier ends as columns."""
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def order_words(documents, key):
    """The words of some documents, a column each."""
    num_words = len(next(iter(key.values())))
    return [np.array([key[document][word] for document in documents.tolist()], np.uint64) for word in range(num_words)]


def first(places):
    """The one word of the policy `first`."""
    return [as_word(np.asarray(places, np.int64))]


def removed_by_place(pairs):
    """Who goes for whom, where keep order is that of the places."""
    b, a = ends(pairs)
    chosen = survivors(b, a, first(b), first(a))
    return dict(zip(b[chosen].tolist(), a[chosen].tolist(), strict=True))


@settings(max_examples=300, deadline=None)
@given(corpora(), st.data())
def test_the_rule_is_that_of_plain_python(corpus, data):
    """Removed documents, the kept one that each names, and their order, whatever the keep order, the edges and what is gone."""
    key, pairs = corpus
    gone = data.draw(st.lists(st.sampled_from(sorted(key)), unique=True, max_size=3))
    b, a = ends(pairs)
    chosen = survivors(b, a, order_words(b, key), order_words(a, key), np.array(gone, np.int64))
    wanted = decided(pairs, key, gone)
    assert dict(zip(b[chosen].tolist(), a[chosen].tolist(), strict=True)) == wanted
    assert b[chosen].tolist() == sorted(wanted, key=key.__getitem__)


@settings(max_examples=300, deadline=None)
@given(corpora(), st.lists(st.integers(0, 20), max_size=5), st.integers(1, 9))
def test_slices_decide_what_the_whole_decides(corpus, cuts, size):
    """However keep order is cut, and however the edges that leave a slice are chunked, folding over slices gives the same removals."""
    key, pairs = corpus
    documents = sorted(key, key=key.__getitem__)
    bounds = [0, *sorted(min(cut, len(documents)) for cut in cuts), len(documents)]
    removals: list[tuple[int, int]] = []
    removed_for = {}
    for start, stop in itertools.pairwise(bounds):
        inside = set(documents[start:stop])
        edges = [pair for pair in pairs if pair[1] in inside]
        b, a = ends([pair for pair in edges if pair[0] in inside])
        coming_b, coming_a = ends([pair for pair in removals if pair[0] in inside])
        found = decide_slice(b, a, order_words(b, key), order_words(a, key), coming_b, coming_a, order_words(coming_a, key))
        here = [*zip(b[found.edges].tolist(), a[found.edges].tolist(), strict=True)]
        here += zip(coming_b[found.incoming].tolist(), coming_a[found.incoming].tolist(), strict=True)
        assert found.removed.tolist() == sorted(later for later, _ in here)
        removed_for.update(here)
        assert len(here) == len(found.removed)
        for at in range(0, len(edges), size):
            out_b, out_a = ends(edges[at : at + size])
            chosen = outgoing(out_b, out_a, order_words(out_a, key), found.removed)
            assert len(chosen) == len(set(out_b[chosen].tolist()))
            assert not set(out_b[chosen].tolist()) & inside
            removals += zip(out_b[chosen].tolist(), out_a[chosen].tolist(), strict=True)
    assert removed_for == decided(pairs, key)


def test_the_middle_of_a_chain_goes_and_its_end_stays():
    """C is like B alone, and B is gone: nothing is removed through a chain."""
    assert removed_by_place([(2, 1), (3, 2)]) == {2: 1}


def test_the_end_of_a_star_goes_for_its_first():
    """All that are like the first document go for it; a document like several names the first of them."""
    assert removed_by_place([(place, 1) for place in range(2, 9)]) == dict.fromkeys(range(2, 9), 1)
    assert removed_by_place([(9, place) for place in range(8, 0, -1)]) == {9: 1}


def test_of_a_clique_one_stays():
    """All but the first go, for the first."""
    assert removed_by_place([(one, other) for one in range(8) for other in range(one)]) == dict.fromkeys(range(1, 8), 0)


def test_documents_of_earlier_runs_stay():
    """Negative places come first and are nobody's later end."""
    assert removed_by_place([(5, -(7 << 40)), (6, 5), (6, -1), (7, 5)]) == {5: -(7 << 40), 6: -1}


def test_a_chain_of_a_million():
    """Every second document goes, for the one before it, whatever the order of the edges."""
    mixed = np.random.default_rng(1).permutation(1_000_000)
    b, a = mixed + 1, mixed
    chosen = survivors(b, a, first(b), first(a))
    assert (b[chosen] == np.arange(1, 1_000_001, 2)).all()
    assert (a[chosen] == b[chosen] - 1).all()


def test_a_component_of_a_hundred_thousand():
    """Copies of one document, each also paired with others, in a keep order that has nothing to do with places."""
    rng = np.random.default_rng(4)
    rank = rng.permutation(100_000)
    at = np.argsort(rank)
    others = rng.integers(0, np.arange(1, 100_000))
    b = np.concatenate([at[1:], at[1:]])
    a = np.concatenate([np.full(99_999, at[0]), at[others]])
    mixed = rng.permutation(len(b))
    b, a = b[mixed], a[mixed]
    chosen = survivors(b, a, [rank[b].astype(np.uint64)], [rank[a].astype(np.uint64)])
    assert len(chosen) == 99_999
    assert (a[chosen] == at[0]).all()


@pytest.mark.parametrize("num_words", range(1, MOST_WORDS + 1))
def test_the_last_word_decides_where_all_others_are_equal(num_words):
    """Every word of keep order counts: of two kept documents the one that comes first by the last word is named."""
    b, a = ends([(1, 3), (1, 2)])
    same = [np.full(2, 7, np.uint64)] * (num_words - 1)
    b_words, a_words = [*same, np.array([9, 9], np.uint64)], [*same, np.array([5, 6], np.uint64)]
    assert survivors(b, a, b_words, a_words).tolist() == [0]
    assert outgoing(b, a, a_words, np.zeros(0, np.int64)).tolist() == [0]


def test_of_two_documents_with_the_same_words_the_smaller_place_is_named():
    """Even then the answer does not depend on the order of the edges."""
    for pairs in ([(9, 2), (9, 1)], [(9, 1), (9, 2)]):
        b, a = ends(pairs)
        words = [np.full(2, 3, np.uint64)]
        assert a[survivors(b, a, [np.full(2, 4, np.uint64)], words)].tolist() == [1]
        assert a[outgoing(b, a, words, np.zeros(0, np.int64))].tolist() == [1]


def test_nothing_to_decide():
    """No edges remove nothing."""
    none = np.zeros(0, np.int64)
    assert len(survivors(none, none, first(none), first(none))) == 0
    found = decide_slice(none, none, first(none), first(none), none, none, first(none))
    assert [len(part) for part in found] == [0, 0, 0]
    assert len(outgoing(none, none, first(none), none)) == 0
    assert len(num_removed_for(none)) == 0


@pytest.mark.parametrize("pair", [(1, 2), (2, 2)])
def test_an_edge_that_contradicts_keep_order_is_an_error(pair):
    """The earlier end must come before the later one."""
    b, a = ends([(9, 1), pair])
    with pytest.raises(ValueError, match=f"edge 1: document {pair[1]} does not come before {pair[0]}"):
        survivors(b, a, first(b), first(a))


def test_words_that_do_not_fit_the_edges_are_refused():
    """Nothing is read beyond a column."""
    b, a = ends([(2, 1), (3, 1)])
    with pytest.raises(ValueError, match="found 1 values; expected 2"):
        survivors(b, a, first(b), first(a[:1]))
    with pytest.raises(ValueError, match=f"expected 1 to {MOST_WORDS}"):
        survivors(b, a, first(b) * (MOST_WORDS + 1), first(a) * (MOST_WORDS + 1))
    with pytest.raises(ValueError, match=f"expected 1 to {MOST_WORDS}"):
        outgoing(b, a, [], b)
    with pytest.raises(ValueError, match="use one policy"):
        survivors(b, a, first(b), first(a) * 2)


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-3, 3), st.integers(LEAST, 2**63 - 1)), max_size=40))
def test_each_removed_document_is_counted_for_its_kept_one(kept):
    """How often each kept document is named."""
    assert num_removed_for(np.array(kept, np.int64)).tolist() == [kept.count(place) for place in kept]
