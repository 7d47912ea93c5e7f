"""The command `dry-run`. Owns its options, what it prints, and where its page goes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli_authoring import json_option, pipeline_options
from pipelines.cli_costs import cost_options
from pipelines.cli_output import write_json
from pipelines.cli_run import console_on, watching
from pipelines.cli_signals import terminable
from pipelines.errors import StorageError, shown

if TYPE_CHECKING:
    from pipelines.study import DryRun

PAGE = "{name}-dry-run.html"
MAX_SEED = (1 << 63) - 1


@click.command("dry-run")
@pipeline_options
@click.option("--docs", type=click.IntRange(min=1), default=2000, show_default=True, metavar="N", help="Documents of the sample.")
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), default=0, show_default=True, help="Draws the sample; another one, another sample."
)
@click.option("--examples", type=click.IntRange(min=0), default=3, show_default=True, metavar="N", help="Documents printed for a reason.")
@click.option("--report", "target", type=click.Path(path_type=Path), help="Where to write the page; default: NAME-dry-run.html, here.")
@click.option("--no-report", is_flag=True, help="Write no page.")
@cost_options
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def dry_run(
    file: Path,
    overrides: tuple[str, ...],
    docs: int,
    seed: int,
    examples: int,
    target: Path | None,
    no_report: bool,
    cores: tuple[int, ...],
    prices: tuple[str, ...],
    currency: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Send a sample of the input through the whole pipeline, here and now, and say what a run will do and take."""
    from pipelines.config import load  # noqa: PLC0415
    from pipelines.dryrun import dry_run as run_dry  # noqa: PLC0415
    from pipelines.dryrun_text import dry_json, render_dry_run  # noqa: PLC0415
    from pipelines.projection_prices import Costs  # noqa: PLC0415
    from pipelines.projection_text import projection_lines  # noqa: PLC0415

    if no_report and target is not None:
        raise click.UsageError("--report and --no-report exclude each other; give one of them")
    costs = Costs.of(cores, prices, currency)
    config = load(file, overrides)
    page = None if no_report else target or Path(PAGE.format(name=config.name))
    if page is not None:
        _check_place(page)
    with terminable(), watching(quiet=quiet) as watch:
        found = run_dry(config, docs, seed, costs=costs, watch=watch)
    if as_json:
        write_json(dry_json(found))
    else:
        render_dry_run(found, projection_lines(found.projection), console_on(sys.stdout), examples=examples)
    if page is not None:
        _write_page(found, page)


def _check_place(path: Path) -> None:
    """Tell what is wrong with the page's path before the sample is read, not after.

    Raises:
        click.UsageError: It is a folder, or in none.
        StorageError: There is no right to write there.
    """
    remedy = "give the path of a file in a folder that is there, or --no-report"
    if path.is_dir():
        raise click.UsageError(f"--report: {shown(str(path))} is a folder; {remedy}")
    if not path.parent.is_dir():
        raise click.UsageError(f"--report: there is no folder {shown(str(path.parent))}; {remedy}")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "no right to write there")


def _write_page(found: DryRun, path: Path) -> None:
    """Write the page; told on standard error, since standard output may be the JSON object.

    Raises:
        StorageError: There is no room or right to write there.
    """
    from pipelines.report import dry_run_page  # noqa: PLC0415

    try:
        path.write_bytes(dry_run_page(found).encode())
    except OSError as error:
        raise _unwritable(path, str(error.strerror)) from error
    click.echo(f"Wrote {path}.", err=True)


def _unwritable(path: Path, why: str) -> StorageError:
    remedy = "give a path in a folder that you may write to (--report PATH), or none (--no-report)"
    return StorageError(f"{path}: the page cannot be written ({why}); {remedy}")


COMMANDS: list[click.Command] = [dry_run]
