"""Says that this process waits for a store, which otherwise looks like a process that hangs.

Stores count their tries themselves; whoever has a person's ear listens here. Without a listener, as in a worker, nothing is said: the
driver tells what became of the worker's task.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pipelines.legible import seconds as legible_seconds
from pipelines.redaction import redact_environment, redact_uri
from pipelines.runbook import HUB_BUSY, STORE_THROTTLES, pointer

PATIENCE_SECONDS: Final = 3.0
"""A request that is not answered after so long is told; most waits end before."""
AGAIN_SECONDS: Final = 30.0
"""A line is said at most so often, however many requests wait."""

_listeners: list[Callable[[str], None]] = []
_saying = threading.Lock()
_said: list[float] = []


@contextmanager
def told_to(note: Callable[[str], None]) -> Iterator[None]:
    """For the time of the block, waits are told to `note`, and to nobody else."""
    _listeners.append(note)
    _said.clear()
    try:
        yield
    finally:
        _listeners.remove(note)


def begin(uri: str, found: str, attempt: str, seconds: float, spent_seconds: float) -> None:
    """A wait begins: for which object, what the store said, which try comes next, for how long, and how long it has taken so far."""
    if not _listeners or spent_seconds + seconds < PATIENCE_SECONDS:
        return
    with _saying:
        now = time.monotonic()
        if _said and now - _said[-1] < AGAIN_SECONDS:
            return
        _said[:] = [now]
        listener = _listeners[-1]
    text = f"{uri}: no good answer yet ({found}); {attempt} in {legible_seconds(seconds)}"
    listener(f"{redact_environment(redact_uri(text))}; {pointer(HUB_BUSY if uri.startswith('hf://') else STORE_THROTTLES)}")
