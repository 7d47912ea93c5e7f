"""What can go wrong, as one tree. A message is subject, found, expected, remedy; values in it are bounded.

ShardmillError                 exit status 1 unless said otherwise
├── ConfigError                2  the pipeline file or the command's words; carries every problem found
├── InputError                    the input cannot be used: missing, unreadable, changed
│   ├── UnreadableInput           a file is damaged, and the run may not go on without it
│   ├── NoFiles                   no file is where the input should be
│   ├── IngestRefused             what is new does not fit what was taken in, or what was has changed
│   └── InputChanged              an input is not the object that the inventory listed
│       └── CodeChanged           code or libraries are not those that the plan was made with
├── StorageError                  a store refused or failed
│   ├── NotFound                  there is no such object
│   │   └── Purged                it was removed on purpose, with its version
│   ├── Conflict                  the object is not what the caller had seen (compare-and-swap)
│   ├── LocationUnreadable        what a published version points to cannot be read from here
│   ├── AccessDenied              credentials or permissions: retrying cannot help
│   ├── Throttled, Unavailable    may pass: retried with backoff before they surface
│   │   └── HubBusy               the same of the Hugging Face Hub, whose limits are others
│   ├── StorageFull               no space or quota is left: retrying cannot help
│   ├── CommitUnknown             the store did not answer a conditional write: it may or may not have happened
│   └── UnsafeStore               the store ignores conditional writes
├── UnitError                     a unit failed: with unit, operator and rows
│   ├── OutOfMemory               no memory was left for it
│   ├── WorkerDied                its worker's process died, most often for want of memory
│   ├── NodeLost                  the machine that worked on it went away
│   ├── NothingToLearn            no document with text reached an operator that learns from documents
│   └── LedgerImbalance        4  rows_in is not rows_out + dropped + quarantined, or tokens are counted that the shards do not hold
├── BudgetExceeded                more rows quarantined than max_quarantined_fraction allows
├── GuardBreached                 an operator removed more than its guards allow, and is told to fail then
├── ClusterError                  no Ray is where the pipeline says, or none could be started; a cluster cannot be reached, or refuses
│   └── NoRoom                    for too long no node had what the work asks for
├── LeaseHeld                     another run is writing this output
├── LeaseLost                     another run took over while this one was stopped
├── VersionConflict               another run finished or claimed the version
│   └── PublishedOtherwise        a repo holds a version that the one to be published does not come from
└── CheckFailed                4  `verify` found what does not hold
"""

from __future__ import annotations

from typing import ClassVar

MAX_VALUE_CHARS = 200


def shown(value: object) -> str:
    """A value as it is shown in a message: one line, at most 200 characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"


class ShardmillError(Exception):
    """Base of every error that a user may see. The only argument is the message, so that every error survives pickling."""

    exit_status: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigError(ShardmillError):
    """The pipeline file or the command line is wrong; one line a problem."""

    exit_status = 2

    @property
    def problems(self) -> list[str]:
        """Every problem found, in the order of the file."""
        return self.message.splitlines()


class InputError(ShardmillError):
    """The input cannot be used as it is."""


class UnreadableInput(InputError):
    """A file is damaged, and the run may not go on without it."""


class NoFiles(InputError):
    """No file is where the input should be."""


class IngestRefused(InputError):
    """What is new does not fit what versions have taken in, or what they took in has changed."""


class InputChanged(InputError):
    """An input is not the object that the inventory listed."""


class CodeChanged(InputChanged):
    """Code or libraries are not those that the plan was made with."""


class StorageError(ShardmillError):
    """A store refused or failed."""


class NotFound(StorageError):
    """There is no such object."""


class Purged(NotFound):
    """It was removed with its version, because documents were taken out."""


class Conflict(StorageError):
    """The object is not what the caller had seen."""


class LocationUnreadable(StorageError):
    """What a published version points to cannot be read from here; what is in its repo can."""


class AccessDenied(StorageError):
    """Credentials or permissions are missing; retrying cannot help."""


class Throttled(StorageError):
    """The store asked to slow down, for longer than the retries last."""


class HubBusy(Throttled):
    """The Hugging Face Hub asked to slow down, for longer than the retries last."""


class Unavailable(StorageError):
    """The store did not answer, or answered with a server error, for longer than the retries last."""


class StorageFull(StorageError):
    """No space or quota is left; retrying cannot help."""


class CommitUnknown(StorageError):
    """The store did not answer a conditional write; it may or may not have happened. Do not delete what it names."""


class UnsafeStore(StorageError):
    """The store overwrites where it was asked to create: nothing could be committed safely."""


class UnitError(ShardmillError):
    """A unit of work failed; the message names the unit, and the operator where one is to blame."""


class OutOfMemory(UnitError):
    """No memory was left for a piece of work; a smaller one may pass."""


class WorkerDied(UnitError):
    """The process of a worker died, most often for want of memory."""


class NodeLost(UnitError):
    """The machine that worked on it went away."""


class NothingToLearn(UnitError):
    """No document with text reached an operator that learns from documents."""


class LedgerImbalance(UnitError):
    """Rows came in that are neither out, nor dropped, nor quarantined; or tokens were counted that are not in the shards."""

    exit_status = 4


class BudgetExceeded(ShardmillError):
    """More rows were quarantined than `execution.max_quarantined_fraction` allows."""


class GuardBreached(ShardmillError):
    """An operator would remove more than its guards allow, and `on_breach` is `fail`."""


class ClusterError(ShardmillError):
    """There is no Ray where the pipeline says, or none could be started here; or another cluster cannot be reached, or refuses."""


class NoRoom(ClusterError):
    """No node of the cluster has had what the work asks for, for as long as the pipeline says that a run waits."""


class LeaseHeld(ShardmillError):
    """Another run is writing this output."""


class LeaseLost(ShardmillError):
    """Another run took this output over while this one was stopped."""


class VersionConflict(ShardmillError):
    """Another run finished or claimed the version that this one was making."""


class PublishedOtherwise(VersionConflict):
    """A repo holds a version that the one to be published does not come from."""


class CheckFailed(ShardmillError):
    """A finished version does not hold what it promises."""

    exit_status = 4
