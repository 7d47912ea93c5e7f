"""The command `schedule`: `ingest` at every tick of the pipeline's cron line.

Owns what it prints, its exit status, and how a tick becomes an ingestion.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipelines.cli_authoring import json_option, pipeline_options
from pipelines.cli_output import write_json, write_table
from pipelines.cli_signals import terminable
from pipelines.errors import ConfigError, LeaseHeld
from pipelines.legible import counted
from pipelines.runbook import TICKS_MISSED, pointer

if TYPE_CHECKING:
    from pipelines.config import PipelineConfig
    from pipelines.progress import Watch
    from pipelines.schedule import Act, Done, Outcome
    from pipelines.storage import Store
    from pipelines.tick_log import TickLog
    from pipelines.ticks import Schedule, Tick

NOTHING_NEW: Final = 3
FAILED: Final = 1


@click.command()
@pipeline_options
@click.option("--once", is_flag=True, help="Do what is due now and end, for cron, systemd or Kubernetes; exit status 3: nothing new.")
@click.option("--next", "upcoming", type=click.IntRange(1, 10_000), metavar="N", help="Only print the next N ticks.")
@click.option("--crontab", "as_crontab", is_flag=True, help="Only print the lines of a crontab that do the same.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress of the ingestions.")
def schedule(
    file: Path, overrides: tuple[str, ...], once: bool, upcoming: int | None, as_crontab: bool, as_json: bool, quiet: bool
) -> None:
    """Ingest what is new at every tick of the pipeline's `schedule`, until it is interrupted.

    It may be killed and started again at any time, and there may be several: each tick's work is done once. Ticks that nobody was there for
    are made up for as `schedule.catch_up` says.
    """
    from pipelines.config import load  # noqa: PLC0415

    if once + (upcoming is not None) + as_crontab > 1:
        raise ConfigError("schedule: --once, --next and --crontab are three different things; give one of them")
    if as_json and not once and upcoming is None:
        raise ConfigError("schedule: --json prints one object; it goes with --once or --next")
    config = load(file, overrides)
    when = _schedule_of(config, file)
    if upcoming is not None:
        _print_next(config, when, upcoming, as_json=as_json)
    elif as_crontab:
        from pipelines.crontab import crontab  # noqa: PLC0415

        click.echo("\n".join(crontab(when, file.absolute(), overrides, Path.cwd())))
    elif once:
        _once(config, when, as_json=as_json, quiet=quiet)
    else:
        _run(config, when, quiet=quiet)


def _schedule_of(config: PipelineConfig, file: Path) -> Schedule:
    from pipelines.ticks import Schedule  # noqa: PLC0415

    if config.schedule is None:
        example = 'schedule: {cron: "0 3 * * *", timezone: Europe/Berlin}'
        raise ConfigError(f"{file}: the key 'schedule' is missing (when `schedule` ingests); write, for example, `{example}`")
    return Schedule(config.schedule.cron, config.schedule.timezone)


# --- what is asked without any work


def _print_next(config: PipelineConfig, when: Schedule, number: int, *, as_json: bool) -> None:
    from pipelines.schedule import wall_text  # noqa: PLC0415

    log = _log_of(config, when)
    ticks = list(itertools.islice(when.after(datetime.now(UTC)), number))
    if as_json:
        told = [{"tick": tick.text, "wall": tick.wall.isoformat(timespec="minutes"), "id": log.id_of(tick)} for tick in ticks]
        write_json({"cron": when.cron, "timezone": when.timezone, "catch_up": _catch_up(config), "ticks": told})
        return
    rows = [(wall_text(tick), f"{tick.wall:%a}", f"{tick.instant:%Y-%m-%d %H:%M} UTC", log.id_of(tick)) for tick in ticks]
    write_table((when.timezone, "", "UTC", "id"), rows)


# --- work


def _run(config: PipelineConfig, when: Schedule, *, quiet: bool) -> None:
    from pipelines.cli_publish import check_publishing  # noqa: PLC0415
    from pipelines.schedule import Scheduler  # noqa: PLC0415

    with terminable():
        log = _log_of(config, when)
        log.store.check()
        check_publishing(config)
        _say(f"{config.name}: {when.cron} in {when.timezone}, catch_up {_catch_up(config)}")
        Scheduler(log, _catch_up(config), _ingesting(config, quiet=quiet), StoreClock(log.store), _say).run()


def _once(config: PipelineConfig, when: Schedule, *, as_json: bool, quiet: bool) -> None:
    from pipelines.schedule import Scheduler, next_text  # noqa: PLC0415

    tell = _note if as_json else _say
    with terminable():
        log = _log_of(config, when)
        log.store.check()
        clock = StoreClock(log.store)
        try:
            done = Scheduler(log, _catch_up(config), _ingesting(config, quiet=quiet), clock, tell).once()
        except LeaseHeld as held:
            _note(f"shardmill: {held.message}")
            _note(pointer(TICKS_MISSED))
            done = []
        now = clock.now()
    following = next(when.after(now), None)
    if as_json:
        told = None if following is None else {"tick": following.text, "wall": following.wall.isoformat(timespec="minutes")}
        write_json({"ticks": [one.to_json() for one in done], "next": told})
    elif following is not None:
        _say(next_text(following, now) if done else f"nothing is due; {next_text(following, now)}")
    status = _exit_status(done)
    if status:
        raise click.exceptions.Exit(status)


def _exit_status(done: Sequence[Done]) -> int:
    kinds = {one.outcome.kind for one in done}
    return FAILED if "failed" in kinds else 0 if "version" in kinds else NOTHING_NEW


def _log_of(config: PipelineConfig, when: Schedule) -> TickLog:
    from pipelines.storage import open_store  # noqa: PLC0415
    from pipelines.tick_log import TickLog  # noqa: PLC0415

    return TickLog(open_store(config.output.uri, config.output.storage_options), config.name, when)


def _catch_up(config: PipelineConfig) -> Any:
    assert config.schedule is not None
    return config.schedule.catch_up


def _ingesting(config: PipelineConfig, *, quiet: bool) -> Act:
    """The work of a tick: an ingestion, and the publication of what the output has then, if that is not published yet."""
    published: set[str] = set()

    def act(tick: Tick, name: str) -> Outcome:  # noqa: ARG001
        from pipelines.cli_publish import check_publishing, publish_result  # noqa: PLC0415
        from pipelines.ingest import ingest  # noqa: PLC0415
        from pipelines.schedule import Outcome  # noqa: PLC0415

        check_publishing(config)
        result = ingest(config, watch=_watch(quiet=quiet), tick=name)
        version = result.manifest["version"]
        if version not in published:
            publish_result(config, version)
            published.add(version)
        if not result.is_new:
            return Outcome("nothing_new", version)
        output = result.manifest["output"]
        return Outcome("version", version, f"{counted(output['rows'], 'document')} in {counted(output['shards'], 'shard')}")

    return act


class StoreClock:
    """The clock of the store, which all schedulers of an output share."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> datetime:
        """The present by the store's clock."""
        return datetime.fromtimestamp(self._store.now(), UTC)

    def wait(self, seconds: float) -> None:
        """Let time pass; a signal ends it."""
        time.sleep(max(seconds, 0.0))


def _watch(*, quiet: bool) -> Watch:
    """A line a phase: a scheduler's output is a log, on a terminal too."""
    from rich.console import Console  # noqa: PLC0415

    from pipelines.progress import Lines, Silent  # noqa: PLC0415

    return Silent() if quiet else Lines(Console(file=sys.stderr, soft_wrap=True))


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


def _note(line: str) -> None:
    click.echo(line, err=True)


COMMANDS: list[click.Command] = [schedule]
