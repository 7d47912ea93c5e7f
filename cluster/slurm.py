"""Slurm as a target: a job is a batch script that starts Ray over its nodes, runs the driver there and cleans up after itself.

What a job leaves is in a folder of its own that all nodes share: the script, the log, Slurm's number, how it ended. Slurm forgets a job
minutes after its end, so how it ended is known from the file that the script's trap writes.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from cluster import slurm_commands
from cluster.slurm_commands import QueuedJob
from cluster.slurm_script import EXIT, LOG, Places, SlurmOptions, render
from cluster.target import NOTHING_NEW, Job, JobState, JobStatus, Target, TargetError

NUMBER: Final = "number"
"""In the job's folder: its number in Slurm."""
SCRIPT: Final = "script.sh"
LOOK_SECONDS: Final = 0.5
LOOKS: Final = 10
"""While a log is followed: the time between two looks into it, and how many of them there are between two questions to Slurm."""
STOP_SECONDS: Final = 10.0
"""So long it is tried to reach a batch script that is just being started."""


@dataclass(frozen=True, slots=True)
class _Ended:
    """What a job wrote down at its end, and how often it had been queued again by then: it may have been once more since."""

    status: JobStatus
    restarts: int


class Slurm(Target):
    """Runs drivers as batch jobs, each with a Ray of its own over the nodes of its allocation."""

    name: ClassVar[str] = "slurm"

    def __init__(self, options: SlurmOptions) -> None:
        self._options = options
        self._folder = Path(options.folder).expanduser().absolute()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """From the section `submit.slurm` as a plain dictionary."""
        return cls(SlurmOptions.of(options))

    def describe(self, job: Job) -> str:
        """The batch script."""
        return render(job, self._options, Places(self._folder / job.id, self._options.python or sys.executable))

    def check(self, job: Job) -> str:
        """Ask Slurm whether it would take the job, and when it would start; nothing is handed over.

        Raises:
            TargetError: It would not, or does not answer.
        """
        return slurm_commands.sbatch(self.describe(job), self._set(), test_only=True)

    def submit(self, job: Job) -> bool:
        """Hand a job over, unless Slurm or its folder knows it already."""
        script = self.describe(job)
        folder = self._folder / job.id
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _alone(folder):
                if self.status(job.id).state is not JobState.UNKNOWN:
                    return False
                (folder / SCRIPT).write_text(script, encoding="utf-8", errors="surrogateescape")
                number = slurm_commands.sbatch(script, self._set())
                (folder / NUMBER).write_text(f"{number}\n")
        except OSError as error:
            raise TargetError(
                f"submit.slurm.folder: {folder} cannot be written ({error.strerror}); choose a folder of yours that all nodes share"
            ) from error
        return True

    def status(self, job_id: str) -> JobStatus:
        """What became of a job: Slurm knows while it lives, its folder afterwards."""
        ended = self._ended(job_id)
        try:
            found = slurm_commands.find(job_id)
        except TargetError:
            if ended is None:
                raise
            return ended.status
        if found is not None and found.is_pending:
            return JobStatus(JobState.PENDING, message=f"Slurm job {found.id}: {found.reason}")
        if found is not None and found.is_running:
            return JobStatus(JobState.RUNNING, message=f"Slurm job {found.id}")
        if ended is None:
            return self._ended_without_a_word(job_id, found)
        if found is not None and slurm_commands.restarts(found.id) > ended.restarts:
            return JobStatus(JobState.PENDING, message=f"Slurm job {found.id} is being queued again")
        return ended.status

    def _ended_without_a_word(self, job_id: str, found: QueuedJob | None) -> JobStatus:
        """The script's trap has not run (not yet, if Slurm is still at it): Slurm's word, or that of the submission counts."""
        if found is not None and found.state == slurm_commands.COMPLETING:
            return JobStatus(JobState.RUNNING, message=f"Slurm job {found.id} is ending")
        if found is not None:
            code = slurm_commands.exit_code(found.id)
            state = JobState.SUCCEEDED if code == NOTHING_NEW else found.final
            return JobStatus(state, code, f"Slurm job {found.id}: {found.state}, {found.reason}")
        number = self._number(job_id)
        if number is None:
            return JobStatus(JobState.UNKNOWN)
        return JobStatus(
            JobState.FAILED,
            message=f"Slurm job {number} has ended and left no exit status: it was killed, or lost its node; the end of its log may tell",
        )

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """What the job has written. Followed, it ends when the job has."""
        path = self._folder / job_id / LOG
        if not follow and not path.exists():
            status = self.status(job_id)
            if status.state is JobState.UNKNOWN:
                raise TargetError(f"Slurm knows no job {job_id}, and {path.parent} has no log of one; was it submitted from here?")
            return
        yield from _lines(path, self._followed(job_id) if follow else iter(()))

    def _followed(self, job_id: str) -> Iterator[None]:
        """Yields as long as the job has not ended, at the pace of looks into the log."""
        while not ((state := self.status(job_id).state).is_final or state is JobState.UNKNOWN):
            for _ in range(LOOKS):
                yield
                time.sleep(LOOK_SECONDS)
                if self._ended(job_id) is not None:  # Slurm has the last word, and it is not far
                    break

    def stop(self, job_id: str) -> bool:
        """Ask a job to end; one that waits is taken out of the queue."""
        deadline = time.monotonic() + STOP_SECONDS
        while (found := slurm_commands.find(job_id)) is not None and (found.is_pending or found.is_running):
            if found.is_running:
                try:
                    slurm_commands.ask_to_end(found.id)
                except TargetError:  # between its start and that of its script, or just ending
                    if time.monotonic() > deadline:
                        raise
                else:
                    return True
            else:
                slurm_commands.cancel_pending(found.id)
                if self._was_cancelled(job_id, found):
                    return True
            time.sleep(LOOK_SECONDS)
        return False

    def _was_cancelled(self, job_id: str, found: QueuedJob) -> bool:
        """Write down that a job has ended that never began, since Slurm forgets it; False if it has begun meanwhile."""
        now = slurm_commands.find(job_id)
        if now is not None and (now.id != found.id or now.state != "CANCELLED"):
            return False
        ended = {
            "slurm_job_id": found.id,
            "restarts": slurm_commands.restarts(found.id),
            "state": "stopped",
            "exit_code": 130,
            "message": "it was taken out of the queue",
        }
        folder = self._folder / job_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / f"{EXIT}.cancelled").write_text(json.dumps(ended))
        (folder / f"{EXIT}.cancelled").replace(folder / EXIT)
        return True

    def _set(self) -> list[str]:
        return [name for name in ("mem", "time", "partition", "account", "qos", "gres") if getattr(self._options, name) is not None]

    def _number(self, job_id: str) -> str | None:
        try:
            return (self._folder / job_id / NUMBER).read_text().strip()
        except FileNotFoundError:
            return None

    def _ended(self, job_id: str) -> _Ended | None:
        try:
            ended = json.loads((self._folder / job_id / EXIT).read_text(errors="replace"))
        except FileNotFoundError:
            return None
        message = f"Slurm job {ended['slurm_job_id']}: {ended['message'] or 'done'}"
        return _Ended(JobStatus(JobState(ended["state"]), ended["exit_code"], message), ended["restarts"])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One submission of a job at a time. Where the disk knows no locks, Slurm's `singleton` still runs two of them one after the other."""
    with (folder / "lock").open("w") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _lines(path: Path, going_on: Iterator[None]) -> Iterator[str]:
    """The lines of a file that grows as long as something goes on; a last one without an end is a line too."""
    rest, position = b"", 0
    more = True
    while more:
        more = next(going_on, going_on) is None  # looked before reading, so that what a job wrote last is read
        try:
            with path.open("rb") as log:
                log.seek(position)
                *lines, rest = (rest + log.read()).split(b"\n")
                position = log.tell()
        except FileNotFoundError:
            continue
        yield from (line.decode(errors="replace") for line in lines)
    if rest:
        yield rest.decode(errors="replace")
