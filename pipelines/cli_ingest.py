"""The command `ingest`: one incremental run, if there is anything new.

Owns what it prints and its exit status: 3 where nothing is new.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipelines.cli_authoring import json_option, pipeline_options
from pipelines.cli_output import write_json
from pipelines.cli_run import console_on, seen_in, watching
from pipelines.cli_signals import terminable
from pipelines.errors import ConfigError
from pipelines.legible import count, counted

if TYPE_CHECKING:
    from pipelines.arrivals import Arrivals
    from pipelines.config import PipelineConfig
    from pipelines.ingest import IngestResult

NOTHING_NEW: Final = 3
MAX_SHOWN: Final = 10


@click.command()
@pipeline_options
@json_option
@click.option("--backfill", is_flag=True, help="Make the version anew, of all files that are there now, with the pipeline as it is now.")
@click.option("--dry", is_flag=True, help="Only say what is new; the exit status is what it would be.")
@click.option("--quiet", is_flag=True, help="No progress.")
def ingest(file: Path, overrides: tuple[str, ...], as_json: bool, backfill: bool, dry: bool, quiet: bool) -> None:
    """Take in what is new in the input since the last version, if anything is; exit status 3 if nothing is."""
    from pipelines.config import load  # noqa: PLC0415

    if dry and backfill:
        raise ConfigError("ingest: --dry says what is new, and --backfill takes in all files whatever is new; give one of them")
    config = load(file, overrides)
    new = _look(config, as_json=as_json) if dry else _ingest(config, backfill=backfill, as_json=as_json, quiet=quiet)
    if not new:
        raise click.exceptions.Exit(NOTHING_NEW)


def _look(config: PipelineConfig, *, as_json: bool) -> bool:
    from pipelines.ingest import whats_new  # noqa: PLC0415
    from pipelines.policies import wants_all_anew  # noqa: PLC0415

    found, before = whats_new(config)
    if as_json:
        write_json(found.to_json())
    else:
        click.echo("\n".join(_described(found)))
    all_anew = before is not None and wants_all_anew(config.ingest, found, before, partial(click.echo, err=True))
    return all_anew or bool(found.new)


def _ingest(config: PipelineConfig, *, backfill: bool, as_json: bool, quiet: bool) -> bool:
    from pipelines.cli_publish import check_publishing, publish_result  # noqa: PLC0415
    from pipelines.ingest import ingest as take_in  # noqa: PLC0415

    check_publishing(config)
    with terminable(), watching(quiet=quiet) as watch:
        result = take_in(config, backfill=backfill, watch=watch)
    _tell(config, result, as_json=as_json)
    with terminable():
        publish_result(config, result.manifest["version"])
    return result.is_new


def _tell(config: PipelineConfig, result: IngestResult, *, as_json: bool) -> None:
    from pipelines.funnel import render_funnel  # noqa: PLC0415

    manifest = result.manifest
    if as_json:
        write_json(manifest if result.is_new else {"version": manifest["version"], **result.found.to_json()})
    elif not result.is_new:
        click.echo(f"{config.name}: nothing is new since {manifest['version']} ({count(result.found.known)} files are known)")
    else:
        render_funnel(manifest, console_on(sys.stdout))
        lineage = manifest["ingest"]["lineage"]
        of = f"made of {', '.join(lineage['versions'])}: " if len(lineage["versions"]) > 1 else ""
        size = f"{counted(manifest['output']['rows'], 'document')} of {counted(lineage['files'], 'file')}"
        click.echo(f"{manifest['version']} is in {config.output.uri}, {of}{size}; ", nl=False)
        click.echo(f"check it with: shardmill verify {config.output.uri}")
        click.echo(seen_in(config.output.uri, manifest))


def _described(found: Arrivals) -> list[str]:
    lines = [
        f"{counted(len(found.new), 'new file')}, {count(found.known)} known"
        + (f" ({found.unreadable:,} unreadable)" if found.unreadable else "")
    ]
    lines += _some("new", [listed.uri for listed in found.new])
    lines += _some("changed", found.changed)
    return lines + _some("vanished", found.vanished)


def _some(what: str, uris: Sequence[str]) -> list[str]:
    more = [f"  and {len(uris) - MAX_SHOWN:,} more {what}"] if len(uris) > MAX_SHOWN else []
    return [*(f"  {what}: {uri}" for uri in uris[:MAX_SHOWN]), *more]


COMMANDS: list[click.Command] = [ingest]
