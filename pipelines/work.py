"""A piece of work as the driver holds it: small, with the job made only when it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.worker import Job


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be committed.

    Attributes:
        key: Identity of the work: a digest of everything that goes into it.
        job: Makes the job; called when the work is sent, so that 200,000 of them weigh little.
        rows: Rows that come in, for the progress.
        bytes: Bytes that come in, for grouping pieces into tasks.
        kind: For the progress.
        unit: Key of the unit that it is about, if it is about one: what can be split.
    """

    key: str
    job: Callable[[], Job]
    rows: int
    bytes: int
    kind: str
    unit: str = ""
