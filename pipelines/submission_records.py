"""What was handed over where: a small record in the output for every submission, so that `logs`, `wait` and `stop` find the job.

Owns the records' names and content. No secret is in them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from pipelines.commit import ROOT, TornRecord, sealed, unsealed
from pipelines.errors import NotFound
from pipelines.redaction import redact_uri
from pipelines.storage import Store
from pipelines.version import replace_any

FOLDER: Final = f"{ROOT}/submissions"


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that was handed over.

    Attributes:
        id: Of the job.
        to: The kind of cluster.
        place: Where it is, without secrets; empty if its settings say all.
        when: Seconds by the store's clock.
    """

    id: str
    to: str
    place: str
    when: float


def keep(store: Store, job_id: str, to: str, place: str) -> Submission:
    """Write down a submission; one that is there already for the same place stays as it is."""
    before = read(store, job_id)
    if before is not None and (before.to, before.place) == (to, redact_uri(place)):
        return before
    made = Submission(job_id, to, redact_uri(place), store.now())
    replace_any(store, _path(job_id), sealed(asdict(made)))
    return made


def read(store: Store, job_id: str) -> Submission | None:
    """The record of a job; None if there is none, or it was torn when a machine stopped."""
    try:
        return Submission(**unsealed(store.read(_path(job_id))))
    except (NotFound, TornRecord):
        return None


def latest(store: Store, to: str | None = None) -> Submission | None:
    """The last submission of an output, to any cluster or to one kind."""
    names = [info.path.rpartition("/")[2].removesuffix(".json") for info in store.list(FOLDER)]
    found = [record for name in names if (record := read(store, name)) is not None and to in (None, record.to)]
    return max(found, key=lambda record: (record.when, len(record.id), record.id), default=None)


def _path(job_id: str) -> str:
    return f"{FOLDER}/{job_id}.json"
