"""What `plan` says of the exchanges that a run will take: what each costs, as a table.

Owns what is assumed where nobody has looked yet, and how sizes and times are worded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from operators.base import GroupOperator
from pipelines.config import PipelineConfig
from pipelines.costs import Corpus, Shares, Step, Total, condensed
from pipelines.exchange import Limits
from pipelines.exchange_costs import Exchange
from pipelines.history import History
from pipelines.inventory import Inventory
from pipelines.operatorspec import OperatorSpec

ID_BYTES: Final = 24
"""Assumed of ids that documents bring; nobody has read them yet."""
EXAMPLE_CORES: Final = 1000
"""Of a cluster that is not asked for its size."""


@dataclass(frozen=True, slots=True)
class ExchangeSurvey:
    """What the exchange of one group operator will cost, whether or not some of it is committed.

    Attributes:
        stage: Number of the stage that it ends, from 1 on.
        documents: Documents that take part, at most: what operators before it drop is not known.
    """

    operator: str
    stage: int
    documents: int
    steps: list[Step]
    total: Total

    def to_json(self) -> dict[str, Any]:
        """One JSON object."""
        return {**asdict(self), "steps": [step.to_json() for step in self.steps]}


def corpus_of(config: PipelineConfig, inventory: Inventory, units: int, *, made_id: bool) -> Corpus:
    """What comes to an exchange at most: all documents, with all of their columns."""
    size = int(inventory.group_bytes.sum())
    leaves = config.history is not None
    id_bytes = 0 if made_id else ID_BYTES
    return Corpus(inventory.rows, size, max(1, units), id_bytes, {} if leaves else None, leaves)


def cores_of(config: PipelineConfig) -> tuple[int, bool]:
    """Cores that the pipeline's cluster has, and whether that is only an example."""
    match config.cluster.type:
        case "inline":
            return 1, False
        case "local":
            return config.cluster.num_cpus or os.cpu_count() or 1, False
        case "ray":
            return EXAMPLE_CORES, True


def exchanges(groups: Iterable[tuple[int, OperatorSpec]], corpus: Corpus, history: History | None) -> list[ExchangeSurvey]:
    """What the exchanges of group operators cost, each given with the number of its stage, with the bounds that a run has."""
    made = []
    for stage, spec in groups:
        operator = spec.load()
        assert isinstance(operator, GroupOperator)
        before = corpus if history is None else replace(corpus, earlier_bytes=earlier_bytes(operator, history))
        steps = Exchange(operator, before, Limits(), Shares()).steps()
        made.append(ExchangeSurvey(spec.name, stage, corpus.documents, steps, Total.of(steps)))
    return made


def earlier_bytes(operator: GroupOperator, history: History) -> dict[str, int]:
    """Bytes that earlier runs left for an operator, by what they are for."""
    roles = ("keys", "heads", "features", "counts")
    return {role: sum(one.source.bytes for one in history.remembered(operator, role)) for role in roles}


# --- for a person


COLUMNS: Final = ("step", "tasks", "read", "written", "requests", "a task", "CPU")


def table(steps: Sequence[Step], total: Total) -> list[list[str]]:
    """The steps as rows of text, radix passes together, the sum last."""
    rows = [
        [one.name, f"{one.tasks:,}", *_sizes(one.read_bytes, one.written_bytes), f"{one.requests:,}", *_task(one), _time(one.cpu_seconds)]
        for one in condensed(steps)
    ]
    sizes = _sizes(total.read_bytes, total.written_bytes)
    sums = ["all", f"{total.tasks:,}", *sizes, f"{total.requests:,}", size_text(total.peak_bytes), _time(total.cpu_seconds)]
    return [*rows, sums]


def lines_of(one: ExchangeSurvey, cores: int, *, is_example: bool) -> list[str]:
    """One exchange for a person."""
    rows = [list(COLUMNS), *table(one.steps, one.total)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [f"exchange of {one.operator}, behind stage {one.stage}, for at most {one.documents:,} documents:"]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "  ".join(cells).rstrip())
    return [*lines, f"  {_summary(one.total, cores, is_example=is_example)}"]


def all_lines(found: Sequence[ExchangeSurvey], cores: int, *, is_example: bool) -> list[str]:
    """Every exchange for a person, and what several of them take together."""
    lines = [line for one in found for line in lines_of(one, cores, is_example=is_example)]
    if len(found) < 2:
        return lines
    total = Total.of([step for one in found for step in one.steps])
    sums = (
        f"{total.tasks:,} tasks, {total.requests:,} requests, {size_text(total.read_bytes)} read, {size_text(total.written_bytes)} written"
    )
    return [*lines, f"all exchanges: {sums}, {_time(total.cpu_seconds)} of CPU; {_summary(total, cores, is_example=is_example)}"]


def _summary(total: Total, cores: int, *, is_example: bool) -> str:
    where = f"{cores:,} {'core' if cores == 1 else 'cores'}{', as an example,' if is_example else ''}"
    return (
        f"{size_text(total.stored_bytes)} stay in the output's store until the run ends; the driver needs {size_text(total.driver_bytes)} "
        f"for it; {_time(total.cpu_seconds / cores)} on {where} if the store keeps up"
    )


def _sizes(*sizes: int) -> list[str]:
    return [size_text(size) for size in sizes]


def _task(one: Step) -> list[str]:
    """Memory of a task; what units do beside their other work has none of its own."""
    return [size_text(one.peak_bytes) if one.tasks else ""]


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.1f} min" if seconds < 3600 else f"{seconds / 3600:,.1f} h"


def size_text(size: int) -> str:
    """Bytes for a person."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} PB"
