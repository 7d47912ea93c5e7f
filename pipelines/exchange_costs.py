"""What the exchange of each group operator costs: its steps in order, from the corpus, the operator's settings and what is assumed.

Follows `grouping.py`, `near_grouping.py` and `passage_grouping.py` step by step. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from operators.base import GroupOperator
from operators.dedup import DedupOperator
from operators.exact_dedup import ExactDedup
from operators.minhash import SIGNATURE_BYTES, MinhashDedup
from operators.near import NearOperator
from operators.passages import PassageOperator
from operators.url_dedup import UrlDedup
from pipelines.costs import Corpus, Flow, Shares, Step, shuffled, step, unit_rows
from pipelines.exchange import Limits
from pipelines.near_grouping import BUCKET_BYTES, WORD_BYTES, fits_at_once
from pipelines.steps import power_of_two
from pipelines.verdicts import counts_kept

PLACE_BYTES: Final = 16
"""A document's file and row."""
KEY_BYTES: Final = 16
PASSAGE_BYTES: Final = PLACE_BYTES + 4 + KEY_BYTES
COUNT_BYTES: Final = KEY_BYTES + 8 + 8
"""In how many documents of a file a passage is: its key, the file's place, and the number."""
OFFSET_BYTES: Final = 4
HEX_CHARS: Final = 32
LINK_BYTES: Final = 16
DOC_WORDS_BYTES: Final = 16
VERDICT_BYTES: Final = PLACE_BYTES + 16 + OFFSET_BYTES + 4 + 8
"""A verdict without the kept document's id."""
HISTORY_BYTES: Final = 8
"""What a document's row has more in a history: its place takes 8 bytes instead of 16 there, its doc_key 16."""
LINKS_REMOVED: Final = 2
"""Links that union-find leaves for each removed document, at most: 1.7 of a million documents in six tasks, 1.0 of ten million in two."""

SIGNATURE_RATE: Final = 225e6
"""Text a CPU second: 400 MB/s of English in documents of 4 kB, 118 of many languages, 222 of the test corpus (`bench_dedup.py`)."""
CHARS_RATE: Final = 60e6
SETS_RATE: Final = 185e6
"""Sets of shingles for exact verification, from the text again."""
EXACT_RATES: Final = {"none": 2000e6, "whitespace": 50e6, "lowercase": 40e6, "words": 23e6}
LINE_RATES: Final = {"lines": 250e6, "paragraphs": 200e6}
"""With white space normalised; in languages that are not written in ASCII a third of it."""
URL_SECONDS: Final = 0.5e-6
OTHER_RATE: Final = 100e6
"""Assumed for an operator that we do not know."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The exchange of one group operator."""

    operator: GroupOperator
    corpus: Corpus
    limits: Limits
    shares: Shares

    def steps(self) -> list[Step]:
        """Its steps, in order; the first is what units do for it. None where there are no documents."""
        if self.corpus.documents == 0:
            return []
        match self.operator:
            case NearOperator():
                return list(_near(self, self.operator))
            case PassageOperator():
                return list(_passages(self, self.operator))
            case _:
                return list(_keyed(self, self.operator))

    @property
    def id_bytes(self) -> int:
        """Of a document's own id in a row; 0 where it has none."""
        return self.corpus.id_bytes + OFFSET_BYTES if self.corpus.id_bytes else 0

    @property
    def word_bytes(self) -> int:
        """Of the keep policy's words in a row."""
        if not isinstance(self.operator, DedupOperator) or self.operator.keep == "first":
            return 0
        return 16 if self.operator.keep in ("longest", "priority") else WORD_BYTES

    @property
    def verdict_bytes(self) -> int:
        """Of a verdict on a document."""
        return VERDICT_BYTES + (self.corpus.id_bytes or HEX_CHARS)

    def scan(self, written: list[float]) -> Step:
        """What units do beside their other work: make keys and write them."""
        cpu = _key_seconds(self.operator, self.corpus)
        one = step("keys", "retain", self.corpus.units, 0, written, 0, self.corpus.frames(sum(written)) * len(written), 0)
        return Step("keys", "unit", 0, 0, one.written_bytes, one.requests - one.tasks, cpu, one.frames, one.peak_bytes)

    def gather(self, size: float, sources: float) -> Iterator[Step]:
        """Bring verdicts back to the units."""
        limits, units = self.limits, self.corpus.units
        if size <= 0:
            return
        flow = Flow(size, sources, sources, sources, self.verdict_bytes)
        by_bytes = math.ceil(size / limits.task_bytes)
        width = -(-units // max(by_bytes, -(-units // limits.task_units)))
        ranges = -(-units // width)
        read = flow.bytes * ranges
        requests = flow.requests * ranges
        if by_bytes > 1:
            passed = shuffled("verdicts by place", flow, power_of_two(ranges, 1), limits, used=ranges)
            yield from passed.steps
            read, requests = flow.bytes, passed.flow.requests
        yield step("gather", "gather", ranges, read, [size], requests, units, min(size / ranges, limits.task_bytes))

    def retain(self, size: float) -> Iterator[Step]:
        """Write what stays into the history."""
        if self.corpus.leaves and size:
            flow = unit_rows(self.corpus, size, 1)
            tasks = flow.tasks(self.limits.task_bytes)
            yield step("history", "retain", tasks, size, [size], flow.requests, flow.frames, 0)


def _key_seconds(operator: GroupOperator, corpus: Corpus) -> float:
    match operator:
        case MinhashDedup():
            return corpus.text_bytes / (SIGNATURE_RATE if operator.shingle == "word" else CHARS_RATE)
        case ExactDedup():
            return corpus.text_bytes / EXACT_RATES[operator.normalize]
        case UrlDedup():
            return corpus.documents * URL_SECONDS
        case PassageOperator():
            return corpus.text_bytes / LINE_RATES[operator.kind]
        case _:
            return corpus.text_bytes / OTHER_RATE


# --- equal keys


def _keyed(of: Exchange, operator: GroupOperator) -> Iterator[Step]:
    row = PLACE_BYTES + KEY_BYTES + of.word_bytes + of.id_bytes
    size = of.corpus.documents * row
    yield of.scan([size])
    flow = unit_rows(of.corpus, size, row).with_more(of.corpus.earlier("keys"))
    partitions = power_of_two(int(flow.bytes), of.limits.task_bytes)
    passed = shuffled("keys by partition", flow, partitions, of.limits)
    yield from passed.steps
    marks = 2 if counts_kept(operator) else 1
    told = of.corpus.documents * of.shares.removed * of.verdict_bytes * marks
    flow = passed.flow
    yield step("decide", "decide", partitions, flow.bytes, [told], flow.requests, partitions, flow.bytes / partitions)
    yield from of.gather(told, partitions)
    yield from of.retain(size + of.corpus.documents * HISTORY_BYTES)


# --- passages


def _passages(of: Exchange, operator: PassageOperator) -> Iterator[Step]:
    each = of.shares.line_bytes if operator.kind == "lines" else of.shares.paragraph_bytes
    number = of.corpus.text_bytes / each
    yield of.scan([number * PASSAGE_BYTES])
    earlier = of.corpus.earlier("counts")
    flow = unit_rows(of.corpus, number * PASSAGE_BYTES, PASSAGE_BYTES)
    partitions = power_of_two(int(flow.bytes + earlier), of.limits.task_bytes)
    passed = shuffled("keys by partition", flow, partitions, of.limits)
    yield from passed.steps
    flow = passed.flow
    if earlier:
        known = shuffled("counts of earlier runs", Flow(0, 0, 0, 0, COUNT_BYTES).with_more(earlier), partitions, of.limits)
        yield from known.steps
        flow = Flow(flow.rows + earlier, 1, flow.frames + known.flow.frames, flow.requests + known.flow.requests, PASSAGE_BYTES)
    told = number * of.shares.cut * (PLACE_BYTES + 4)
    counts = number * (1 - of.shares.cut) * COUNT_BYTES if of.corpus.leaves else 0
    passes = 2 if of.corpus.leaves or earlier else 1  # counted first, judged then
    written = [told, counts]
    read, gets, held = flow.bytes * passes, flow.requests * passes, flow.bytes / partitions
    yield step("decide", "decide", partitions, read, written, gets, partitions, held, rate="decide passages")
    yield from of.gather(told, partitions)
    yield from of.retain(counts)


# --- near-duplicates


def _near(of: Exchange, operator: NearOperator) -> Iterator[Step]:
    corpus, limits, documents = of.corpus, of.limits, of.corpus.documents
    feature = getattr(operator, "num_hashes", 8 * operator.num_bands) * SIGNATURE_BYTES if operator.verify == "estimate" else 0
    keys = documents * (PLACE_BYTES + 8 * operator.num_bands + of.word_bytes)
    features = documents * (PLACE_BYTES + of.word_bytes + feature + of.id_bytes)
    yield of.scan([keys, features])
    marks = 2 if counts_kept(operator) else 1
    told = documents * of.shares.removed * of.verdict_bytes * marks
    has_history = corpus.earlier_bytes is not None
    if not has_history and fits_at_once(operator, documents, keys + features, limits.task_bytes):
        gets = 2 * unit_rows(corpus, max(keys, features) / 2, 1).requests
        yield step("decide, all at once", "decide", 1, keys + features, [told], gets, 1, keys + features, rate="decide at once")
        yield from of.gather(told, 1)
        return
    found: list[Step] = []
    pairs = _buckets(of, operator, keys, features, found)
    edges = _verified(of, operator, pairs, features, found)
    decided = _components(of, edges, told, found)
    yield from found
    yield from of.gather(told, decided)
    yield from of.retain(features + documents * (HISTORY_BYTES + BUCKET_BYTES * operator.num_bands))


def _buckets(of: Exchange, operator: NearOperator, keys: float, features: float, found: list[Step]) -> Flow:
    """The pairs that buckets propose: of each partition of keys every pair once."""
    corpus, limits, shares = of.corpus, of.limits, of.shares
    row = BUCKET_BYTES + of.word_bytes
    size = corpus.documents * operator.num_bands * row
    heads = corpus.earlier("heads")
    planned = corpus.documents * operator.num_bands * (BUCKET_BYTES + (WORD_BYTES if of.word_bytes else 0))
    partitions = power_of_two(planned + heads, limits.task_bytes)
    passed = shuffled("keys by bucket", unit_rows(corpus, keys, row, features), partitions, limits, first="spread", grown=size / keys)
    found += passed.steps
    requests = passed.flow.requests
    if heads:
        known = shuffled("buckets of earlier runs", Flow(0, 0, 0, 0, row).with_more(heads), partitions, limits)
        found += known.steps
        requests += known.flow.requests
    seen = partitions * (1 - (1 - 1 / partitions) ** shares.meetings)
    pairs = corpus.documents * shares.pairs * seen * 16
    left = size if corpus.leaves else 0
    found.append(step("buckets", "buckets", partitions, size + heads, [pairs, left], requests, partitions, (size + heads) / partitions))
    return Flow(pairs, partitions, max(partitions, pairs / (64 << 20)), max(partitions, pairs / (64 << 20)), 16)


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Neighbouring units whose features a task holds, and what reading the features of all of them takes."""

    number: int
    held: float
    bytes: float
    requests: float
    fits: bool

    @classmethod
    def of(cls, of: Exchange, operator: NearOperator, features: float) -> _Stretches:
        """As the driver cuts them."""
        corpus, limit = of.corpus, of.limits.task_bytes
        texts = corpus.text_bytes if operator.verify == "exact" else 0
        held = features + texts * operator.shingle_growth
        number = math.ceil(corpus.units / max(1, limit // max(held / corpus.units, 1)))
        requests = unit_rows(corpus, features, 1).requests + (unit_rows(corpus, texts, 1).requests if texts else 0)
        return cls(number, held / number, features + texts, requests, fits=held / number <= 2 * limit)

    def times(self, number: float) -> tuple[float, float]:
        """Bytes and requests of so many readings."""
        return self.bytes * number, self.requests * number


def _verified(of: Exchange, operator: NearOperator, pairs: Flow, features: float, found: list[Step]) -> Flow:
    """The pairs that reach the threshold."""
    corpus, limits, shares = of.corpus, of.limits, of.shares
    earlier = corpus.earlier("features")
    own = _Stretches.of(of, operator, features)
    number = own.number + (math.ceil(earlier / limits.task_bytes) if earlier else 0)
    passed = shuffled("pairs by document", pairs, power_of_two(number, 1), limits, used=number)
    found += passed.steps
    distinct = corpus.documents * shares.pairs
    rounds = max(1, math.ceil(pairs.bytes / own.number / (2 * limits.task_bytes)))
    slices = 1 if own.fits else max(1, math.ceil(shares.met * own.held / limits.task_bytes / rounds))
    local = distinct / number if own.fits else 0.0
    size = of.word_bytes + (_feature_bytes(of, operator))
    carried = (distinct - local) * (16 + size) if number > 1 or not own.fits else 0.0
    edge = 16 + 4 + 16 + of.id_bytes + 2 * (of.word_bytes and of.word_bytes + DOC_WORDS_BYTES)
    edges = distinct * min(1.0, shares.verified / shares.pairs) * edge
    here = edges * local / distinct
    read, gets = own.times(rounds * slices)
    held = min(own.held, limits.task_bytes)
    requests = passed.flow.requests * rounds + gets
    frames = 2 * own.number
    one = step("verify", "verify", own.number, passed.flow.bytes * rounds + read, [here, carried], requests, frames, held)
    found.append(_with_sets(of, operator, one, rounds * slices))
    if carried:
        flow = Flow(carried, own.number, max(own.number, carried / (16 << 20)), max(own.number, carried / (16 << 20)), 16 + size)
        passed = shuffled("pairs to the earlier document", flow, power_of_two(number, 1), limits, used=number)
        found += passed.steps
        again = max(1, math.ceil(carried / number / limits.task_bytes))
        read, gets = own.times(again)
        size = carried + read + earlier * again
        one = step("meet", "meet", number, size, [edges - here], passed.flow.requests + gets, number, limits.task_bytes)
        found.append(_with_sets(of, operator, one, again))
    return Flow(edges, own.number + (number if carried else 0), 2 * number, 2 * number, edge)


def _feature_bytes(of: Exchange, operator: NearOperator) -> float:
    """Of what verification compares, a document: a signature, or eight bytes a shingle."""
    if operator.verify == "estimate":
        return float(getattr(operator, "num_hashes", 8 * operator.num_bands) * SIGNATURE_BYTES)
    return of.corpus.text_bytes / max(of.corpus.documents, 1) * 1.2


def _with_sets(of: Exchange, operator: NearOperator, one: Step, times: float) -> Step:
    """The step with the CPU of making shingles from the text, where verification is exact."""
    if operator.verify == "estimate":
        return one
    share = min(1.0, 2 * of.shares.met)  # either document of a pair
    values = {name: getattr(one, name) for name in one.__slots__}
    return Step(**{**values, "cpu_seconds": one.cpu_seconds + of.corpus.text_bytes * share * times / SETS_RATE})


def _components(of: Exchange, edges: Flow, told: float, found: list[Step]) -> int:
    """Decide the edges, component by component; returns how many tasks did."""
    limits = of.limits
    if edges.bytes <= limits.task_bytes:
        found.append(step("decide", "resolve", 1, edges.bytes, [told], edges.requests, 1, edges.bytes))
        return 1
    tasks = edges.tasks(limits.task_bytes)
    verified = edges.rows / edges.row_bytes
    links = min(verified, of.corpus.documents * of.shares.removed * LINKS_REMOVED) * LINK_BYTES
    found.append(step("union-find", "contract", tasks, edges.bytes, [links], edges.requests, tasks, limits.task_bytes))
    flow = Flow(links, tasks, tasks, tasks, LINK_BYTES)
    if links <= limits.task_bytes // 2:
        found.append(step("union-find of all", "contract", 1, links, [links / LINKS_REMOVED], flow.requests, 1, 2 * links))
        flow = Flow(links / LINKS_REMOVED, 1, 1, 1, LINK_BYTES)
    else:
        flow = _stars(of, flow, found)
    partitions = power_of_two(int(edges.bytes * 5 // 4), limits.task_bytes)
    by_later = shuffled("edges by document", edges, partitions, limits)
    by_node = shuffled("labels by document", flow, partitions, limits)
    labelled = edges.rows * (edges.row_bytes + 8) / edges.row_bytes
    read, gets = edges.bytes + by_node.flow.bytes, by_later.flow.requests + by_node.flow.requests
    held = read / partitions
    found += [*by_later.steps, *by_node.steps]
    found.append(step("label", "label", partitions, read, [labelled], gets, partitions, held))
    by_label = shuffled("edges by component", Flow(labelled, partitions, partitions, partitions, edges.row_bytes + 8), partitions, limits)
    found += by_label.steps
    found.append(step("decide", "resolve", partitions, labelled, [told], by_label.flow.requests, partitions, labelled / partitions))
    return partitions


def _stars(of: Exchange, links: Flow, found: list[Step]) -> Flow:
    """Rounds of large and small star; each kind of step is told once, for all rounds."""
    limits, rounds = of.limits, of.shares.rounds
    made: list[Step] = []
    for star, grown in (("large star", 2), ("small star", 1)):
        partitions = power_of_two(int(links.rows * grown), limits.task_bytes)
        passed = shuffled(f"{star}, {rounds} rounds: links", links, partitions, limits, first="links", grown=grown)
        size = passed.flow.bytes
        made += passed.steps
        held = size / partitions
        requests = passed.flow.requests * 2
        made.append(step(f"{star}, {rounds} rounds", "star", partitions, size * 2, [links.rows], requests, partitions, held))
        links = Flow(links.rows, partitions, partitions, partitions, LINK_BYTES)
    found += [_repeated(one, rounds) for one in made]
    return links


def _repeated(one: Step, times: int) -> Step:
    """A step that is taken so many times; what the driver refers to is that of one round."""
    sums = {name: getattr(one, name) * times for name in ("tasks", "read_bytes", "written_bytes", "requests", "cpu_seconds")}
    return Step(one.name, one.kind, **sums, frames=one.frames, peak_bytes=one.peak_bytes)
