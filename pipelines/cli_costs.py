"""The options of a command that reckons what a run takes. Apart from projection_prices.py, since `--help` must not wait for pydantic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

MAX_CORES: Final = 10_000_000
PRICES: Final = {
    "core-hour": "of one core for an hour, with its memory",
    "put-1000": "of 1,000 requests that write to the output's store or list it",
    "get-1000": "of 1,000 requests that read from a store",
    "storage-gb-month": "of keeping a GB (1,000,000,000 bytes) for a month of 730 hours",
    "egress-gb": "of a GB that leaves the input's store, where the cores are elsewhere",
}
"""The names of `projection_prices.Prices`, as the help tells them."""


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--cores`, `--price` and `--currency`."""
    told = "; ".join(f"{name}: {meaning}" for name, meaning in PRICES.items())
    options = [
        click.option(
            "--cores",
            type=click.IntRange(1, MAX_CORES),
            multiple=True,
            metavar="N",
            help="Reckon the time for so many cores; may be repeated. Default: those of the pipeline's cluster, and a few usual numbers.",
        ),
        click.option(
            "--price",
            "prices",
            multiple=True,
            metavar="NAME=NUMBER",
            help=f"What something costs, as core-hour=0.04; may be repeated. Without prices no cost is told. {told}.",
        ),
        click.option("--currency", default="", metavar="CODE", help="Currency of the prices, as EUR; only shown."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
