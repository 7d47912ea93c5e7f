"""What an ingestion does about files that were taken in and are not what they were: the pipeline's section `ingest`, applied.

Owns what is told of them. Which they are, arrivals.py says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pipelines.arrivals import MAX_EXAMPLES, Arrivals
from pipelines.errors import IngestRefused, shown
from pipelines.growth import ANEW
from pipelines.legible import count
from pipelines.lineage import Lineage
from pipelines.settings_ingest import IngestConfig

CONSEQUENCES: Final = {
    ("changed", "keep"): "their documents stay as they are, what is new in them is left out",
    ("changed", "rebuild"): "the next version is made anew, of all files",
    ("vanished", "keep"): "their documents stay",
    ("vanished", "rebuild"): "the next version is made anew, of the files that are there",
}


def policies_of(section: IngestConfig) -> dict[str, str]:
    """What is done about changed and about vanished files, as it stands in the manifest."""
    return {"changed": section.changed, "vanished": section.vanished}


def wants_all_anew(section: IngestConfig, found: Arrivals, before: Lineage, note: Callable[[str], None]) -> bool:
    """Whether files changed or vanished and a policy wants the next version made of all files; what is passed over is told.

    Raises:
        IngestRefused: A policy wants nothing to be ingested then.
    """
    all_anew = False
    for what, uris in (("changed", found.changed), ("vanished", found.vanished)):
        policy = policies_of(section)[what]
        if uris and policy == "fail":
            raise IngestRefused(_refusal(what, uris, before))
        if uris:
            named = f"{count(len(uris))} files that were taken in have {what}: {_some(uris)}"
            note(f"{named}; ingest.{what} is {policy!r}: {CONSEQUENCES[what, policy]}")
        all_anew |= bool(uris) and policy == "rebuild"
    return all_anew


def _refusal(what: str, uris: Sequence[str], before: Lineage) -> str:
    are = "are not what they were" if what == "changed" else "are not there any more"
    named = f"{count(len(uris))} files that {before.newest['version']} or one before it took in {are}: {_some(uris)}"
    return (
        f"{named}; nothing was ingested: put them back, or set ingest.{what} to keep (their documents stay as they are) or rebuild ({ANEW})"
    )


def _some(uris: Sequence[str]) -> str:
    return shown(", ".join(uris[:MAX_EXAMPLES]))
