"""Which entry of the runbook (docs/operations.md) a message leads to: one table from errors to entries, and the entries' text.

Messages are written where they are raised; what to do at night stands in the runbook, and the last line of a message says where.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipelines.errors import (
    AccessDenied,
    BudgetExceeded,
    CheckFailed,
    ClusterError,
    CodeChanged,
    CommitUnknown,
    ConfigError,
    GuardBreached,
    HubBusy,
    IngestRefused,
    InputChanged,
    LeaseHeld,
    LeaseLost,
    NodeLost,
    NoRoom,
    NotFound,
    NothingToLearn,
    OutOfMemory,
    PublishedOtherwise,
    Purged,
    StorageFull,
    Throttled,
    Unavailable,
    UnitError,
    UnreadableInput,
    VersionConflict,
    WorkerDied,
    shown,
)

DOCUMENT: Final = "docs/operations.md"

NODE_DIES: Final = "a-node-dies"
DRIVER_DIES: Final = "the-driver-dies"
STORE_THROTTLES: Final = "the-store-throttles"
UNIT_FAILS: Final = "a-unit-keeps-failing"
QUARANTINE: Final = "too-much-is-quarantined"
MEMORY: Final = "memory-runs-out"
DISK_FULL: Final = "a-disk-is-full"
HUB_BUSY: Final = "the-hub-says-429"
WITHDRAW: Final = "a-version-must-be-withdrawn"
OTHER_RUN: Final = "another-run-holds-the-output"
STUCK: Final = "a-run-seems-stuck"
CREDENTIALS: Final = "credentials-are-refused"
INPUT_CHANGED: Final = "the-input-changed-under-a-run"
VERIFY_FAILS: Final = "verify-fails"
NO_CLUSTER: Final = "a-cluster-cannot-be-reached"
CODE_CHANGED: Final = "the-code-changed-during-a-run"
NOTHING_INGESTED: Final = "an-ingestion-takes-nothing-in"
TICKS_MISSED: Final = "ticks-were-missed"
DELETABLE: Final = "what-may-be-deleted"

ENTRIES: Final[Mapping[type[BaseException], str | None]] = {
    AccessDenied: CREDENTIALS,
    BudgetExceeded: QUARANTINE,
    CheckFailed: VERIFY_FAILS,
    ClusterError: NO_CLUSTER,
    CodeChanged: CODE_CHANGED,
    CommitUnknown: STORE_THROTTLES,
    GuardBreached: None,  # the message says which operator removed what, and the thresholds are the user's own
    HubBusy: HUB_BUSY,
    IngestRefused: NOTHING_INGESTED,
    InputChanged: INPUT_CHANGED,
    LeaseHeld: OTHER_RUN,
    LeaseLost: OTHER_RUN,
    MemoryError: MEMORY,
    NodeLost: NODE_DIES,
    NoRoom: STUCK,
    NothingToLearn: None,  # the message is about one operator's settings
    OutOfMemory: MEMORY,
    PublishedOtherwise: WITHDRAW,
    Purged: WITHDRAW,
    StorageFull: DISK_FULL,
    Throttled: STORE_THROTTLES,
    Unavailable: STORE_THROTTLES,
    UnitError: UNIT_FAILS,
    UnreadableInput: QUARANTINE,
    VersionConflict: OTHER_RUN,
    WorkerDied: MEMORY,
}
"""Where an error leads; a class that is not here leads where its base does. None: its message says it all."""

_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)


def entry_for(error: BaseException) -> str | None:
    """The entry that tells what to do about an error; None where there is none."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DISK_FULL
    return next((ENTRIES[kind] for kind in type(error).__mro__ if kind in ENTRIES), None)


def pointer(entry: str) -> str:
    """Words that lead to an entry, in a checkout and where only the command is installed."""
    return f"see {DOCUMENT}#{entry}, or: shardmill runbook {entry}"


def anchor(heading: str) -> str:
    """The name of an entry, made of its heading as GitHub does."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def entries() -> dict[str, str]:
    """Every entry's text by its name, in the order of the runbook.

    Raises:
        NotFound: This installation has no runbook.
    """
    text = _text()
    starts = list(_HEADING.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {anchor(match[1]): text[match.start() : end].strip() for match, end in zip(starts, ends, strict=True)}


def entry(name: str) -> str:
    """The text of an entry.

    Raises:
        ConfigError: There is none of that name.
    """
    known = entries()
    if name not in known:
        raise ConfigError(f"runbook: there is no entry {shown(name)!r}; `shardmill runbook` lists them: {', '.join(known)}")
    return known[name]


def _text() -> str:
    here = Path(__file__).resolve()
    for path in (here.with_name("operations.md"), here.parents[1] / DOCUMENT):  # in a wheel, in a checkout
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise NotFound(f"{here.parent}: this installation has no runbook; read {DOCUMENT} of the project")
