"""Slurm's own commands: hand a script over, ask for a job, signal it. What they print, and what their errors mean.

Only what every Slurm since 20.11 prints in the same form is used; its JSON has another shape in each release, and `sacct` needs a database.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cluster.target import JobState, TargetError

TIMEOUT_SECONDS: Final = 60.0
PENDING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
RUNNING: Final = frozenset({"RUNNING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"})
COMPLETING: Final = "COMPLETING"
ALLOCATED: Final = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
"""Of the variables that begin with SLURM_, those that tell which Slurm; the others are of the job that this process may be part of."""
OWN: Final = (
    *("ACCOUNT", "DEPENDENCY", "EXCLUSIVE", "EXPORT", "GRES", "JOB_NAME", "MEM_PER_NODE", "NO_REQUEUE", "OPEN_MODE", "OUTPUT", "PARTITION"),
    *("QOS", "REQUEUE", "SIGNAL", "TIMELIMIT", "WAIT", "WCKEY"),
)
"""SBATCH_… variables stand above the script's own lines: the ones of what the script asks for are kept from sbatch."""
REFUSAL: Final = "submission failed"
REFUSED: Final = "change what it names in `submit.slurm` (`--dry` prints what is asked for)"
UNREACHED: Final = (
    "does `sinfo` answer on this machine? Jobs are submitted from a login node; SLURM_CONF names another cluster's slurm.conf"
)
OF_OPTIONS: Final = {
    "ACCOUNT": "account",
    "GRES": "gres",
    "MEM_PER_NODE": "mem",
    "PARTITION": "partition",
    "QOS": "qos",
    "TIMELIMIT": "time",
}
"""Those of what the script may leave open: a site's defaults then hold."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that Slurm knows: it forgets one some minutes after its end (MinJobAge)."""

    id: str
    state: str
    reason: str

    @property
    def is_pending(self) -> bool:
        """Whether it waits for nodes."""
        return self.state in PENDING

    @property
    def is_running(self) -> bool:
        """Whether it has nodes and is not about to give them back."""
        return self.state in RUNNING

    @property
    def final(self) -> JobState:
        """What a job that has ended became, as far as Slurm can tell."""
        return {"COMPLETED": JobState.SUCCEEDED, "CANCELLED": JobState.STOPPED}.get(self.state, JobState.FAILED)


def sbatch(script: str, set_options: Sequence[str], *, test_only: bool = False) -> str:
    """Hand a script over; returns the job's number, or what Slurm says when it is only asked.

    Raises:
        TargetError: Slurm refuses, or does not answer.
    """
    hidden = {f"SBATCH_{name}" for name in OWN if name not in OF_OPTIONS or OF_OPTIONS[name] in set_options}
    command = ["sbatch", "--test-only"] if test_only else ["sbatch", "--parsable"]
    out, said = _run(command, script, hidden)
    if test_only:
        return (said or out).strip().removeprefix("sbatch: ")
    number = out.strip().partition(";")[0]  # with several clusters: number;cluster
    if not number.isdigit():
        raise TargetError(f"sbatch answered {out.strip()[:200]!r} instead of a job's number; look with squeue whether the job is there")
    return number


def find(name: str) -> QueuedJob | None:
    """The job of this user with a name, running, waiting or just ended; of several the one that is not over, else the latest."""
    out, _ = _run(["squeue", "--noheader", "--states=all", f"--user={os.getuid()}", f"--name={name}", "--format=%A|%T|%r"])
    jobs = [QueuedJob(*line.strip().split("|", 2)) for line in out.splitlines() if line.count("|") >= 2]
    return max(jobs, key=lambda job: (job.is_running, job.is_pending, int(job.id)), default=None)


def exit_code(number: str) -> int | None:
    """The exit status of an ended job, 128 + n if signal n ended it; None if Slurm has forgotten it."""
    found = re.search(r"\bExitCode=(\d+):(\d+)", _shown(number))
    return None if found is None else 128 + int(found[2]) if int(found[2]) else int(found[1])


def restarts(number: str) -> int:
    """How often a job was queued again; it counts as soon as that is decided."""
    found = re.search(r"\bRestarts=(\d+)", _shown(number))
    return 0 if found is None else int(found[1])


def _shown(number: str) -> str:
    try:
        return _run(["scontrol", "show", "job", number])[0]
    except TargetError:  # forgotten
        return ""


def cancel_pending(number: str) -> None:
    """Cancel a job if it has not started."""
    _run(["scancel", "--quiet", "--state=PENDING", number])


def ask_to_end(number: str) -> None:
    """SIGTERM to the batch script alone, which ends what it has started in good order."""
    _run(["scancel", "--quiet", "--batch", "--signal=TERM", number])


def _run(command: Sequence[str], text: str = "", hidden: frozenset[str] | set[str] = frozenset()) -> tuple[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in hidden and not _of_a_job(name)}
    try:
        done = subprocess.run(  # noqa: S603  a fixed command of the user's own Slurm
            command,
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        raise TargetError(
            f"{command[0]} is not on this machine; submit from a login node of the Slurm cluster, or take there what"
            " `shardmill submit FILE --to slurm --dry` prints, for sbatch"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise TargetError(f"{command[0]}: Slurm has not answered within {TIMEOUT_SECONDS:.0f} s; try again when `sinfo` answers") from error
    out, said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    if done.returncode != 0:
        what = _words(said or out, command[0]) or f"exit status {done.returncode}"
        raise TargetError(f"{command[0]}: {what}; {REFUSED if command[0] == 'sbatch' and REFUSAL in what else UNREACHED}")
    return out, said


def _of_a_job(name: str) -> bool:
    return name.startswith("SLURM_") and name not in ALLOCATED


def _words(text: str, command: str) -> str:
    lines = [line.strip().removeprefix(f"{command}: ").removeprefix("error: ") for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))[:500]
