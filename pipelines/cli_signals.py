"""What a signal does to a command that has something to give back: SIGTERM is to it what Ctrl-C is, once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.supervised import grace_seconds


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends what is done here as Ctrl-C does: what was begun is cancelled, and what was taken is given back."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001
        # Ray and Slurm ask every process of a job, and the supervisor passes it on: being asked again must not cut short how this ends.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if (seconds := grace_seconds()) is not None:
            signal.alarm(seconds)  # one that hangs must not outlive the supervisor, which may be killed before it
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is interrupt:  # else it was asked, and is about to end
            signal.signal(signal.SIGTERM, before)
