"""The commands around a run: `plan`, `run`, `status`, `verify`, `report`, `gc`.

Owns what they print: progress and messages on standard error, results on standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli_authoring import json_option, pipeline_options
from pipelines.cli_output import write_json
from pipelines.cli_signals import terminable
from pipelines.errors import CheckFailed, ConfigError, NotFound, Purged, StorageError
from pipelines.runbook import DELETABLE, pointer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.config import PipelineConfig
    from pipelines.progress import Watch
    from pipelines.run import RunResult

limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N documents of the input.")


@click.command()
@pipeline_options
@limit_option
@json_option
def plan(file: Path, overrides: tuple[str, ...], limit: int | None, as_json: bool) -> None:
    """Say what a run would do: stages, units, what is committed, what would run again and why."""
    from pipelines.config import load  # noqa: PLC0415
    from pipelines.survey import render, survey  # noqa: PLC0415

    found = survey(load(file, overrides), limit)
    if as_json:
        write_json(found.to_json())
    else:
        click.echo("\n".join(render(found)))


@click.command()
@pipeline_options
@limit_option
@json_option
@click.option("--quiet", is_flag=True, help="No progress.")
def run(file: Path, overrides: tuple[str, ...], limit: int | None, as_json: bool, quiet: bool) -> None:
    """Run a pipeline, or go on with it where it was stopped."""
    from pipelines.cli_publish import check_publishing, publish_result  # noqa: PLC0415
    from pipelines.config import load  # noqa: PLC0415
    from pipelines.run import run as run_pipeline  # noqa: PLC0415

    config = load(file, overrides)
    if limit is None:
        check_publishing(config)
    with terminable(), watching(quiet=quiet) as watch:
        result = run_pipeline(config, limit=limit, watch=watch)
    _tell(config, result, as_json=as_json)
    if limit is None:
        with terminable():
            publish_result(config, result.manifest["version"])
    elif config.publish is not None:
        click.echo(f"With --limit nothing is published; to publish it all the same: shardmill publish {config.output.uri}", err=True)


def _tell(config: PipelineConfig, result: RunResult, *, as_json: bool) -> None:
    from pipelines.funnel import render_funnel  # noqa: PLC0415
    from pipelines.run import DONE  # noqa: PLC0415

    if as_json:
        if result.was_finished:
            click.echo(f"{config.name}: {DONE}", err=True)
        write_json(result.manifest)
        return
    if result.was_finished:
        click.echo(f"{config.name}: {DONE}")
    render_funnel(result.manifest, console_on(sys.stdout))
    uri = config.output.uri
    click.echo(f"{result.manifest['version']} is in {uri}; check it with: shardmill verify {uri}")
    click.echo(seen_in(uri, result.manifest))


def seen_in(uri: str, manifest: Mapping[str, Any]) -> str:
    """Where a finished version's report is, and how to read its documents."""
    return f"its report: {uri.rstrip('/')}/versions/{manifest['version']}/report.html; read its documents with: shardmill inspect {uri}"


@click.command()
@click.argument("uri")
@json_option
def status(uri: str, as_json: bool) -> None:
    """Say where a run is and what it waits for."""
    from pipelines.status import render_status  # noqa: PLC0415
    from pipelines.status import status as status_of  # noqa: PLC0415

    found = status_of(uri)
    if as_json:
        write_json(found)
    else:
        click.echo("\n".join(render_status(found)))


@click.command()
@click.argument("uri")
@click.option("--version", metavar="VERSION", help="A version other than the current one, as `v1`.")
@json_option
def verify(uri: str, version: str | None, as_json: bool) -> None:
    """Check every promise of a finished version from its files."""
    from pipelines.verify import render  # noqa: PLC0415
    from pipelines.verify import verify as verify_version  # noqa: PLC0415

    found = verify_version(uri, version=version)
    if as_json:
        write_json(found.to_json())
    else:
        click.echo("\n".join(render(found)))
    if not found.ok:
        failed = sum(not check.ok for check in found.checks)
        raise CheckFailed(f"{uri}: {failed} of {len(found.checks)} checks failed")


@click.command()
@click.argument("uri")
@click.option("--version", metavar="VERSION", help="A version other than the current one, as `v1`.")
@click.option("--output", "target", type=click.Path(path_type=Path), help="Where to write the report; default: standard output.")
def report(uri: str, version: str | None, target: Path | None) -> None:
    """Write the HTML report of a finished version."""
    from pipelines.published import open_finished  # noqa: PLC0415
    from pipelines.verify_manifest import VERSION  # noqa: PLC0415
    from pipelines.version import current_manifest  # noqa: PLC0415

    if version is not None and VERSION.fullmatch(version) is None:
        raise ConfigError(f"--version: found {version!r}, expected a version, as v1")
    store = open_finished(uri, version=version)
    found = current_manifest(store)
    if found is None:
        raise NotFound(f"{uri}: there is no manifest.json: no version is finished; `shardmill status {uri}` says where the run is")
    current = found[0]["version"]
    version = version or current
    if not store.exists(f"versions/{version}/manifest.json"):
        raise NotFound(f"{uri}: version {version} is not finished here; the current one is {current}")
    if store.exists(f"versions/{version}/purged.json"):
        raise Purged(f"{uri}: {version} was purged when documents were taken out; only its manifest is left")
    page = store.read(f"versions/{version}/report.html")
    if target is None:
        click.echo(page, nl=False)  # as it is: a terminal's encoding may lack characters of documents
    else:
        try:
            target.write_bytes(page)
        except OSError as error:
            raise StorageError(
                f"{target}: the report cannot be written ({error.strerror}); give a path in a folder that you may write to"
            ) from error
        click.echo(f"Wrote {target}.")


@click.command(epilog=f"What else may be deleted: {pointer(DELETABLE)}")
@click.argument("uri")
@json_option
def gc(uri: str, as_json: bool) -> None:
    """Remove what nothing needs: parts of attempts that lost, of stages that a finished version superseded, of abandoned versions."""
    from pipelines.gc import collect_output  # noqa: PLC0415

    swept = collect_output(uri)
    if as_json:
        write_json({"objects": swept.objects, "bytes": swept.bytes})
    else:
        click.echo(f"{uri}: removed {swept.objects:,} objects, {swept.bytes / 1e6:,.1f} MB.")


COMMANDS: list[click.Command] = [plan, run, status, verify, report, gc]


def console_on(stream: Any) -> Console:
    """Where tables and progress are written."""
    from rich.console import Console  # noqa: PLC0415

    return Console(file=stream, soft_wrap=False)


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watch]:
    """Progress bars on a terminal, a line a phase in a log."""
    from pipelines.progress import Lines, Silent, Terminal  # noqa: PLC0415
    from pipelines.waits import told_to  # noqa: PLC0415

    console = console_on(sys.stderr)
    watch: Watch = Silent() if quiet else Terminal(console) if console.is_terminal else Lines(console)
    try:
        with told_to(watch.note):
            yield watch
    finally:
        watch.close()
