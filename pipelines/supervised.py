"""What a driver says to `cluster.supervise`, which starts it again when it failed for a reason that may pass.

Owns which errors those are. Outside supervision nothing here has an effect.
"""

from __future__ import annotations

import os
from typing import Final

from cluster.supervise import PASSING, SUPERVISED
from pipelines.errors import ClusterError, CommitUnknown, LeaseHeld, NoRoom, Throttled, Unavailable, VersionConflict

MAY_PASS: Final = (ClusterError, CommitUnknown, LeaseHeld, Throttled, Unavailable, VersionConflict)
"""The store or the cluster is away, or a driver that died elsewhere still has the lease: a later start finds it otherwise."""


def grace_seconds() -> int | None:
    """How long this process has to end once it is asked to; None without a supervisor."""
    found = os.environ.get(SUPERVISED, "")
    return int(found) if found.isdigit() else None


def exit_status(error: Exception, status: int) -> int:
    """The exit status for an error: `PASSING` for a supervisor, if the same command may work later."""
    from_ray = type(error).__module__.partition(".")[0] == "ray"  # what is not told apart below: the head is gone
    may_pass = isinstance(error, MAY_PASS) and not isinstance(error, NoRoom)  # that was waited for as long as it was to be
    return PASSING if grace_seconds() is not None and (may_pass or from_ray) else status
