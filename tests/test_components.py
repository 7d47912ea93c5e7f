"""Components: union-find and the two stars, against plain Python and scipy, whole and over partitions and chunks."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.kernels.components import components, digest_links, large_star, minima, small_star, starred

PLACE = st.one_of(st.integers(-12, 12), st.integers(-(2**63), 2**63 - 1))
GRAPH = st.lists(st.tuples(PLACE, PLACE), max_size=60)


def columns(links):
    """Links as two columns."""
    table = np.array(list(links), np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def smallest_of_each(links):
    """The smallest node of the component of each node, by walking."""
    neighbours: dict[int, set[int]] = {}
    for one, other in links:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    root: dict[int, int] = {}
    for node in sorted(neighbours):
        ahead = [] if node in root else [node]
        while ahead:
            here = ahead.pop()
            if here not in root:
                root[here] = node
                ahead += neighbours[here]
    return root


def parts_of(nodes, num):
    """A partition for each node, by a hash."""
    return ((nodes.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) % np.uint64(num)


def over_partitions(star, u, v, num):
    """A star in tasks that each see only the links of their own nodes."""
    parts = parts_of(u, num)
    found = [star(u[parts == part], v[parts == part]) for part in range(num)]
    return tuple(np.concatenate([links[end] for links in found]) for end in range(2))


def stars(u, v, num=1):
    """Alternate both stars until a round changes nothing: the links of each node to the smallest of its component, and the rounds."""
    is_link = u != v
    u, v = np.maximum(u, v)[is_link], np.minimum(u, v)[is_link]
    digest, rounds = None, 0
    while digest != digest_links(u, v):
        digest = digest_links(u, v)
        u, v = over_partitions(large_star, np.concatenate([u, v]), np.concatenate([v, u]), num)
        u, v = over_partitions(small_star, u, v, num)
        rounds += 1
    return u, v, rounds


def path(num):
    return [(node, node + 1) for node in range(num - 1)]


def star(num):
    return [(num, node) for node in range(num)]


def clique(num, first=0):
    return [(first + one, first + other) for one in range(num) for other in range(one)]


def grid(num):
    return [(num * row + column, num * row + column + step) for row in range(num - 1) for column in range(num - 1) for step in (1, num)]


GRAPHS = {
    "nothing": [],
    "one link": [(5, -5)],
    "a node and itself": [(3, 3)],
    "path": path(200),
    "star": star(100),
    "clique": clique(30),
    "two cliques and a bridge": [*clique(12), *clique(12, 100), (3, 107)],
    "two cliques": [*clique(12), *clique(12, 100)],
    "grid": grid(15),
    "places of files": [((file << 40) | row, ((file + 1) << 40) | row) for file in range(-3, 3) for row in range(3)],
}


@pytest.mark.parametrize("links", GRAPHS.values(), ids=GRAPHS.keys())
@pytest.mark.parametrize("num", [1, 3])
def test_known_graphs(links, num):
    """Union-find and the stars over any partitions give every node the smallest of its component."""
    wanted = smallest_of_each(links)
    u, v = columns(links)
    nodes, root = components(u, v)
    assert dict(zip(nodes.tolist(), root.tolist(), strict=True)) == wanted
    assert nodes.tolist() == sorted(wanted)
    larger, smaller, _ = stars(u, v, num)
    assert dict(zip(larger.tolist(), smaller.tolist(), strict=True)) == {one: least for one, least in wanted.items() if one != least}
    assert len(larger) == len(set(larger.tolist()))


@settings(deadline=None)
@given(GRAPH, st.integers(1, 4))
def test_any_graph(links, num):
    """As the known ones, for any links at all."""
    wanted = smallest_of_each(links)
    nodes, root = components(*columns(links))
    assert dict(zip(nodes.tolist(), root.tolist(), strict=True)) == wanted
    larger, smaller, _ = stars(*columns(links), num)
    assert dict(zip(larger.tolist(), smaller.tolist(), strict=True)) == {one: least for one, least in wanted.items() if one != least}


@pytest.mark.parametrize("num_links", [100, 700, 1000, 1500, 5000])
def test_random_graphs_are_as_scipy_says(num_links):
    """Sparse and dense random graphs have scipy's components."""
    pytest.importorskip("scipy", reason="scipy is only used to check against; plain Python checks the same above")
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    u, v = np.random.default_rng(num_links).integers(0, 1000, (2, num_links))
    num, labels = connected_components(coo_matrix((np.ones(num_links), (u, v)), shape=(1000, 1000)), directed=False)
    least = np.full(num, 1000)
    np.minimum.at(least, labels, np.arange(1000))
    nodes, root = components(u, v)
    assert (root == least[labels[nodes]]).all()
    larger, smaller, _ = stars(u, v, 3)
    assert (smaller == least[labels[larger]]).all()
    assert sorted(larger.tolist()) == sorted(nodes[root != nodes].tolist())


def test_a_component_of_a_hundred_thousand():
    """One document of which all others are copies, linked in no order."""
    rng = np.random.default_rng(2)
    places = rng.permutation(100_000) - 50_000
    u, v = places[1:], places[rng.integers(0, np.arange(1, 100_000))]
    nodes, root = components(u, v)
    assert len(nodes) == 100_000
    assert (root == -50_000).all()


@pytest.mark.chaos
def test_a_chain_of_a_million_in_any_order_takes_few_rounds():
    """Rounds grow with the logarithm, where passing labels on would take a million; 17 here, of which the last proves that it is done."""
    places = np.random.default_rng(3).permutation(1_000_000)
    nodes, root = components(places[1:], places[:-1])
    assert len(nodes) == 1_000_000
    assert not root.any()
    larger, smaller, rounds = stars(places[1:], places[:-1], 4)
    assert (np.sort(larger) == np.arange(1, 1_000_000)).all()
    assert not smaller.any()
    assert rounds <= 20


@settings(deadline=None)
@given(GRAPH, st.sampled_from(["large", "small"]), st.integers(1, 7))
def test_a_star_over_chunks_is_the_whole_star(links, star, size):
    """Minima folded over chunks, then each chunk starred, give the links of the whole."""
    u, v = columns(links)
    if star == "large":
        u, v = np.concatenate([u, v]), np.concatenate([v, u])
    else:
        u, v = np.maximum(u, v), np.minimum(u, v)
    chunks = [(u[at : at + size], v[at : at + size]) for at in range(0, len(u), size)]
    nodes, least = minima(*columns([]))
    for chunk in chunks:
        more, also = minima(*chunk)
        nodes, least = minima(np.concatenate([nodes, more]), np.concatenate([least, also]))
    found = {pair for chunk in chunks for pair in zip(*map(np.ndarray.tolist, starred(*chunk, nodes, least, star)), strict=True)}
    whole = (large_star if star == "large" else small_star)(u, v)
    assert found == set(zip(*map(np.ndarray.tolist, whole), strict=True))
    assert len(found) == len(whole[0])


def plain_star(links, star):
    """The stars as the paper has them."""
    neighbours: dict[int, set[int]] = {}
    for one, other in links:
        neighbours.setdefault(one, set()).add(other)
    found = set()
    for node, linked in neighbours.items():
        least = min(linked | {node})
        members = {other for other in linked if other > node} if star == "large" else {other for other in linked if other <= node} | {node}
        found |= {(other, least) for other in members if other != least}
    return sorted(found, key=lambda link: (link[1], link[0]))


@settings(deadline=None)
@given(GRAPH)
def test_stars_are_those_of_the_paper(links):
    """Large-star links larger neighbours, small-star the node and its smaller ones, to the smallest of all; sorted, each link once."""
    both = [*links, *((other, one) for one, other in links)]
    down = [(max(link), min(link)) for link in links]
    assert list(zip(*map(np.ndarray.tolist, large_star(*columns(both))), strict=True)) == plain_star(both, "large")
    assert list(zip(*map(np.ndarray.tolist, small_star(*columns(down))), strict=True)) == plain_star(down, "small")


def test_a_node_without_a_minimum_is_an_error():
    """Chunks of which one was not folded are told, not read beyond."""
    with pytest.raises(ValueError, match="has no minimum"):
        starred(np.array([5]), np.array([6]), np.array([4]), np.array([4]), "large")
    with pytest.raises(ValueError, match="has no minimum"):
        starred(np.array([5]), np.array([6]), np.zeros(0, np.int64), np.zeros(0, np.int64), "large")
    with pytest.raises(ValueError, match="found 2 values; expected 1"):
        components(np.array([5]), np.array([6, 7]))


@settings(deadline=None)
@given(st.lists(st.tuples(PLACE, PLACE), max_size=20), st.randoms(use_true_random=False), st.integers(0, 20))
def test_a_digest_tells_links_apart_and_knows_no_order(links, random, cut):
    """Any order and any chunks give the same digest; another link or another direction gives another."""
    mixed = random.sample(links, len(links))
    parts = digest_links(*columns(mixed[:cut])) + digest_links(*columns(mixed[cut:]))
    assert digest_links(*columns(links)) == parts % 2**64
    assert digest_links(*columns([*links, (1, 2)])) not in {digest_links(*columns(links)), digest_links(*columns([*links, (2, 1)]))}


@pytest.mark.parametrize(("work", "most"), [(components, 81), (large_star, 65), (small_star, 81), (minima, 33)])
@pytest.mark.parametrize("shared", [False, True])
def test_memory_is_what_is_said(work, most, shared):
    """Bytes a link, where each node has one link and where all are in one chain."""
    num = 200_000
    u = np.arange(1, num + 1) * (1 if shared else 2)
    v = u - 1
    tracemalloc.start()
    try:
        found = work(u, v)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found[0]) <= 2 * num
    assert peak < most * num + 200_000
