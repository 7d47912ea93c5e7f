"""The job that a pipeline makes on a cluster: known by what it is to do, so that submitting it twice is once.

Owns a job's id, its command and what it needs from here. Knows clusters only by their contract.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from cluster import forwarding
from cluster.target import Job, JobState, JobStatus, Target
from pipelines.commit import digest
from pipelines.config import PipelineConfig
from pipelines.errors import ConfigError, InputError, ShardmillError
from pipelines.fingerprint import engine_facts, fingerprint, operator_code
from pipelines.plan import learning
from pipelines.redaction import redact_environment, redact_uri
from pipelines.storage import Sources
from pipelines.submission_files import Shipment, absolute, shipment

Kind = Literal["run", "ingest"]

LIST_SECONDS: Final = 30.0
"""How long a store that does not answer is asked for the input: who submits waits for the id."""
ID: Final = re.compile(r"[a-z]([a-z0-9-]{0,45}[a-z0-9])?")
"""An id that is given by hand: there is room for the number of a later try."""
NAME_CHARS: Final = 30
DIGEST_CHARS: Final = 12
ELSEWHERE: Final = frozenset({"cluster", "submit", "schedule"})
"""Sections that say where and when, not what: a changed one is the same job."""
ON_A_CLUSTER: Final = "cluster={type: ray, address: auto}"

PLAIN: Final = (*forwarding.PLAIN, "SHARDMILL_LEASE_SECONDS")
"""Variables of this environment that go along as they are: where the stores are, and how they are spoken to."""
FOR_TESTS: Final = ("SHARDMILL_FAULT", "SHARDMILL_TEST_")
URI: Final = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>]+""")
COMMENT: Final = re.compile(r"(?m)(^|\s)#.*$")
REFERENCE: Final = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job that is ready to be handed over, and local paths that every node must see, by key."""

    job: Job
    places: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of a submission: under which id it is there, and whether it was there before."""

    job: Job
    is_new: bool
    status: JobStatus


def prepare_job(
    config: PipelineConfig, file: Path, overrides: Sequence[str], *, kind: Kind = "run", given_id: str | None = None, listed: bool = True
) -> Prepared:
    """The job of a pipeline.

    Args:
        config: The pipeline, with the overrides.
        file: Where it is written.
        overrides: `path=value` each, as they were given.
        kind: The command that is run.
        given_id: An id in place of the one that is made from the input.
        listed: False: an id that is not that of a job is good enough where the input cannot be listed.

    Raises:
        ConfigError: An id or an override cannot be used, or too much would go along.
        InputError: The input cannot be listed from here.
    """
    _check_plain(overrides)
    _check_file(file)
    ship = shipment(config, file)
    arguments = [*overrides, *ship.overrides, *_cluster(config)]
    job = Job(
        id=_checked(given_id) if given_id is not None else job_id(config, kind, listed=listed),
        name=config.name,
        arguments=(kind, _word(file.resolve().name), *(word for override in arguments for word in ("--set", override))),
        folder=config.folder.resolve(),
        environment=plain_environment(),
        secrets=secret_names(config, file),
        files=ship.files,
    )
    return Prepared(job, _shared(ship))


def hand_over(target: Target, job: Job) -> Handed:
    """Submit a job, unless it is there already and runs or has succeeded; one that failed or was stopped gets the next free number.

    What belongs to the pipeline, such as its schedule, is brought up to date first, in any case.

    Raises:
        TargetError: The cluster cannot be reached, or refuses.
    """
    target.prepare(job)
    for number in count(1):
        tried = replace(job, id=numbered(job.id, number))
        found = target.status(tried.id)
        if found.state in (JobState.FAILED, JobState.STOPPED):
            continue
        if found.state is not JobState.UNKNOWN:
            return Handed(tried, is_new=False, status=found)
        if target.submit(tried):
            return Handed(tried, is_new=True, status=JobStatus(JobState.PENDING))
        return Handed(tried, is_new=False, status=target.status(tried.id))  # another submitter was first
    raise AssertionError


def numbered(job_id: str, number: int) -> str:
    """The id of a later try: `<id>-2`, `<id>-3` …."""
    return job_id if number == 1 else f"{job_id}-{number}"


# --- identity


def job_id(config: PipelineConfig, kind: Kind, *, listed: bool = True) -> str:
    """The id of what is to be done: the pipeline's name, and a digest of the pipeline, its code and the listing of its input.

    Raises:
        InputError: The input cannot be listed from here.
    """
    try:
        inputs = _listing(config)
    except ShardmillError as error:
        if not listed:
            return f"{_readable(config.name)}-unlisted"
        raise InputError(
            f"{redact_uri(error.message)}: the input cannot be listed from this machine, and the job's id is made from its listing; "
            "make it readable here, or give an id of your own: --id NAME"
        ) from error
    facts = {
        "kind": kind,
        "pipeline": _what(config),
        "engine": engine_facts(),
        "operators": [operator_code(operator) for operator in config.operators],
        "assets": _assets(config),
        "input": inputs,
    }
    return f"{_readable(config.name)}-{fingerprint(facts)[:DIGEST_CHARS]}"


def _readable(name: str) -> str:
    """A name as a job's id may begin with."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    named = plain if plain[:1].isalpha() else f"run-{plain}"
    return named[:NAME_CHARS].strip("-")


def _what(config: PipelineConfig) -> dict[str, Any]:
    """The pipeline without its secrets, and without what does not decide what is done."""
    said = {key: value for key, value in config.redacted().items() if key not in ELSEWHERE}
    said["input"] = {**said["input"], "uri": [redact_uri(absolute(uri)) for uri in config.input.uri]}
    said["output"] = {**said["output"], "uri": redact_uri(absolute(config.output.uri))}
    return said


def _listing(config: PipelineConfig) -> str:
    """Digest of the input's uris, sizes and etags."""
    sources = Sources(config.input.storage_options, max_seconds=LIST_SECONDS)
    return digest("\n".join(f"{found.uri}\t{found.size}\t{found.etag}" for found in sources.find(config.input.uri)))


def _assets(config: PipelineConfig) -> dict[str, str]:
    """What assets look like from here; what cannot be seen is left to the run, which reads it."""
    sources = Sources(config.input.storage_options, max_seconds=LIST_SECONDS)
    learners = learning(config.operators)
    found = {}
    for uri in dict.fromkeys(uri for operator in config.operators for uri in operator.asset_uris_beside(learners)):
        try:
            info = sources.info(uri)
        except (ShardmillError, OSError):
            continue
        found[redact_uri(uri)] = f"{info.size} {info.etag}"
    return found


def _checked(given: str) -> str:
    if ID.fullmatch(given) is None:
        raise ConfigError(f"--id {given!r}: expected at most 47 lower-case letters, digits and `-`, a letter first and no `-` at the end")
    return given


# --- what the driver finds there


def _cluster(config: PipelineConfig) -> list[str]:
    """The work runs where the driver does, whatever the file says."""
    return ["cluster.address=auto"] if config.cluster.type == "ray" else [ON_A_CLUSTER]


def _word(name: str) -> str:
    """A file's name that is not taken for an option."""
    return f"./{name}" if name.startswith("-") else name


def _shared(ship: Shipment) -> dict[str, str]:
    return {key: redact_uri(path) for key, path in ship.places.items()}


def _check_plain(overrides: Sequence[str]) -> None:
    for override in overrides:
        if redact_environment(redact_uri(override)) != override:
            raise ConfigError(
                f"--set {override.partition('=')[0]}: the value holds a secret, which would stand in the job's description; write "
                "`${NAME}` in the file and set the variable in the environment of the cluster"
            )


def _check_file(file: Path) -> None:
    """The pipeline's file goes along as it is, comments and all."""
    for uri in URI.findall(file.read_text("utf-8-sig")):
        if "${" not in uri and (hidden := redact_uri(uri)) != uri:
            raise ConfigError(
                f"{file}: {hidden} holds a secret, and the file goes to the cluster as it is; write `${{NAME}}` in place of it and set the "
                "variable in the environment of the cluster"
            )


def plain_environment() -> dict[str, str]:
    """Settings of this environment that the driver needs too."""
    found = {name: value for name, value in os.environ.items() if name in PLAIN or name.startswith(FOR_TESTS)}
    return {name: value for name, value in sorted(found.items()) if redact_environment(redact_uri(value)) == value}


def secret_names(config: PipelineConfig, file: Path) -> tuple[str, ...]:
    """Variables that the driver reads and that do not go along: what the file refers to, and the credentials that are used here."""
    text = COMMENT.sub("", file.read_text("utf-8-sig"))
    named = {name for name in REFERENCE.findall(text) if name in os.environ}  # else it has a default, or the file would not have loaded
    schemes = {uri.partition("://")[0] for uri in (*config.input.uri, config.output.uri, config.history or "")}
    if schemes & {"s3", "s3a"}:
        named |= {name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if name in os.environ}
    if "hf" in schemes or config.publish is not None:
        named |= {name for name in ("HF_TOKEN",) if name in os.environ}
    return tuple(sorted(named - set(PLAIN)))
