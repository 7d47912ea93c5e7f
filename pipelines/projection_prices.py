"""What a run is to be reckoned for: numbers of cores, and prices, as a person gives them on the command line. No price is assumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import click
from pydantic import BaseModel, ConfigDict, Field

from pipelines.config_validate import near
from pipelines.errors import ConfigError, shown

CORES: Final = (1, 8, 64, 512)
"""Numbers of cores that the table shows beside the pipeline's own."""
MAX_CORES: Final = 10_000_000


class Prices(BaseModel):
    """Prices in one currency; what is not given costs nothing that is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    core_hour: float | None = Field(default=None, alias="core-hour", ge=0, description="Of one core for an hour, with its memory.")
    put_1000: float | None = Field(
        default=None, alias="put-1000", ge=0, description="Of 1,000 requests that write to the output's store or list it."
    )
    get_1000: float | None = Field(default=None, alias="get-1000", ge=0, description="Of 1,000 requests that read from a store.")
    storage_gb_month: float | None = Field(
        default=None, alias="storage-gb-month", ge=0, description="Of keeping a GB (1,000,000,000 bytes) for a month of 730 hours."
    )
    egress_gb: float | None = Field(
        default=None, alias="egress-gb", ge=0, description="Of a GB that leaves the input's store, where the cores are elsewhere."
    )

    @property
    def is_empty(self) -> bool:
        """True if none was given."""
        return all(value is None for value in self.model_dump().values())


class Costs(BaseModel):
    """What is to be reckoned.

    Attributes:
        cores: Numbers of cores; none: the pipeline's own and some usual ones.
        prices: What things cost; none: no cost is told.
        currency: In which prices are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: tuple[int, ...] = ()
    prices: Prices = Prices()
    currency: str = ""

    @classmethod
    def of(cls, cores: Sequence[int] = (), prices: Sequence[str] = (), currency: str = "") -> Self:
        """What the options of a command say.

        Raises:
            ConfigError: A price is none, or is one of nothing that is known.
        """
        return cls(cores=tuple(dict.fromkeys(cores)), prices=parse_prices(prices), currency=currency)


def names() -> list[str]:
    """What has a price."""
    return [str(field.alias) for field in Prices.model_fields.values()]


def parse_prices(given: Sequence[str]) -> Prices:
    """Prices as `core-hour=0.04`, several in one with commas between them.

    Raises:
        ConfigError: One is not of this form, is given twice, or is one of nothing that is known.
    """
    found: dict[str, float] = {}
    for text in (one.strip() for many in given for one in many.split(",") if one.strip()):
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign:
            raise ConfigError(f"--price: expected NAME=NUMBER, as core-hour=0.04, found {shown(text)!r}")
        if name not in names():
            raise ConfigError(f"--price: nothing is called {shown(name)!r}; {near(name, names(), 'prices')}")
        if name in found:
            raise ConfigError(f"--price: {name} is given twice")
        found[name] = _number(name, value)
    return Prices.model_validate(found)


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise ConfigError(f"--price: {name}: expected a number from 0 on, found {shown(value)!r}; write it as {name}=0.04")
    return number


def cost_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that reckons what a run takes."""
    told = "; ".join(f"{field.alias}: {(field.description or '').rstrip('.')}" for field in Prices.model_fields.values())
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
