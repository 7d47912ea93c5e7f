"""What can be done with a cluster that runs drivers: hand one over, ask what became of it, read what it says, stop it.

One contract for Ray Jobs, KubeRay and Slurm. A job is known by its id, which its submitter makes from what it is to do: handed over twice,
it runs once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

NOTHING_NEW: Final = 3
"""Exit status of an ingestion that found nothing to do: a good end, which clusters take for a failure."""


class JobState(StrEnum):
    """Where a job is."""

    UNKNOWN = "unknown"  # the cluster has never heard of it, or has forgotten it
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether it will not change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """A driver to be run on a cluster.

    Attributes:
        id: Lower-case letters, digits and `-`, at most 52 of them; of what it is to do.
        name: Of the pipeline.
        arguments: Of the command `shardmill`; the pipeline's file is named relative to `folder`.
        folder: Of the pipeline: its file and its own operators, which go to the cluster with it. The command runs in it, or in a copy.
        files: Of the folder, what goes along: paths relative to it, sorted, the pipeline's file among them.
        environment: Plain settings for the driver; never a secret.
        secrets: Names of environment variables that the driver needs and that are handed over by reference only.
    """

    id: str
    name: str
    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What became of a job; `exit_code` is that of `shardmill`, as far as the cluster knows it."""

    state: JobState
    exit_code: int | None = None
    message: str = ""


class TargetError(Exception):
    """A cluster cannot do what was asked of it: what, why, and what to do. Survives pickling; its only argument is the message."""


class Target(ABC):
    """A cluster that runs drivers."""

    name: ClassVar[str]

    @property
    def place(self) -> str:
        """Where the cluster is, without secrets, if it has an address; kept with a submission, so that the job is found again."""
        return ""

    @abstractmethod
    def describe(self, job: Job) -> str:
        """What would be sent, for a person and for other tools; no secret is in it."""

    def prepare(self, job: Job) -> None:  # noqa: B027  most have nothing to do
        """Bring up to date what belongs to the pipeline and not to one job, such as its schedule.

        Asked for before anything else is, also when the job is there already.
        """

    @abstractmethod
    def submit(self, job: Job) -> bool:
        """Hand a job over. False: it was there already, and is not run a second time.

        Raises:
            TargetError: The cluster cannot be reached, or refuses.
        """

    @abstractmethod
    def status(self, job_id: str) -> JobStatus:
        """What became of a job."""

    @abstractmethod
    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        """What the driver has written, line by line without line ends; `follow`: until it ends."""

    @abstractmethod
    def stop(self, job_id: str) -> bool:
        """Ask a job to end, so that what it has committed stays. False: it was not running."""
