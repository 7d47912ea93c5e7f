"""Named points where a test may stop, kill or fail this process. Without `SHARDMILL_FAULT` a point costs next to nothing.

`SHARDMILL_FAULT` holds `point=action` items separated by commas: `kill` (SIGKILL to this process), `kill-parent` (to the process whose id
is in `SHARDMILL_FAULT_PID`), `stop` (SIGSTOP to this process), `raise` (RuntimeError), `memory` (MemoryError), or `wait:PATH` (until PATH
exists).
`point@n=action` fires at the n-th passing in a process instead of every one.
With `SHARDMILL_FAULT_ONCE=FOLDER` each item fires once over all processes: the first to create `FOLDER/<point>` does it.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Final

POINTS: Final = (
    "unit.begin",  # nothing is written yet
    "unit.parts-written",  # the parts are durable, no record names them
    "commit.before-record",  # the ledger is proven, the record is not yet put
    "commit.after-record",  # the record is put, nobody was told
    "unit.end",  # the last thing before the answer
    "exchange.before-record",
    "pack.before-shard",  # a shard is about to get its final name
    "pack.after-shard",  # it has it, no record names it
    "run.planned",
    "run.stage-done",
    "run.packed",
    "version.claimed",
    "version.tables-written",
    "version.manifest-written",  # versions/vN/manifest.json is there, the current manifest is not swapped
    "version.card-written",
    "version.swapped",
    "gc.marked",
    "gc.deleting",
)
HISTORY_POINTS: Final = (
    "history.before-record",  # a part is in the history, no record names it
    "history.before-generation",  # everything is in the history, no generation names it
    "history.left",  # the generation counts
)
"""Passed where a run leaves keys for later ones."""

TOKEN_POINTS: Final = (
    "tokens.before-file",  # a file of a token shard is about to get its final name; its earlier files have theirs
    "tokens.after-shard",  # all of its files have their names, no record names them
)
"""Passed where a run writes token shards."""
LEARNING_POINTS: Final = (
    "sample.before-record",  # documents of the sample are written, no record names them
    "learn.before-record",  # the file is learned, no record names it
)
"""Passed where an operator learns from a sample."""

PUBLISH_POINTS: Final = (
    "publish.pull-opened",
    "publish.uploaded",  # the bytes of a commit are there, nobody sees them
    "publish.step",  # a commit of several is in the pull request
    "publish.staged",  # the pull request holds everything and is open
    "publish.proposed",
    "publish.moved",  # main holds the version, the tag is not set
    "publish.tagged",
)
"""Passed where a version is published."""

TAKEDOWN_POINTS: Final = (
    "takedown.before-shard",
    "takedown.after-shard",  # a rewritten shard has its final name
    "takedown.tombstones-written",  # no later run brings the documents back, the new version is not there
    "takedown.purging",  # older versions say that they were purged, nothing of them is gone
    "takedown.purged",  # their files are gone, intermediates are not
)
"""Passed where documents are taken out of an output, beside the points of every version."""

SCHEDULE_POINTS: Final = (
    "schedule.begun",  # the position names the tick, nothing of its work is done
    "schedule.acted",  # its work is done, no record says so
    "schedule.recorded",
)
"""Passed at each tick of a schedule."""

_ITEMS: Final = dict(item.split("=", 1) for item in os.environ.get("SHARDMILL_FAULT", "").split(",") if "=" in item)
_PASSINGS: Final = Counter[str]()


def point(name: str) -> None:
    """Do what `SHARDMILL_FAULT` says for this point; nothing otherwise."""
    if not _ITEMS:
        return
    _PASSINGS[name] += 1
    action = _ITEMS.get(name) or _ITEMS.get(f"{name}@{_PASSINGS[name]}")
    if action is not None and _first(name):
        _act(name, action)


def _first(name: str) -> bool:
    folder = os.environ.get("SHARDMILL_FAULT_ONCE")
    if folder is None:
        return True
    try:
        os.close(os.open(Path(folder) / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _act(name: str, action: str) -> None:
    match action.split(":", 1):
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["kill-parent"]:
            os.kill(int(os.environ["SHARDMILL_FAULT_PID"]), signal.SIGKILL)
        case ["stop"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        case ["memory"]:
            raise MemoryError(f"fault at {name}")
        case ["wait", path]:
            while not Path(path).exists():
                time.sleep(0.02)
        case _:
            raise RuntimeError(f"fault at {name}")
