"""The paths of near-duplicate removal for what does not fit one task: each is taken, and none of them shows in the result.

Which path is taken is told by the kinds of the records and by what the jobs are given. Components and decisions are driven directly too,
with edges that no corpus would have: a chain of a million documents, a component of a hundred thousand.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from near_made import TINY, Exchange, Rule, doc_key
from pipelines_made import ROOT
from test_near import corpus

from operators import near
from operators.kernels import buckets
from operators.minhash import MinhashDedup
from pipelines.exchange import Limits, PartitionJob, Source
from pipelines.frames import read_frames, refs
from pipelines.near_candidates import BucketJob, SpreadJob
from pipelines.near_components import ContractJob, LinksJob, StarJob, by_component
from pipelines.near_decide import decide
from pipelines.near_pairs import VerifyJob
from pipelines.partitioning import ROW_BITS
from pipelines.steps import chunks, total_bytes
from pipelines.storage import Store, open_store
from pipelines.worker import Attempt, Job

pytestmark = pytest.mark.usefixtures("no_fsync")

Ints = npt.NDArray[np.int64]

KINDS = {
    "spread", "partition", "buckets", "verify", "meet", "contract", "links", "star", "label", "resolve", "cut", "slice", "count", "gather",
}  # fmt: skip
EASY: dict[str, Any] = {"name": "near", "bands": 20, "rows": 1, "shingle_size": 2, "threshold": 0.3, "max_candidates": 4}
"""Documents of few words meet easily and have many near-duplicates."""


@pytest.fixture
def store(shm_path: Path) -> Store:
    """A store for what is too large to be copied again and again."""
    return open_store(str(shm_path))


class Watch:
    """What jobs were given.

    Attributes:
        largest: Bytes that jobs which hold all of their rows had, where that was more than one frame, in parts of the bound.
        paths: The paths that jobs took because something did not fit.
        rounds: Rounds of large and small star.
    """

    def __init__(self) -> None:
        self.largest = 0.0
        self.paths: Counter[str] = Counter()
        self.rounds = 0
        self._star = "small"

    def __call__(self, job: Job, limits: Limits) -> None:
        match job:
            case SpreadJob() | PartitionJob() | LinksJob():
                self._holds(job.sources, limits)
            case ContractJob():
                self._holds(job.sources, limits)
                self.paths["union-find"] += job.larger == "node"
            case BucketJob():
                self.paths["bucket in rounds"] += total_bytes(job.sources) > 2 * limits.task_bytes
            case VerifyJob():
                self.paths["pairs in rounds"] += total_bytes(job.pairs) > 2 * limits.task_bytes
                self.paths["features in rounds"] += job.stretch.bytes > 2 * limits.task_bytes
            case StarJob():
                self.rounds += (self._star, job.star) == ("small", "large")
                self._star = job.star
                self.paths["star in rounds"] += total_bytes(job.sources) > 2 * limits.task_bytes

    def _holds(self, sources: Sequence[Source], limits: Limits) -> None:
        if len(sources) > 1 or len(sources[0].frames) > 1:
            self.largest = max(self.largest, total_bytes(sources) / limits.task_bytes)


# --- whole exchanges


@pytest.mark.parametrize("verify", ["estimate", "exact"])
@pytest.mark.parametrize("policy", [{}, {"keep": "longest", "num_duplicates": "copies"}, {"keep": "highest", "by": "score"}], ids=str)
def test_every_path_is_taken_and_none_changes_a_verdict(verify, policy):
    """A corpus with one component that no task holds: bounded tasks of every kind say what one task says, and what plain Python says."""
    files = corpus(90, 3, 5)
    operator = MinhashDedup(**EASY, verify=verify, **policy)
    wanted = Rule.of(operator, files).verdicts(operator, files)
    assert len(wanted) > 30
    bounded = Exchange(operator, TINY)
    assert bounded.verdicts(files) == wanted
    assert set(bounded.kinds) == KINDS
    plain = Exchange(operator)
    assert plain.verdicts(files) == wanted
    assert set(plain.kinds) < {"decide", "gather", "spread", "buckets", "verify", "resolve"}


def test_pairs_that_many_bands_propose_are_held_once(monkeypatch):
    """Of copies every band proposes the same pairs; what is decided at once makes them one as they come, and says the same."""
    files = corpus(90, 3, 5)
    operator = MinhashDedup(**EASY)
    wanted = Rule.of(operator, files).verdicts(operator, files)
    held = 0
    unique_pairs = buckets.unique_pairs

    def watched(earlier: Ints, later: Ints) -> tuple[Ints, Ints]:
        nonlocal held
        held = max(held, len(later))
        return unique_pairs(earlier, later)

    monkeypatch.setattr(buckets, "unique_pairs", watched)
    assert Exchange(operator).verdicts(files, 100, 100) == wanted
    at_once, held = held, 0
    monkeypatch.setattr(near, "PROPOSED_PAIRS", 16)
    assert Exchange(operator).verdicts(files, 100, 100) == wanted
    assert 0 < held < at_once / 2


@pytest.mark.parametrize(("most", "first"), [(4, "decide"), (1024, "spread")])
def test_what_may_propose_too_many_pairs_is_not_decided_at_once(most, first):
    """The cap of candidates decides with the keys' size: their pairs would take many times a task's memory."""
    files = corpus(90, 3, 5)
    operator = MinhashDedup(**EASY | {"max_candidates": most})
    exchange = Exchange(operator, Limits(1 << 16, 1 << 14))
    assert exchange.verdicts(files, 100, 100) == Rule.of(operator, files).verdicts(operator, files)
    assert next(iter(exchange.kinds)) == first


@pytest.mark.parametrize(("shingle", "growth"), [("word", 1.5), ("char", 8)])
def test_shingles_of_characters_are_counted_as_the_many_that_they_are(shingle, growth):
    """Where verification is exact, a stretch's size has eight bytes for each character."""
    stretches = []

    def watch(job: Job, _limits: Limits) -> None:
        if isinstance(job, VerifyJob):
            stretches.append(job.stretch.bytes)

    files = corpus(40, 1, 5)
    operator = MinhashDedup(**EASY | {"verify": "exact", "shingle": shingle})
    Exchange(operator, watch=watch).verdicts(files, 100, 100)
    text_bytes = sum(len(text.encode()) for text in files[0].column("text").to_pylist())
    assert max(stretches) > growth * text_bytes


def test_what_a_task_holds_at_once_is_bounded(subtests):
    """Where every document has many pairs, what one task leaves is more than another can hold, and comes to it in pieces."""
    files = corpus(110, 2, 1)
    for task_bytes in (1 << 11, 1 << 14):
        with subtests.test(task_bytes=task_bytes):
            watch = Watch()
            operator = MinhashDedup(**EASY | {"max_candidates": 16})
            Exchange(operator, Limits(task_bytes, task_bytes >> 2, 3), watch=watch).verdicts(files, 20, 5)
            assert 0 < watch.largest <= 1


@pytest.mark.parametrize("verify", ["estimate", "exact"])
@pytest.mark.parametrize("policy", [{}, {"keep": "highest", "by": "score"}], ids=str)
def test_what_no_task_holds_is_done_in_rounds(verify, policy):
    """A stretch's pairs and the features of one large unit are each far above a task, and change nothing."""
    files = [batch.take(pa.array([0 if row % 3 else row for row in range(90)])) for batch in corpus(90, 1, 3)]
    operator = MinhashDedup(**EASY | {"bands": 3, "rows": 1, "max_candidates": 8}, verify=verify, **policy)
    watch = Watch()
    found = Exchange(operator, Limits(1 << 10, 1 << 8, 2), watch=watch).verdicts(files, 100, 9)
    assert found == Rule.of(operator, files).verdicts(operator, files)
    assert set(+watch.paths) >= {"pairs in rounds", "features in rounds"}


@pytest.mark.parametrize("policy", [{}, {"keep": "longest"}], ids=str)
@pytest.mark.parametrize("cap", [1, 3, 8])
def test_a_bucket_above_a_task_proposes_what_it_does_at_once(cap, policy):
    """Every row of a bucket meets the first ones of the bucket in keep order, wherever the chunks of the rounds begin."""
    draw = np.random.default_rng(cap)
    place = draw.permutation(600).astype(np.int64) << ROW_BITS >> 6
    columns = {"key_hi": np.where(draw.random(600) < 0.6, 7, draw.integers(0, 90, 600)).astype(np.uint64), "place": place}
    if policy:
        columns |= {name: draw.integers(0, 9, 600).astype(np.uint64) for name in ("rank", "tie")}
    rows = pa.RecordBatch.from_pydict(columns)
    exchange = Exchange(MinhashDedup(name="near", max_candidates=cap, **policy))
    source = exchange.source("rows", [rows.slice(start, 25) for start in range(0, 600, 25)])
    buckets: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows.to_pylist():
        document = (row["place"] >> ROW_BITS, row["place"] & ((1 << ROW_BITS) - 1))
        words = (row["rank"], row["tie"], doc_key(document)) if policy else ()
        buckets.setdefault(row["key_hi"], []).append((*words, row["place"]))
    for members in buckets.values():
        members.sort()
    wanted = {
        (members[position][-1], earlier[-1])
        for members in buckets.values()
        for position in range(len(members))
        for earlier in members[: min(position, cap)]
    }
    for task_bytes in (1 << 20, 3000, 1000):
        job = BucketJob(exchange.steps.operator, (source,), task_bytes)
        outcome = job.run(exchange, Attempt(exchange.log, f"{task_bytes:032x}"))
        pairs = [row for batch in read_frames(exchange.store, refs(outcome.parts["pairs"])) for row in batch.to_pylist()]
        assert Counter((row["later"], row["earlier"]) for row in pairs) == Counter(wanted)


def test_pieces_of_a_source_are_all_of_it():
    """What is cut between its frames has every frame once, in order, and its size."""
    exchange = Exchange(MinhashDedup(name="near"))
    batches = [pa.RecordBatch.from_pydict({"x": np.arange(size)}) for size in (10, 500, 3, 3, 900, 20, 1)]
    source = exchange.source("rows", batches)
    for size in (1, 100, 1000, 5000, 1 << 20):
        pieces = list(chunks([source, source], size))
        assert [frame for piece in pieces for one in piece for frame in one.frames] == [*source.frames, *source.frames]
        assert all(total_bytes(piece) <= size or sum(len(one.frames) for one in piece) == 1 for piece in pieces)
        assert total_bytes(one for piece in pieces for one in piece) == pytest.approx(2 * source.bytes, abs=20)


# --- components


def linked(exchange: Exchange, one: Ints, other: Ints, frame_rows: int = 1 << 16, wide: int = 48) -> list[Source]:
    """Edges between documents, as some tasks may have left them; `wide` for what they say beside their ends."""
    said = pa.FixedSizeBinaryArray.from_buffers(pa.binary(wide), len(one), [None, pa.py_buffer(bytes(wide * len(one)))])
    edges = pa.RecordBatch.from_pydict({"later": np.maximum(one, other), "earlier": np.minimum(one, other), "said": said})
    return [exchange.source("edges", [edges.slice(start, frame_rows)]) for start in range(0, edges.num_rows, frame_rows)]


def components(links: Sequence[tuple[int, int]]) -> dict[int, int]:
    """The smallest of each document's component, by walking."""
    neighbours: dict[int, list[int]] = {}
    for one, other in links:
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    root: dict[int, int] = {}
    for node in sorted(neighbours):
        ahead = [node]
        while ahead:
            here = ahead.pop()
            if here not in root:
                root[here] = node
                ahead += neighbours[here]
    return root


def random_graph(num_nodes: int, num_links: int) -> list[tuple[int, int]]:
    """Links between different nodes, each once."""
    ends = np.random.default_rng(num_links).integers(0, num_nodes, (num_links, 2)).tolist()
    return sorted({(max(pair), min(pair)) for pair in ends if pair[0] != pair[1]})


GRAPHS = {
    "path": [(node + 1, node) for node in range(200)],
    "star": [(node, 0) for node in range(1, 200)],
    "clique": [(later, earlier) for later in range(20) for earlier in range(later)],
    "cliques": [(five + later, five + earlier) for five in range(0, 150, 5) for later in range(5) for earlier in range(later)],
    "pairs": [(node, node - 1) for node in range(1, 400, 2)],
    "sparse": random_graph(300, 200),
    "dense": random_graph(150, 300),
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("task_bytes", [1 << 20, 12000, 1000], ids=["at once", "union-find", "stars"])
def test_a_component_is_in_one_partition(graph, task_bytes):
    """Whatever the graph and however its nodes are numbered, every edge comes out once, and those of a component together."""
    draw = np.random.default_rng(4)
    names = draw.choice(np.int64(3) << ROW_BITS, 1000, replace=False)
    links = names[draw.permutation(np.array(GRAPHS[graph]))]
    wanted = Counter((max(pair), min(pair)) for pair in links.tolist())
    watch = Watch()
    exchange = Exchange(MinhashDedup(name="near"), Limits(task_bytes, task_bytes // 16, 3), watch=watch)
    parts = by_component(exchange.steps, linked(exchange, *links.T, frame_rows=19))
    tables = [exchange.rows(sources).select(["later", "earlier"]).to_pylist() for sources in parts]
    ends = [[(row["later"], row["earlier"]) for row in table] for table in tables]
    assert sum(map(Counter, ends), Counter()) == wanted
    root = components(list(wanted))
    found = [{root[later] for later, _ in pairs} for pairs in ends]
    assert sum(map(len, found)) == len(set(root.values()))
    assert (len(found) > 1) == (len(set(root.values())) > 1 and task_bytes < 1 << 20)
    assert (watch.paths["union-find"] > 0) == (task_bytes == 12000)
    assert (task_bytes == 1000) <= watch.rounds <= (10 if task_bytes == 1000 else 0)
    assert watch.largest <= 1


def test_a_document_with_more_links_than_a_task_holds():
    """The first of very many: its star is made in two passes over its links."""
    watch = Watch()
    exchange = Exchange(MinhashDedup(name="near"), Limits(2000, 500, 3), watch=watch)
    nodes = np.random.default_rng(5).permutation(np.arange(1, 1200))
    edges = np.concatenate([nodes, nodes[:-1:2]]), np.concatenate([np.zeros(1199, np.int64), nodes[1::2]])
    (found,) = by_component(exchange.steps, linked(exchange, *edges, frame_rows=40))
    assert watch.paths["star in rounds"] > 0
    assert set(exchange.rows(found).column("label").to_pylist()) == {0}


def test_a_chain_of_a_million_in_any_order_takes_few_rounds(store):
    """Labels passed from neighbour to neighbour would take a million rounds; here tasks of 4 MiB take 8, the last of which proves it."""
    names = np.random.default_rng(1).permutation(1_000_000)
    watch = Watch()
    exchange = Exchange(MinhashDedup(name="near"), Limits(4 << 20, 1 << 18), store=store, watch=watch)
    edges = linked(exchange, names[1:], names[:-1], wide=1)
    (found,) = by_component(exchange.steps, edges)
    assert total_bytes(found) > total_bytes(edges)
    assert exchange.kinds["star"] > 2 * watch.rounds
    assert watch.largest <= 1
    assert watch.rounds <= 10
    assert set(exchange.rows(found).column("label").to_pylist()) == {0}


# --- the decision

SHAPES = ("chain", "star", "clique", "random")


def shape(name: str, size: int) -> tuple[Ints, Ints]:
    """Edges of one component: numbers in keep order of the later and the earlier documents, in no order."""
    draw = np.random.default_rng(size)
    later = np.arange(1, size)
    match name:
        case "chain":
            earlier = later - 1
        case "star":
            earlier = np.zeros(size - 1, np.int64)
        case "clique":
            later, earlier = np.tril_indices(math.isqrt(2 * size), -1)
        case _:
            later = np.concatenate([later, later, later[later % 7 == 0]])
            earlier = draw.integers(0, later)
    order = draw.permutation(len(later))
    return later[order].astype(np.int64), earlier[order].astype(np.int64)


def verified(later: Ints, earlier: Ints, *, policy: bool) -> tuple[Ints, pa.RecordBatch]:
    """The place of each document, and edges between them. With a policy places say nothing of keep order, and only its last word all."""
    size = int(later.max()) + 1
    draw = np.random.default_rng(size)
    place = draw.choice(np.int64(5) << ROW_BITS, size, replace=False)
    if not policy:
        place.sort()
    keys = np.zeros((size, 2), ">u8")
    keys[:, 1] = place
    said = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(later), [None, pa.py_buffer(keys[earlier].tobytes())])
    columns = {"later": place[later], "earlier": place[earlier], "similarity": np.ones(len(later), np.float32), "kept_doc_key": said}
    if policy:
        number = np.arange(size).astype(np.uint64)
        words = {"rank": number >> 9, "rank_next": number * 0, "tie": number >> 9 << 40, "doc_hi": number >> 3, "doc_lo": number << 50}
        for side, ends in (("later_", later), ("earlier_", earlier)):
            columns |= {side + name: word[ends] for name, word in words.items()}
    return place, pa.RecordBatch.from_pydict(columns)


def greedy(later: Ints, earlier: Ints) -> dict[int, int]:
    """Who goes for whom: documents are numbered in keep order."""
    pairs: dict[int, list[int]] = {}
    for one, other in zip(later.tolist(), earlier.tolist(), strict=True):
        pairs.setdefault(one, []).append(other)
    removed: dict[int, int] = {}
    for document in sorted(pairs):
        kept = [other for other in pairs[document] if other not in removed]
        if kept:
            removed[document] = min(kept)
    return removed


@pytest.mark.parametrize("policy", [False, True], ids=["first", "policy"])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("size", "task_bytes"), [(700, 4 << 10), (100_000, 1 << 20)])
def test_one_component_is_decided_in_slices_as_at_once(store, name, policy, size, task_bytes):
    """A component many times a task is decided slice by slice of keep order as plain Python decides it, with every count."""
    ends = shape(name, size)
    place, edges = verified(*ends, policy=policy)
    operator = MinhashDedup(name="near", num_duplicates="copies", **({"keep": "longest"} if policy else {}))
    exchange = Exchange(operator, Limits(task_bytes, task_bytes // 8), store=store)
    given = [exchange.source("edges", [edges.slice(start, size // 64)]) for start in range(0, edges.num_rows, size // 64)]
    told = exchange.rows(decide(exchange.steps, [given]))
    assert exchange.kinds["slice"] > 2
    found = {
        (row["file"] << ROW_BITS) | row["row"]: (row["kept_doc_key"], row["num_duplicates"])
        for row in told.select(["file", "row", "kept_doc_key", "num_duplicates"]).to_pylist()
    }
    removed = greedy(*ends)
    number = Counter(removed.values())
    names = place.tolist()
    wanted: dict[int, Any] = {names[kept]: (None, count) for kept, count in number.items()}
    wanted |= {names[later]: (names[kept].to_bytes(16, "big"), number[kept]) for later, kept in removed.items()}
    assert len(found) == told.num_rows
    assert found == wanted


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system tells no peak of a process's memory")
@pytest.mark.chaos
def test_memory_is_bounded_by_what_a_task_may_hold(store):
    """One component of 100,000 documents takes a task's bound a few times and something fixed, where tasks may not hold all of it."""
    later, earlier = shape("random", 100_000)
    _, edges = verified(np.tile(later, 2), np.concatenate([earlier, earlier // 2]), policy=True)
    given = [
        Exchange(MinhashDedup(name="near"), store=store).source("edges", [edges.slice(start, 8192)]) for start in range(0, len(edges), 8192)
    ]
    sources = json.dumps([[one.frames, one.bytes] for one in given])
    command = [sys.executable, str(Path(__file__).with_name("near_memory.py")), store.uri, sources]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert ran.returncode == 0, ran.stderr
    (small, bounded), (large, _) = json.loads(ran.stdout)
    assert {"contract", "links", "star", "label", "cut", "slice", "count"} <= set(bounded)
    assert small < 14 * (2 << 20) + (16 << 20) < edges.nbytes < large
