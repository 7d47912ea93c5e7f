"""The work of a run as phases: what each takes of CPU, in how many tasks, with which requests to the stores. Pure.

A phase ends before the next begins, as stages and the steps of an exchange do. What costs by the byte was measured in the sample;
what a sample is too small to show, the exchange, comes from `exchange_costs.py`, as in `plan`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipelines.config_places import scheme_of
from pipelines.costs import REFERENCE_BYTES, Corpus, Shares, Step, condensed, put_requests
from pipelines.exchange import Limits
from pipelines.exchange_costs import Exchange
from pipelines.exchange_survey import ID_BYTES
from pipelines.frames import JOINED_BYTES
from pipelines.projection_census import Census, StageCensus
from pipelines.projection_estimates import NOTHING, added, exact, scaled
from pipelines.projection_measured import Measured
from pipelines.projection_output import Flow, Output
from pipelines.projection_rates import SIDE_ROW_BYTES, UNIT_SECONDS, Rates
from pipelines.readahead import BLOCK_BYTES
from pipelines.results import TABLE_BYTES
from pipelines.study import Estimate, OperatorEstimate

LISTED_SECONDS: Final = 0.002
"""CPU to list a file and read its footer."""
SCANNED_RATE: Final = 150e6
"""Stored bytes of a file without an index that are looked through in a CPU second (docs/measurements.md)."""
LAYER_RATE: Final = 600e6
"""Bytes of layers that packing reads, cuts and hashes in a CPU second, beside writing Parquet: 322 MB of the 2 GB corpus in 0.5 s."""
TABLE_ROWS: Final = 2e6
"""Rows of side tables that are packed in a CPU second."""
TOKENS_RATE: Final = 200e6
"""Bytes of token ids that are read back and written as token shards in a CPU second."""
LZ4_RATE: Final = 500e6
"""Bytes of frames compressed and read again in a CPU second, where parts go over a network."""
LEARNED_POWER: Final = 0.85
"""Learning from more text costs less by the byte: most of its words were seen before. 93 times as much text took 43 times as long."""
EXCHANGE_SPREAD: Final = 1.6
"""How far the exchange's measured rates may be off either way, on another machine or with other keys."""
PACK_FILES: Final = 4
"""Files of a version beside shards: tables and manifest, each with a request or two."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Work between two barriers.

    Attributes:
        kind: `units`, `exchange`, `learning`, `packing`, `listing`.
        cpu: Seconds in all.
        tasks: Pieces of work with a commit each.
        longest: Which part of the CPU the longest piece takes.
        reads: Requests to read; `writes`: to write, the commits included.
        stored: Bytes that lie in the output's store until the run ends.
        peak_bytes: Memory of the largest task; `driver_bytes`: of the driver, for references to what the phase wrote.
    """

    name: str
    kind: str
    cpu: Estimate
    tasks: int
    longest: float
    reads: float = 0.0
    writes: float = 0.0
    stored: Estimate = NOTHING
    peak_bytes: int = 0
    driver_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """All of it.

    Attributes:
        cpu: By what it is for: `read`, the operators by name, `engine`, `exchange of …`, `packing` …
        history_bytes: Left for later runs; None without a history.
    """

    phases: tuple[Phase, ...]
    cpu: dict[str, Estimate]
    history_bytes: Estimate | None


@dataclass(frozen=True, slots=True)
class _Making:
    """What all phases are made from."""

    census: Census
    measured: Measured
    operators: Sequence[OperatorEstimate]
    flow: Flow
    output: Output
    rates: Rates

    def place(self, name: str) -> int:
        """Of an operator among all."""
        return self.measured.names.index(name)

    @property
    def is_compressed(self) -> bool:
        """Whether parts are compressed on their way to the store."""
        return scheme_of(self.census.config.output.uri) not in ("", "file", "local", "memory")


def work_of(census: Census, measured: Measured, operators: Sequence[OperatorEstimate], flow: Flow, output: Output, rates: Rates) -> Work:
    """Every phase of the run, in order."""
    made = _Making(census, measured, operators, flow, output, rates)
    cpu: dict[str, Estimate] = {}
    phases = [_listing(census)]
    _add(cpu, "listing the input", phases[0].cpu)
    history = 0.0
    for number, stage in enumerate(census.stages):
        phases.append(_units(made, number, stage, cpu))
        for name in stage.learners:
            phases.append(_learning(made, name))
            _add(cpu, f"learning of {name}", phases[-1].cpu)
        for name in stage.groups:
            steps = list(_exchange(made, name))
            history += sum(one.stored.value for one in steps if one.name.endswith(": history"))
            phases += steps
            _add(cpu, f"exchange of {name}", added(one.cpu for one in steps))
    packing = list(_packing(made))
    _add(cpu, "packing", added(one.cpu for one in packing))
    return Work((*phases, *packing), cpu, None if census.config.history is None else exact(history))


def _add(cpu: dict[str, Estimate], name: str, more: Estimate) -> None:
    cpu[name] = added((cpu.get(name, NOTHING), more))


def _listing(census: Census) -> Phase:
    seconds = census.files * LISTED_SECONDS + census.unindexed_bytes / SCANNED_RATE
    pieces = max(1, census.files)
    reads = census.files + census.unindexed_bytes / BLOCK_BYTES + pieces / 1000
    return Phase("listing the input", "listing", exact(seconds), 0, 1 / pieces, reads=reads)


# --- units


def _units(made: _Making, number: int, stage: StageCensus, cpu: dict[str, Estimate]) -> Phase:
    """The units of a stage: reading or going on, the operators, the keys, and writing what is left."""
    census, flow = made.census, made.flow
    first = _first_place(made, number)
    total = flow.arrow_bytes[first]
    parts: dict[str, Estimate] = {}
    if number == 0:
        parts["read"] = _read_seconds(made, total)
    for name in (*stage.operators, *stage.learners, *stage.groups):
        place = made.place(name)
        parts[name] = _times(made.rates.operators[name], flow.text_bytes[place])
    fixed = exact(census.units * made.rates.unit_seconds.get(number + 1, UNIT_SECONDS))
    documents, sides = _written(made, number)
    engine = [_times(made.rates.engine.get(number + 1, NOTHING), total), fixed]
    if made.is_compressed:
        engine.append(scaled(documents, 1 / LZ4_RATE))
        documents = scaled(documents, made.measured.lz4)
    parts["engine"] = added(engine)
    for name, value in parts.items():
        _add(cpu, name, value)
    puts = census.units * (1 + put_requests(documents.value / max(census.units, 1)) + 2 + len(stage.groups))
    reads = _unit_reads(made, number, total)
    longest = census.largest_unit_bytes / census.group_bytes if census.group_bytes else 1.0
    return Phase(
        f"stage {number + 1}: units", "units", added(parts.values()), census.units, longest, reads, puts, added((documents, sides))
    )


def _first_place(made: _Making, number: int) -> int:
    """Place of the first operator that takes part in a stage's units, or behind it where none does."""
    before = [name for stage in made.census.stages[:number] for name in (*stage.operators, *stage.learners, *stage.groups)]
    return len(before)


def _times(rate: Estimate, amount: Estimate) -> Estimate:
    """Seconds, with the bounds of the rate: how much there is is known far better."""
    return Estimate(rate.value * amount.value, rate.low * amount.value, rate.high * amount.value)


def _read_seconds(made: _Making, total: Estimate) -> Estimate:
    """Reading the input; where its files are of another kind than the sample's copy, as long as drawing the sample took for a byte."""
    found = _times(made.rates.read, total)
    reading = made.measured.reading
    if not made.census.unindexed_bytes or reading is None or reading.cpu_seconds is None or not reading.arrow_bytes:
        return found
    real = total.value * reading.cpu_seconds / reading.arrow_bytes
    return Estimate(real, real / 2, real * 1.5) if real > found.value else found


def _written(made: _Making, number: int) -> tuple[Estimate, Estimate]:
    """Bytes of documents that a stage's units leave behind, and of their side tables."""
    units = [unit for unit in made.measured.units if unit.stage == number + 1]
    documents = made.measured.documents
    first, behind = _first_place(made, number), _first_place(made, number + 1)
    came = sum(float((documents.arrow_bytes * documents.reach(first))[unit.first : unit.stop].sum()) for unit in units)
    left = sum(unit.bytes.get("documents", 0) for unit in units)
    amount = made.flow.arrow_bytes[first]
    size = scaled(amount, left / came) if came > 0 else amount
    gone = max(0.0, made.flow.documents[first].value - made.flow.documents[min(behind, len(made.operators))].value)
    sides = gone * SIDE_ROW_BYTES
    if made.census.config.output.dropped and made.census.rows:
        sides += gone * made.flow.arrow_bytes[0].value / made.census.rows
    return size, exact(sides)


def _unit_reads(made: _Making, number: int, total: Estimate) -> float:
    census = made.census
    if number == 0:
        return max(census.stored_bytes / BLOCK_BYTES, census.units) + census.files
    layers = total.value * (made.measured.lz4 if made.is_compressed else 1.0)
    verdicts = len(census.stages[number - 1].groups)
    return max(layers / JOINED_BYTES, census.units) + census.units * verdicts


# --- learning and exchange


def _learning(made: _Making, name: str) -> Phase:
    """One task learns from a sample, which others read before."""
    operator, learned = made.census.learner(name), made.measured.learned.get(name)
    size = min(float(operator.sample_bytes), made.flow.text_bytes[made.place(name)].value)
    if learned is None or not learned.text_bytes:
        return Phase(f"learning of {name}", "learning", NOTHING, 1, 1.0, 2, 2)
    more = size / learned.text_bytes
    seconds = learned.seconds * more**LEARNED_POWER
    cpu = Estimate(seconds, min(seconds / 1.5, seconds / max(more, 1.0) ** 0.2), learned.seconds * 1.3 * max(more, 1.0))
    return Phase(f"learning of {name}", "learning", cpu, 2, 0.9, 2 * size / JOINED_BYTES + 2, 4, peak_bytes=int(10 * size))


def _exchange(made: _Making, name: str) -> Iterator[Phase]:
    """The steps of the exchange of one group operator; the keys were made by the units."""
    steps = condensed(_steps(made, name, "value"))[1:]
    low, high = (sum(one.cpu_seconds for one in _steps(made, name, bound)[1:]) for bound in ("low", "high"))
    middle = sum(one.cpu_seconds for one in steps)
    keys = _steps(made, name, "value")[:1]
    for one in keys:
        yield Phase(f"{name}: keys", "exchange", NOTHING, 0, 1.0, stored=exact(one.written_bytes))
    for one in steps:
        share = one.cpu_seconds / middle if middle else 0.0
        cpu = Estimate(one.cpu_seconds, low * share / EXCHANGE_SPREAD, high * share * EXCHANGE_SPREAD)
        writes = min(one.requests, one.tasks + one.tasks * put_requests(one.written_bytes / max(one.tasks, 1)))
        yield Phase(
            f"{name}: {one.name}",
            "exchange",
            cpu,
            one.tasks,
            1 / max(one.tasks, 1),
            reads=one.requests - writes,
            writes=writes,
            stored=exact(one.written_bytes),
            peak_bytes=one.peak_bytes,
            driver_bytes=one.frames * REFERENCE_BYTES,
        )


def _steps(made: _Making, name: str, bound: str) -> list[Step]:
    """The steps for the documents that are expected, or for as few or many as there may be."""
    census, place = made.census, made.place(name)
    number, size = (max(0, round(getattr(some[place], bound))) for some in (made.flow.documents, made.flow.text_bytes))
    earlier = None if census.earlier_bytes is None else dict(census.earlier_bytes.get(name, {}))
    corpus = Corpus(number, size, max(1, census.units), 0 if census.made_id else ID_BYTES, earlier, census.config.history is not None)
    rate = made.operators[place].keep_rate
    removed = 1 - {"value": rate.value, "low": rate.high, "high": rate.low}[bound]
    return Exchange(census.group_operator(name), corpus, Limits(), shares_for(removed)).steps()


def shares_for(removed: float) -> Shares:
    """What is assumed of pairs where so many documents go: as many more or less than in the corpus that was measured."""
    usual = Shares()
    factor = max(removed, 1e-4) / usual.removed
    return replace(
        usual,
        removed=removed,
        pairs=usual.pairs * factor,
        verified=usual.verified * factor,
        met=min(1.0, usual.met * factor),
    )


# --- packing


def _packing(made: _Making) -> Iterator[Phase]:
    """Shards, token shards, side tables."""
    output, measured = made.output, made.measured
    shards = max(1, round(output.shards.value))
    size = output.uncompressed_bytes
    rate = measured.write_rate + 1 / LAYER_RATE + (1 / LZ4_RATE if made.is_compressed else 0.0)
    seconds = scaled(size, rate)
    cpu = Estimate(seconds.value, seconds.low / 1.3, seconds.high * 1.3)
    puts = shards * (1 + put_requests(output.bytes.value / shards))
    yield Phase("packing: shards", "packing", cpu, shards, 1 / shards, size.value / JOINED_BYTES + made.census.units, puts)
    if output.token_bytes is not None:
        ids = output.token_bytes
        yield Phase(
            "packing: token shards", "packing", scaled(ids, 1 / TOKENS_RATE), shards, 1 / shards, ids.value / JOINED_BYTES, 3 * shards
        )
    rows = added((output.dropped_rows, output.duplicate_rows, output.quarantined_rows))
    files = max(1, math.ceil(rows.value * SIDE_ROW_BYTES / TABLE_BYTES)) + 2
    reads = 2 * made.census.units * len(made.census.stages)
    yield Phase("packing: side tables", "packing", scaled(rows, 1 / TABLE_ROWS), files, 1 / files, reads, 2 * files + PACK_FILES)
