"""What deduplication costs at sizes that nobody here has the disks for, as Markdown tables for docs/deduplication.md.

    python benchmarks/dedup_costs.py

Measures nothing: the functions behind `shardmill plan` (pipelines/costs.py, pipelines/exchange_costs.py), with the rates that are written
down there, for documents of 4 kB that bring no ids, and units as `unit_bytes: auto` makes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from operators import ExactDedup, LineDedup, MinhashDedup, ParagraphDedup, UrlDedup  # noqa: E402
from operators.base import GroupOperator  # noqa: E402
from pipelines.costs import Corpus, Shares, Total  # noqa: E402
from pipelines.exchange import Limits  # noqa: E402
from pipelines.exchange_costs import Exchange  # noqa: E402
from pipelines.exchange_survey import COLUMNS, size_text, table  # noqa: E402
from pipelines.units import unit_bytes  # noqa: E402

DOCUMENT_BYTES: Final = 4000
PETABYTE: Final = 10**15
CORES: Final = 1000
REPETITIVE: Final = Shares(pairs=2.0, met=0.5, verified=1.8, removed=0.45)
"""A crawl of which nearly every second document goes."""


def corpus(size: int) -> Corpus:
    """So many bytes of text."""
    return Corpus(size // DOCUMENT_BYTES, size, -(-size // unit_bytes("auto", size)))


def exchange(operator: GroupOperator, size: int, shares: Shares | None = None) -> Exchange:
    """An operator's exchange of so many bytes of text, with the bounds that a run has."""
    return Exchange(operator, corpus(size), Limits(), shares or Shares())


def rows(lines: list[list[str]]) -> Iterator[str]:
    """Markdown: the first line is the head, numbers stand to the right."""
    head, *rest = (f"| {' | '.join(cells)} |" for cells in lines)
    yield from (head, "|---|" + "---:|" * (len(lines[0]) - 1), *rest)


def steps_table() -> Iterator[str]:
    """Every step of near-duplicate removal of a petabyte."""
    steps = exchange(MinhashDedup(), PETABYTE).steps()
    yield from rows([list(COLUMNS), *table(steps, Total.of(steps))])


def operators_table() -> Iterator[str]:
    """Each operator over a petabyte."""
    cases = {
        "`minhash_dedup`": exchange(MinhashDedup(), PETABYTE),
        "the same, of a crawl that repeats three times as much": exchange(MinhashDedup(), PETABYTE, REPETITIVE),
        "`preset: t50`": exchange(MinhashDedup(preset="t50"), PETABYTE),
        "`preset: t90`": exchange(MinhashDedup(preset="t90"), PETABYTE),
        "`exact_dedup`": exchange(ExactDedup(), PETABYTE),
        "`url_dedup`": exchange(UrlDedup(), PETABYTE),
        "`line_dedup`": exchange(LineDedup(), PETABYTE),
        "`paragraph_dedup`": exchange(ParagraphDedup(), PETABYTE),
    }
    yield from rows([["", *TOTALS], *([name, *totals(Total.of(case.steps()))] for name, case in cases.items())])


def sizes_table() -> Iterator[str]:
    """Near-duplicate removal of less than a petabyte."""
    found = [(size, Total.of(exchange(MinhashDedup(), size).steps())) for size in (10**power for power in range(9, 16))]
    yield from rows([["text", *TOTALS], *([size_text(size), *totals(total)] for size, total in found)])


TOTALS: Final = ("tasks", "requests", "read", "written", "driver's memory", "core hours", f"hours on {CORES:,} cores")


def totals(total: Total) -> list[str]:
    """The cells of `TOTALS`."""
    sizes = [size_text(size) for size in (total.read_bytes, total.written_bytes, total.driver_bytes)]
    hours = [f"{total.hours(1):,.2f}" if total.hours(1) < 10 else f"{total.hours(1):,.0f}", f"{total.hours(CORES):,.2f}"]
    return [f"{total.tasks:,}", f"{total.requests:,}", *sizes, *hours]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for made in (steps_table, operators_table, sizes_table):
        print("\n".join(made()), end="\n\n")


if __name__ == "__main__":
    main()
