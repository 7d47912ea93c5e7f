"""The projection of a run from a dry run's sample: what it will leave, what it takes, how long, and what that costs. Pure.

The object that `project` gives stands in `dry-run --json` and is documented in docs/dry-run-projection.md, key by key. Units are said in
the keys, and a number that rests on the sample has bounds: {value, low, high}.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pipelines.config_places import scheme_of
from pipelines.exchange_survey import cores_of
from pipelines.projection_census import Census
from pipelines.projection_estimates import added, scaled, to_json
from pipelines.projection_hub import hub_of
from pipelines.projection_measured import Measured
from pipelines.projection_output import Output, flow_of, output_of
from pipelines.projection_prices import CORES, Costs, Prices
from pipelines.projection_rates import Rates, measured_rates
from pipelines.projection_wall import Machines, driver_bytes, total_of, wall_seconds, worker_bytes
from pipelines.projection_work import Work, work_of
from pipelines.study import Estimate, OperatorEstimate

MONTH_HOURS: Final = 730
GB: Final = 1e9
NETWORK: Final = ("", "file", "local", "memory")
"""Schemes of stores that are no network away."""
BUSY: Final = 0.5
"""Other processes for each core of this machine, from which on that is told."""
FEW_KEPT: Final = 30
"""Documents of the sample: with fewer of them kept, what an output document has is hardly known."""
COMPILE_NOTE: Final = (
    "on a machine whose cache of compiled kernels is empty, the first worker compiles for one to two minutes; that is not in the time"
)


def project(
    census: Census, measured: Measured, operators: Sequence[OperatorEstimate], kept: Estimate, costs: Costs | None = None
) -> dict[str, Any]:
    """What the run will come to, as one JSON object.

    Args:
        census: What is known of the run.
        measured: What the sample has shown.
        operators: What each operator is expected to keep, in the pipeline's order.
        kept: Which share of all documents is left in the end.
        costs: For which cores, at which prices.
    """
    asked = costs or Costs()
    flow = flow_of(census, measured, operators)
    output = output_of(census, measured, operators, kept, flow)
    rates = measured_rates(
        measured,
        [(*stage.operators, *stage.learners, *stage.groups) for stage in census.stages],
        carries_dropped=census.config.output.dropped,
    )
    work = work_of(census, measured, operators, flow, output, rates)
    return {
        **_output_json(output),
        **_work_json(census, measured, work),
        **_time_json(census, measured, rates, work, output, asked),
        "hub": hub_of(census, output),
        "notes": list(_notes(census, measured, asked)),
    }


def _output_json(output: Output) -> dict[str, Any]:
    files, size = output.token_files, output.token_bytes
    return {
        "output_rows": to_json(output.rows),
        "output_bytes": to_json(output.bytes),
        "output_uncompressed_bytes": to_json(output.uncompressed_bytes),
        "output_shards": to_json(output.shards),
        "output_tokens": None if output.tokens is None else to_json(output.tokens),
        "token_shards": None if files is None or size is None else {"files": to_json(files), "bytes": to_json(size)},
        **{f"{name}_rows": to_json(rows) for name, rows in _side_rows(output).items()},
        **{f"{name}_bytes": to_json(size) for name, size in output.table_bytes.items()},
    }


def _side_rows(output: Output) -> dict[str, Estimate]:
    return {"dropped": output.dropped_rows, "duplicates": output.duplicate_rows, "quarantine": output.quarantined_rows}


def _work_json(census: Census, measured: Measured, work: Work) -> dict[str, Any]:
    tasks = sum(phase.tasks for phase in work.phases)
    return {
        "history_bytes": None if work.history_bytes is None else to_json(work.history_bytes),
        "cpu_seconds": to_json(total_of(work.phases), 3),
        "cpu_seconds_by": {name: to_json(value, 3) for name, value in work.cpu.items()},
        "worker_peak_bytes": to_json(worker_bytes(census, measured, work)),
        "driver_peak_bytes": driver_bytes(census, work),
        "units": census.units,
        "stages": len(census.stages),
        "tasks": tasks,
        "commits": tasks,
        "requests": {
            "read": math.ceil(sum(phase.reads for phase in work.phases)),
            "write": math.ceil(sum(phase.writes for phase in work.phases)),
        },
        "input_bytes": census.stored_bytes,
        "intermediate_bytes": to_json(added(phase.stored for phase in work.phases)),
    }


# --- time and money


def _time_json(census: Census, measured: Measured, rates: Rates, work: Work, output: Output, asked: Costs) -> dict[str, Any]:
    config = census.config
    own, is_example = cores_of(config)
    wanted = asked.cores or tuple(sorted({own, *CORES}))
    cores = asked.cores[0] if asked.cores else own
    machines = Machines(config.cluster.type, scheme_of(config.output.uri) not in NETWORK, measured.others)
    walls = {number: wall_seconds(work, machines, number, rates.start_seconds, census.units) for number in dict.fromkeys((*wanted, cores))}
    found = {number: _cost(census, work, output, asked, number, wall) for number, wall in walls.items()}
    return {
        "cores": cores,
        "cores_are_an_example": is_example and not asked.cores,
        "wall_seconds": to_json(walls[cores], 2),
        "by_cores": [{"cores": number, "wall_seconds": to_json(walls[number], 2), "cost": found[number]} for number in wanted],
        "cost": found[cores],
    }


def _cost(census: Census, work: Work, output: Output, asked: Costs, cores: int, wall: Estimate) -> dict[str, Any] | None:
    """What the run costs on so many cores, which are paid for as long as it takes; None without prices."""
    prices = asked.prices
    if prices.is_empty:
        return None
    parts = dict(_cost_parts(census, work, prices, cores, wall))
    made: dict[str, Any] = {"currency": asked.currency, "total": to_json(added(parts.values()), 6)}
    made |= {name: to_json(value, 6) for name, value in parts.items()}
    if prices.storage_gb_month is not None:
        lying = added((output.bytes, *output.table_bytes.values(), *([output.token_bytes] if output.token_bytes else [])))
        made["storage_a_month"] = to_json(scaled(lying, prices.storage_gb_month / GB), 6)
    return made


def _cost_parts(census: Census, work: Work, prices: Prices, cores: int, wall: Estimate) -> Iterator[tuple[str, Estimate]]:
    if prices.core_hour is not None:
        yield "compute", scaled(wall, cores * prices.core_hour / 3600)
    if prices.put_1000 is not None:
        yield "writes", _known(sum(phase.writes for phase in work.phases) * prices.put_1000 / 1000)
    if prices.get_1000 is not None:
        yield "reads", _known(sum(phase.reads for phase in work.phases) * prices.get_1000 / 1000)
    if prices.storage_gb_month is not None:
        between = added(phase.stored for phase in work.phases)
        yield "intermediates", scaled(between, prices.storage_gb_month / GB * wall.value / 3600 / MONTH_HOURS)
    if prices.egress_gb is not None:
        yield "egress", _known(census.stored_bytes / GB * prices.egress_gb)


def _known(value: float) -> Estimate:
    return Estimate(value, value, value)


# --- notes


def _notes(census: Census, measured: Measured, asked: Costs) -> Iterator[str]:
    """What the reader should know of the figures."""
    documents = measured.documents
    kept = int(documents.kept.sum())
    if not kept and census.rows:
        yield "no document of the sample was kept: only the upper bounds of the output tell anything"
    elif kept < FEW_KEPT and census.rows:
        yield f"only {kept} documents of the sample were kept: what one of the output has is known roughly"
    if sum(unit.stage == 1 for unit in measured.units) == 1:
        yield "the sample was one unit: what loading the operators takes is in the time of every byte, which is too much"
    if census.config.cluster.type == "inline" and any(number > 1 for number in (asked.cores or CORES)):
        yield "`cluster: {type: inline}` uses one core; more are reckoned as on a Ray cluster"
    if measured.others > BUSY and census.config.cluster.type != "ray":
        told = f"{measured.others:.1f} processes a core wanted this machine beside the dry run"
        yield f"{told}: the time is for cores that are free, its upper bound for such as they are now"
    if census.config.output.partition_by:
        yield "shards by partition are counted for the partitions of the sample; the input may have more"
    yield COMPILE_NOTE
