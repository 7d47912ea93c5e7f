"""The commands that hand a run to a cluster and follow it there: `submit`, `logs`, `wait`, `stop`.

Owns what they print, and how a job's end becomes an exit status. What a job is, submission.py says; clusters are known by their contract.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cluster.target import Job, JobState, JobStatus, Target, TargetError
from pipelines.cli_authoring import json_option, pipeline_options
from pipelines.cli_output import write_json
from pipelines.errors import ClusterError, ConfigError, NotFound, ShardmillError
from pipelines.targets import TARGETS, target_of

if TYPE_CHECKING:
    from pipelines.config import PipelineConfig
    from pipelines.submission import Prepared
    from pipelines.submission_records import Submission

Command = Callable[..., int | None]

POLL_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 120.0
"""A cluster that has answered before may be away for so long while the end of a job is waited for."""
STOP_SECONDS: Final = 30.0
"""How much longer than a driver may take to end `stop` waits to see it."""
INTERRUPTED: Final = 130
EXITS: Final = {JobState.SUCCEEDED: 0, JobState.FAILED: 1, JobState.STOPPED: INTERRUPTED}
"""Exit status of a job whose own the cluster does not know."""


@dataclass(frozen=True, slots=True)
class Found:
    """A job that was submitted before, and where it is."""

    config: PipelineConfig
    to: str
    id: str
    target: Target


def job_options(command: Command) -> Command:
    """The options that say which job of a pipeline is meant."""
    to = click.option("--to", type=click.Choice(list(TARGETS)), help="The kind of cluster; default: that of the last submission.")
    job = click.option("--id", "job_id", metavar="ID", help="The job; default: the last one that was submitted for the output.")
    return pipeline_options(to(job(command)))


@click.command()
@pipeline_options
@click.option("--to", type=click.Choice(list(TARGETS)), required=True, help="The kind of cluster.")
@click.option("--dry", is_flag=True, help="Print what would be sent, and send nothing.")
@click.option("--test-only", is_flag=True, help="Ask the cluster whether it would take the job (slurm).")
@click.option("--ingest", is_flag=True, help="Submit `shardmill ingest FILE` in place of `run`.")
@click.option("--follow", is_flag=True, help="Show the driver's log until it ends; the exit status is the job's.")
@click.option("--id", "given_id", metavar="ID", help="An id in place of the one that is made from the pipeline and its input.")
@json_option
def submit(
    file: Path,
    overrides: tuple[str, ...],
    to: str,
    dry: bool,
    test_only: bool,
    ingest: bool,
    follow: bool,
    given_id: str | None,
    as_json: bool,
) -> int:
    """Hand a pipeline to a cluster. Submitting the same twice is once; one that failed or was stopped is submitted again."""
    from pipelines.config import load  # noqa: PLC0415
    from pipelines.submission import prepare_job  # noqa: PLC0415

    if follow and as_json:
        raise ConfigError("--follow and --json: standard output is one object or the log; give one of them")
    config = load(file, overrides)
    prepared = prepare_job(config, file, overrides, kind="ingest" if ingest else "run", given_id=given_id, listed=not dry)
    target = target_of(to, config)
    with _told():
        if test_only:
            return _show(prepared, to, "said", _asked(target, prepared.job), as_json=as_json)
        if dry:
            return _show(prepared, to, "sent", target.describe(prepared.job), as_json=as_json)
        found = _submit(file, config, target, prepared, as_json=as_json)
        return _follow(file, found) if follow else 0


@click.command()
@job_options
@click.option("--follow", is_flag=True, help="Until the job ends.")
def logs(file: Path, overrides: tuple[str, ...], to: str | None, job_id: str | None, follow: bool) -> int:
    """Print what a submitted job has written."""
    with _told():
        found = _found(file, overrides, to, job_id)
        try:
            for line in found.target.logs(found.id, follow=follow):
                click.echo(line)
        except KeyboardInterrupt:
            return _let_go(file, found)
        if follow:
            status = found.target.status(found.id)
            click.echo(_ended(found, status, _exit_status(status)), err=True)
    return 0


@click.command()
@job_options
@json_option
def wait(file: Path, overrides: tuple[str, ...], to: str | None, job_id: str | None, as_json: bool) -> int:
    """Wait for the end of a submitted job; the exit status is the job's own."""
    with _told():
        found = _found(file, overrides, to, job_id)
        try:
            status = _end_of(found)
        except KeyboardInterrupt:
            return _let_go(file, found)
    code = _exit_status(status)
    if as_json:
        write_json({"id": found.id, "to": found.to, "state": status.state.value, "exit_code": code, "message": status.message})
    else:
        click.echo(_ended(found, status, code))
    return code


@click.command()
@job_options
@json_option
def stop(file: Path, overrides: tuple[str, ...], to: str | None, job_id: str | None, as_json: bool) -> int:
    """Ask a submitted job to end; what it has committed stays, and a later run goes on from there."""
    with _told():
        found = _found(file, overrides, to, job_id)
        asked = found.target.stop(found.id)
        status = _stopped(found) if asked else found.target.status(found.id)
    if as_json:
        write_json({"id": found.id, "to": found.to, "stopped": asked, "state": status.state.value})
    elif not asked:
        click.echo(f"{found.id} was not running: it is {_state(status)}.")
    elif not status.state.is_final:
        click.echo(f"{found.id} was asked to end and is still {_state(status)}; see: shardmill wait {file}")
    else:
        click.echo(
            f"{found.id} is {_state(status)}. What it has committed stays in {_output(found.config)}; "
            f"to go on: shardmill submit {file} --to {found.to}"
        )
    return 0


COMMANDS: list[click.Command] = [submit, logs, wait, stop]


# --- submit


def _submit(file: Path, config: PipelineConfig, target: Target, prepared: Prepared, *, as_json: bool) -> Found:
    from pipelines.submission import hand_over  # noqa: PLC0415

    handed = hand_over(target, prepared.job)
    _keep(config, target, handed.job.id)
    if handed.is_new:
        _tell_needs(prepared, target.name)
    found = Found(config, target.name, handed.job.id, target)
    if as_json:
        said = {"submitted": handed.is_new, "state": handed.status.state.value, "pipeline": config.name, "output": _output(config)}
        write_json({"id": found.id, "to": found.to, "place": target.place, **said})
    elif handed.is_new:
        at = f" at {target.place}" if target.place else ""
        click.echo(f"{found.id} was handed to {found.to}{at}.")
        _tell_commands(file)
    else:
        again = "; to do it all the same, give it another id: --id NAME" if handed.status.state is JobState.SUCCEEDED else ""
        click.echo(f"{found.id} is already there: it is {_state(handed.status)}{again}.")
        _tell_commands(file)
    return found


def _tell_needs(prepared: Prepared, to: str) -> None:
    """What must be there on the cluster, because it is not sent."""
    for key, path in prepared.places.items():
        click.echo(f"note: {key} is {path}: every node of the cluster must see that folder", err=True)
    if prepared.job.secrets:
        names = ", ".join(prepared.job.secrets)
        slurm = "not in the script; the job has them from your environment, by submit.slurm.export"
        other = "not sent; the job reads them from its own environment on the cluster"
        click.echo(f"note: {names}: {slurm if to == 'slurm' else other}", err=True)


def _tell_commands(file: Path) -> None:
    click.echo(f"Follow it: shardmill logs {file} --follow; its end: shardmill wait {file}; end it: shardmill stop {file}")


def _keep(config: PipelineConfig, target: Target, job_id: str) -> None:
    """Write down where the job went; without it the other commands need to be told."""
    from pipelines.storage import open_store  # noqa: PLC0415
    from pipelines.submission_records import keep  # noqa: PLC0415

    try:
        keep(open_store(config.output.uri, config.output.storage_options), job_id, target.name, target.place)
    except ShardmillError as error:
        click.echo(
            f"note: where the job went could not be written down ({error.message}); give `--to {target.name} --id {job_id}` to logs, wait "
            "and stop",
            err=True,
        )


def _asked(target: Target, job: Job) -> str:
    """What a cluster says to a job that is not handed over."""
    check: Callable[[Job], str] | None = getattr(target, "check", None)
    if check is None:
        raise ConfigError(f"--test-only: {target.name} cannot be asked beforehand; `--dry` prints what would be sent")
    return check(job)


def _show(prepared: Prepared, to: str, key: str, text: str, *, as_json: bool) -> int:
    """What would be sent, or what the cluster said; a person is told what is not sent, too."""
    if as_json:
        write_json({"id": prepared.job.id, "to": to, key: text})
    else:
        click.echo(text)
        _tell_needs(prepared, to)
    return 0


def _follow(file: Path, found: Found) -> int:
    try:
        for line in found.target.logs(found.id, follow=True):
            click.echo(line)
        status = _end_of(found)
    except KeyboardInterrupt:
        return _let_go(file, found)
    code = _exit_status(status)
    click.echo(_ended(found, status, code), err=True)
    return code


# --- the job that is meant


def _found(file: Path, overrides: tuple[str, ...], to: str | None, job_id: str | None) -> Found:
    """The job that is named, or the last one of the output.

    Raises:
        NotFound: Nothing was submitted.
    """
    from pipelines.config import load  # noqa: PLC0415

    config = load(file, overrides)
    record = None if to is not None and job_id is not None else _record(config, to, job_id)
    if record is None and (to is None or job_id is None):
        what = f"{job_id} was not submitted" if job_id is not None else "nothing was submitted"
        where = "" if to is None else f" to {to}"
        raise NotFound(f"{_output(config)}: {what}{where} for this output; `shardmill submit {file} --to …`, or give both --to and --id")
    if record is None:
        assert to is not None
        assert job_id is not None
        return Found(config, to, job_id, target_of(to, config))
    return Found(config, record.to, record.id, target_of(record.to, config, record.place))


def _record(config: PipelineConfig, to: str | None, job_id: str | None) -> Submission | None:
    from pipelines.storage import open_store  # noqa: PLC0415
    from pipelines.submission_records import latest, read  # noqa: PLC0415

    store = open_store(config.output.uri, config.output.storage_options)
    return latest(store, to) if job_id is None else read(store, job_id)


def _end_of(found: Found) -> JobStatus:
    """The job's status once it has ended. A cluster that stops to answer is asked again for a while.

    Raises:
        NotFound: The cluster does not know it.
        TargetError: It does not answer, or not any more.
    """
    heard = -math.inf
    while True:
        try:
            status = found.target.status(found.id)
        except TargetError:
            if time.monotonic() - heard > PATIENCE_SECONDS:
                raise
        else:
            heard = time.monotonic()
            if status.state.is_final:
                return status
            if status.state is JobState.UNKNOWN:
                raise NotFound(
                    f"{found.id}: {found.to} does not know this job: it was never handed over, or was forgotten with its cluster; "
                    f"`shardmill status {_output(found.config)}` says how far it came"
                )
        time.sleep(POLL_SECONDS)


def _stopped(found: Found) -> JobStatus:
    """The job's status once it has ended, or when that has taken too long."""
    allowed = getattr(getattr(found.config.submit, found.to), "stop_seconds", 0) + STOP_SECONDS
    deadline = time.monotonic() + allowed
    while True:
        status = found.target.status(found.id)
        if status.state.is_final or status.state is JobState.UNKNOWN or time.monotonic() > deadline:
            return status
        time.sleep(min(POLL_SECONDS, 0.5))


def _let_go(file: Path, found: Found) -> int:
    """Ctrl-C ends the looking on, not the job."""
    with suppress(BrokenPipeError):
        click.echo(
            f"{found.id} goes on without you; to end it: shardmill stop {file}; to follow it: shardmill logs {file} --follow", err=True
        )
    return INTERRUPTED


def _exit_status(status: JobStatus) -> int:
    return EXITS.get(status.state, 1) if status.exit_code is None else status.exit_code


def _ended(found: Found, status: JobStatus, code: int) -> str:
    why = f": {status.message}" if status.message and status.state is JobState.FAILED else ""
    return f"{found.id} {_state(status)}, exit status {code}{why}"


def _state(status: JobStatus) -> str:
    return status.state.value


def _output(config: PipelineConfig) -> str:
    from pipelines.redaction import redact_uri  # noqa: PLC0415

    return redact_uri(config.output.uri)


@contextmanager
def _told() -> Iterator[None]:
    """What a cluster cannot do, as one of our errors."""
    try:
        yield
    except TargetError as error:
        raise ClusterError(str(error)) from error
