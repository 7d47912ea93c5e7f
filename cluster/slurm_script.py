"""The batch script of a job: what Slurm is asked for, the settings, and what is the same for every job (slurm_job.sh).

Pure: the same job and settings give the same script. No secret can be in it, since none is known here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Self

from cluster.target import Job, TargetError

LOG: Final = "output.log"
"""In the job's folder: what the job writes; a job that is queued again appends to it."""
EXIT: Final = "exit"
"""In the job's folder: how the job ended, in JSON."""
WARNING_SECONDS: Final = 90
"""Before its time limit a job is told to end; Slurm may do so up to a minute early."""
KEPT: Final = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER")
"""Variables that a job gets in any case."""


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """The section `submit.slurm` of a pipeline file, where each key is explained."""

    partition: str | None
    account: str | None
    qos: str | None
    time: str | None
    nodes: int
    cpus_per_task: int | None
    mem: str | None
    gres: str | None
    sbatch_options: tuple[str, ...]
    setup: tuple[str, ...]
    python: str | None
    folder: str
    temp_folder: str
    export: str | tuple[str, ...]
    restarts: int
    requeues: int
    start_seconds: int
    object_store_memory: int

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """From the section as a plain dictionary; other keys are not for here."""
        values: dict[str, Any] = {field.name: options[field.name] for field in fields(cls)}
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Places:
    """The folder of a job, which all nodes share, and the Python that has shardmill there."""

    job_folder: Path
    python: str


def render(job: Job, options: SlurmOptions, places: Places) -> str:
    """The script.

    Raises:
        TargetError: The log's path cannot be written in a `#SBATCH` line.
    """
    directives = [f"#SBATCH {option}" for option in sbatch_options(job, options, places)]
    body = Path(__file__).with_name("slurm_job.sh").read_text(encoding="utf-8")
    about = (
        f"# shardmill: pipeline {_printable(job.name)}. Its folder below must exist before the job starts, on a disk that all nodes share."
    )
    return "\n".join(["#!/bin/bash", about, *directives, "", *_settings(job, options, places), "", body])


def sbatch_options(job: Job, options: SlurmOptions, places: Places) -> Iterator[str]:
    """What Slurm is asked for."""
    yield f"--job-name={job.id}"
    yield "--dependency=singleton"  # submitted twice at the same moment, it still runs once at a time
    yield f"--output={_in_directive(places.job_folder / LOG)}"
    yield "--open-mode=append"
    yield f"--nodes={options.nodes}"
    yield "--ntasks-per-node=1"
    yield "--exclusive" if options.cpus_per_task is None else f"--cpus-per-task={options.cpus_per_task}"
    for name in ("mem", "time", "partition", "account", "qos", "gres"):
        value = getattr(options, name)
        if value is not None:
            yield f"--{name}={value}"
    yield f"--signal=B:USR1@{WARNING_SECONDS}"
    yield "--requeue" if options.requeues else "--no-requeue"
    yield f"--export={'ALL' if isinstance(options.export, str) else ','.join(sorted({*KEPT, *options.export, *job.secrets}))}"
    yield from options.sbatch_options


def quoted(text: str) -> str:
    """A word of bash that stands for the text, on one line.

    Control characters are escaped: a line end would begin a line of its own, and sbatch refuses scripts with carriage returns.
    """
    if text.isprintable() or not any(_is_control(letter) for letter in text):
        return shlex.quote(text)
    escaped = "".join(f"\\x{ord(letter):02x}" if _is_control(letter) else f"\\{letter}" if letter in "\\'" else letter for letter in text)
    return f"$'{escaped}'"


def _is_control(letter: str) -> bool:
    return letter < " " or letter == "\x7f"


def _settings(job: Job, options: SlurmOptions, places: Places) -> Iterator[str]:
    yield f"job_folder={quoted(str(places.job_folder))}"
    yield f"work_folder={quoted(str(job.folder.absolute()))}"
    yield f"temp_folder={quoted(options.temp_folder)}"
    yield f"python={quoted(places.python)}"
    yield f"arguments=({' '.join(quoted(word) for word in job.arguments)})"
    yield f"restarts={options.restarts}"
    yield f"requeues={options.requeues}"
    yield f"start_seconds={options.start_seconds}"
    yield f"object_store_bytes={options.object_store_memory}"
    yield "export PYTHONSAFEPATH=1 # a folder called `cluster` beside the pipeline is not ours"
    for name, value in sorted(job.environment.items()):
        yield f"export {name}={quoted(value)}"
    yield "set_up() {"
    yield "  :"
    for number, line in enumerate(options.setup, 1):
        # As one word: a line that bash cannot read fails by itself, with its number, and not the script around it.
        yield f'  eval {quoted(line)} || fail "$UNUSABLE" "submit.slurm.setup: line {number} ended with status $?"'
    yield "}"


def _in_directive(path: Path) -> str:
    text = str(path)
    wrong = sorted({letter for letter in text if letter in "\"'\\" or not letter.isprintable()})
    if wrong:
        raise TargetError(
            f"submit.slurm.folder: {text!r} has {', '.join(map(repr, wrong))}, which a #SBATCH line cannot hold; choose a folder without"
        )
    return '"' + text.replace("%", "%%") + '"'


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)
