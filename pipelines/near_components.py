"""Components, the sets of documents joined by verified pairs: they only group work, so that each can be decided in one task.

Edges that one task can hold need none. Else every task replaces the edges that it can hold by stars with the same components (union-find).
If those fit a task, it labels every document with the smallest place of its component; if not, large-star and small-star take turns
(Kiveris and others, "Connected Components in MapReduce and Beyond", SoCC 2014) until nothing changes. Documents of earlier runs join others
too, although they stay whatever is decided: for how many each one stands is counted where its component is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pyarrow as pa

from pipelines import faults
from pipelines.errors import UnitError
from pipelines.exchange import Source, gathered, read_chunks, read_source, write_by_digit
from pipelines.partitioning import By, ByHash
from pipelines.rows import Ints
from pipelines.steps import Steps, chunks, power_of_two, total_bytes, whole
from pipelines.worker import Attempt, Outcome, Worker

MAX_ROUNDS: Final = 100
"""A chain of a million documents with random labels takes 12 rounds, and the bound is the square of the logarithm of its length."""
MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class ContractJob:
    """Replace links by stars that join the same documents: each to the smallest of those that it is joined to."""

    sources: tuple[Source, ...]
    larger: str
    smaller: str
    kind: str = "contract"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the links (`node`, `root`)."""
        from operators.kernels.components import components  # noqa: PLC0415  numba takes half a second to import

        batches = [batch for source in self.sources for batch in read_source(worker, source)]
        node, root = components(
            *(np.concatenate([batch.column(name).to_numpy() for batch in batches]) for name in (self.larger, self.smaller))
        )
        with attempt.writer("links") as writer:
            writer.write(_links(node[node != root], root[node != root]))
            faults.point("exchange.before-record")
            return Outcome({"links": writer.finish()})


@dataclass(frozen=True, slots=True)
class LinksJob:
    """The first radix pass of links; with `both`, each in both directions, so that a partition has all links of a node."""

    sources: tuple[Source, ...]
    by: By
    shift: int
    bits: int
    both: bool
    kind: str = "links"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the links, a frame for each digit of the hash of their first node."""
        batch = gathered(worker, self.sources)
        with attempt.writer("rows") as writer:
            if batch is not None:
                if self.both:
                    node, root = batch.column("node").to_numpy(), batch.column("root").to_numpy()
                    batch = _links(np.concatenate([node, root]), np.concatenate([root, node]))
                write_by_digit(writer, batch, (self.by.of(batch) >> self.shift) & ((1 << self.bits) - 1), self.bits)
            faults.point("exchange.before-record")
            return Outcome({"rows": writer.finish()})


@dataclass(frozen=True, slots=True)
class StarJob:
    """One partition of nodes with all their links: what the large or the small star makes of them."""

    sources: tuple[Source, ...]
    star: Literal["large", "small"]
    task_bytes: int
    kind: str = "star"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the links; a partition that no task can hold (a node with very many links) is read twice."""
        from operators.kernels.components import digest_links  # noqa: PLC0415

        digest = 0
        with attempt.writer("links") as writer:
            size = sum(source.bytes for source in self.sources)
            for larger, smaller in self._at_once(worker) if size <= self.task_bytes else self._in_rounds(worker):
                digest = (digest + digest_links(larger, smaller)) & MASK
                writer.write(_links(larger, smaller))
            faults.point("exchange.before-record")
            detail = {"digest": f"{digest:016x}"}
            return Outcome({"links": writer.finish()}, detail=detail)

    def _at_once(self, worker: Worker) -> Iterator[tuple[Ints, Ints]]:
        from operators.kernels.components import large_star, small_star  # noqa: PLC0415

        batch = gathered(worker, self.sources)
        if batch is not None:
            yield (large_star if self.star == "large" else small_star)(*_ends(batch))

    def _in_rounds(self, worker: Worker) -> Iterator[tuple[Ints, Ints]]:
        from operators.kernels.components import minima, starred  # noqa: PLC0415

        nodes = smallest = np.zeros(0, np.int64)
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            more, least = minima(*_ends(chunk))
            nodes, smallest = minima(np.concatenate([nodes, more]), np.concatenate([smallest, least]))
        for chunk in read_chunks(worker, self.sources, self.task_bytes):
            yield starred(*_ends(chunk), nodes, smallest, self.star)


@dataclass(frozen=True, slots=True)
class LabelJob:
    """Edges of some documents with the label of their component: the root of the later document, or that itself."""

    edges: tuple[Source, ...]
    links: tuple[Source, ...]
    task_bytes: int
    kind: str = "label"

    def run(self, worker: Worker, attempt: Attempt) -> Outcome:
        """Write the edges with a column `label`."""
        node, root = _sorted_links(worker, self.links)
        with attempt.writer("edges") as writer:
            for chunk in read_chunks(worker, self.edges, self.task_bytes):
                writer.write(chunk.append_column("label", pa.array(_roots(chunk.column("later").to_numpy(), node, root))))
            faults.point("exchange.before-record")
            return Outcome({"edges": writer.finish()})


def by_component(steps: Steps, edges: Sequence[Source]) -> list[list[Source]]:
    """Edges in partitions such that each component is in one of them."""
    limit = steps.limits.task_bytes
    if total_bytes(edges) <= limit:
        return [list(edges)]
    links = _contracted(steps, chunks(edges, limit), "later", "earlier")
    fits = total_bytes(links) <= limit // 2  # union-find takes 96 bytes for a link of 16
    links = _contracted(steps, [links], "node", "root") if fits else _stars(steps, links)
    return _labelled(steps, edges, links)


def _contracted(steps: Steps, sources: Iterable[Sequence[Source]], larger: str, smaller: str) -> list[Source]:
    jobs = [ContractJob(tuple(some), larger, smaller) for some in sources if some]
    return steps.each([steps.work(job, job.sources, larger) for job in jobs], "links")


def _stars(steps: Steps, links: list[Source]) -> list[Source]:
    """Links of every document to the root of its component.

    Raises:
        UnitError: The rounds came to no end.
    """
    before = None
    for number in range(MAX_ROUNDS):
        links, _ = _star(steps, links, "large", number)
        links, digest = _star(steps, links, "small", number)
        if digest == before:
            return links
        before = digest
    raise UnitError(f"operator {steps.operator.name!r}: its components were not found in {MAX_ROUNDS} rounds; please report this")


def _star(steps: Steps, links: list[Source], star: Literal["large", "small"], number: int) -> tuple[list[Source], int]:
    def spread(sources: tuple[Source, ...], by: By, shift: int, bits: int) -> LinksJob:
        return LinksJob(sources, by, shift, bits, both=star == "large")

    limit = steps.limits.task_bytes
    by = ByHash("node", power_of_two(total_bytes(links) * (2 if star == "large" else 1), limit))
    partitions = steps.shuffle(links, by, by.num_partitions, spread)
    jobs = [StarJob(tuple(sources), star, limit) for sources in partitions if sources]
    found, digest = [], 0
    for record in steps.done([steps.work(job, job.sources, star, number) for job in jobs]):
        digest = (digest + int(record.detail["digest"], 16)) & MASK
        found.append(record.parts.get("links"))
    return [whole(part) for part in found if part is not None], digest


def _labelled(steps: Steps, edges: Sequence[Source], links: Sequence[Source]) -> list[list[Source]]:
    limit = steps.limits.task_bytes
    num_partitions = power_of_two(total_bytes(edges) * 5 // 4, limit)  # the label comes to each
    by_later = steps.shuffle(edges, ByHash("later", num_partitions), num_partitions)
    by_node = steps.shuffle(links, ByHash("node", num_partitions), num_partitions)
    jobs = [LabelJob(tuple(some), tuple(labels), limit) for some, labels in zip(by_later, by_node, strict=True) if some]
    labelled = steps.each([steps.work(job, [*job.edges, *job.links]) for job in jobs], "edges")
    return [some for some in steps.shuffle(labelled, ByHash("label", num_partitions), num_partitions) if some]


def _links(node: Ints, root: Ints) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"node": pa.array(node), "root": pa.array(root)})


def _ends(links: pa.RecordBatch) -> tuple[Ints, Ints]:
    return links.column("node").to_numpy(), links.column("root").to_numpy()


def _sorted_links(worker: Worker, sources: Sequence[Source]) -> tuple[Ints, Ints]:
    batch = gathered(worker, sources)
    if batch is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    node, root = _ends(batch)
    order = np.argsort(node, kind="stable")
    return node[order], root[order]


def _roots(place: Ints, node: Ints, root: Ints) -> Ints:
    """Roots of documents; one that has no link is its own."""
    if len(node) == 0:
        return place
    at = np.minimum(np.searchsorted(node, place), len(node) - 1)
    return np.where(node[at] == place, root[at], place)
