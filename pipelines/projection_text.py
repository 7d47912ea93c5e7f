"""The projection for a person at a terminal: plain lines, no markup, nothing of a document in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipelines.legible import amount, count, counted, legible, seconds, size

MAX_PARTS: Final = 12
Bounds = Mapping[str, float]


def projection_lines(made: Mapping[str, Any]) -> list[str]:
    """The projection as lines of text."""
    return [*_output(made), *_work(made), *_time(made), *_hub(made), *(f"note: {legible(note, 400)}" for note in made["notes"])]


def _between(bounds: Bounds, show: Any) -> str:
    """A number with its bounds, if they differ from it as it is shown."""
    value, low, high = (show(round(bounds[name])) for name in ("value", "low", "high"))
    return value if low == high == value else f"{value} ({low} to {high})"


def _duration(bounds: Bounds) -> str:
    value, low, high = (seconds(bounds[name]) for name in ("value", "low", "high"))
    return value if low == high == value else f"{value} ({low} to {high})"


def _output(made: Mapping[str, Any]) -> Iterator[str]:
    unpacked = _between(made["output_uncompressed_bytes"], size)
    yield f"output: {_between(made['output_rows'], amount)} rows in {_between(made['output_shards'], count)} shards"
    yield f"  {_between(made['output_bytes'], size)} compressed, {unpacked} not"
    if made["output_tokens"] is not None:
        yield f"  {_between(made['output_tokens'], amount)} tokens"
    if made["token_shards"] is not None:
        shards = made["token_shards"]
        yield f"  token shards: {_between(shards['files'], count)} files, {_between(shards['bytes'], size)}"
    tables = ", ".join(f"{name} {_between(made[f'{name}_bytes'], size)}" for name in ("dropped", "duplicates", "quarantine"))
    yield f"  side tables: {tables}"
    if made["history_bytes"] is not None:
        yield f"  left for later runs: {_between(made['history_bytes'], size)}"


def _work(made: Mapping[str, Any]) -> Iterator[str]:
    requests = made["requests"]
    yield f"work: {_duration(made['cpu_seconds'])} of CPU"
    parts = sorted(made["cpu_seconds_by"].items(), key=lambda part: -part[1]["value"])
    shown = [(name, value["value"]) for name, value in parts if value["value"] > 0][:MAX_PARTS]
    yield from _columns([(legible(name, 60), seconds(value)) for name, value in shown])
    yield (
        f"  {counted(made['units'], 'unit')} in {counted(made['stages'], 'stage')}, {counted(made['tasks'], 'task')}, "
        f"{count(requests['read'])} requests to read and {count(requests['write'])} to write"
    )
    yield f"  {size(made['input_bytes'])} read, up to {_between(made['intermediate_bytes'], size)} of intermediate files"
    yield f"  memory: a worker {_between(made['worker_peak_bytes'], size)}, the driver {size(made['driver_peak_bytes'])}"


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Cells under each other: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield f"    {'  '.join(cells)}".rstrip()


def _time(made: Mapping[str, Any]) -> Iterator[str]:
    example = ", as an example" if made["cores_are_an_example"] else ""
    yield f"time: {_duration(made['wall_seconds'])} on {counted(made['cores'], 'core')}{example}"
    rows = [(counted(one["cores"], "core"), _duration(one["wall_seconds"]), *_money(one["cost"])) for one in made["by_cores"]]
    yield from _columns(rows)
    cost = made["cost"]
    if cost is None:
        yield "  no cost without prices: --price core-hour=…"
        return
    parts = [f"{name} {_price(cost[name]['value'])}" for name in ("compute", "reads", "writes", "intermediates", "egress") if name in cost]
    yield f"cost: {' '.join(_money(cost))}: {', '.join(parts)}" if parts else f"cost: {' '.join(_money(cost))}"
    if "storage_a_month" in cost:
        yield f"  to keep the output: {_price(cost['storage_a_month']['value'])} a month"


def _money(cost: Mapping[str, Any] | None) -> tuple[str, ...]:
    if cost is None:
        return ()
    value, low, high = (_price(cost["total"][name]) for name in ("value", "low", "high"))
    shown = value if low == high == value else f"{value} ({low} to {high})"
    return (f"{shown} {legible(cost['currency'], 12)}".rstrip(),)


def _price(value: float) -> str:
    """An amount of money with two digits behind the point, or as many as it takes to see anything of it."""
    if value == 0 or value >= 0.1:
        return f"{value:,.2f}"
    return f"{value:.2g}" if value >= 1e-6 else "<0.000001"


def _hub(made: Mapping[str, Any]) -> Iterator[str]:
    hub = made["hub"]
    if hub is None:
        return
    wait = f"; the Hub's limits make it take at least {seconds(hub['least_seconds'])}" if hub["least_seconds"] else ""
    yield (
        f"Hub: {legible(hub['repo_id'], 100)}: {counted(hub['files'], 'file')}, {size(hub['bytes'])}, "
        f"in {counted(hub['commits'], 'commit')}{wait}"
    )
    if hub["is_above_limit"]:
        yield "  more files than the Hub recommends for a repo"
