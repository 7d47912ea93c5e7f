"""A driver that dies is started again: what runs on a cluster in the driver's place, and starts it as its child.

    python -m cluster.supervise [--restarts N] [--grace SECONDS] -- shardmill run FILE …

`shardmill` is this interpreter's own, wherever the command may be. The driver is started again when a signal killed it (kill -9, out of
memory), or when it ends with `PASSING`, which says that it failed for a reason that may pass; never after an end of its own (0 to 4, 130).
SIGTERM and SIGINT are passed on as SIGTERM, and nothing is started after them. The exit status is the driver's; of a killed one it is
128 + the signal.

Pure standard library: it must start where nothing else does.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

SUPERVISED: Final = "SHARDMILL_SUPERVISED"
"""Set for the driver: it then tells apart failures that may pass. Its value: the seconds that it has to end when it is asked to."""
PASSING: Final = 75
"""Exit status of a supervised driver that may work when started again (EX_TEMPFAIL); never seen outside, where it is `FAILED`."""
FAILED: Final = 1
UNUSABLE: Final = 2
INTERRUPTED: Final = 130
RESTARTS: Final = 5
GRACE_SECONDS: Final = 60
MARGIN_SECONDS: Final = 5
FIRST_DELAY_SECONDS: Final = 2.0
MAX_DELAY_SECONDS: Final = 60.0
"""Together 62 s over the default restarts: longer than the lease of a driver that died on another machine lasts (30 s)."""
ASKED: Final = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command under supervision; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m cluster.supervise", description="Run a driver, and start it again when it dies.")
    parser.add_argument("--restarts", type=int, default=RESTARTS, metavar="N", help=f"how often at most; default: {RESTARTS}")
    parser.add_argument("--grace", type=int, default=GRACE_SECONDS, metavar="SECONDS", help="time to end when asked to, before kill -9")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND …")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no command is given; expected `-- shardmill run FILE`")
    if command[0] == "shardmill":
        command = [sys.executable, "-m", "pipelines.cli", *command[1:]]
    try:
        return Supervisor(command, max(0, options.restarts), max(1, options.grace)).run()
    except OSError as error:
        _say(f"{command[0]} cannot be started: {error.strerror}; name a command that is there")
        return UNUSABLE


class Supervisor:
    """Runs one command until it ends by itself, or was asked to, or has died too often."""

    def __init__(self, command: Sequence[str], restarts: int, grace_seconds: int) -> None:
        self._command = list(command)
        self._restarts = restarts
        self._grace = grace_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = False

    def run(self) -> int:
        """The exit status of the last try. Takes over the process's handlers of SIGTERM, SIGINT and SIGALRM."""
        for number in ASKED:
            signal.signal(number, self._ask)
        signal.signal(signal.SIGALRM, self._kill)
        for failures in range(self._restarts + 1):
            status = self._try()
            if self._asked or not (status < 0 or status == PASSING):
                break
            if failures == self._restarts:
                _say(f"{_ending(status)}; it is not started again after {self._restarts} restarts")
                break
            delay = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0**failures)
            _say(f"{_ending(status)}; it is started again in {delay:.0f} s (restart {failures + 1} of {self._restarts})")
            if not self._pause(delay):
                return INTERRUPTED
        return FAILED if status == PASSING else status if status >= 0 else 128 - status

    def _try(self) -> int:
        """Start the command and wait for its end; below zero: minus the signal that killed it."""
        environment = {**os.environ, SUPERVISED: str(self._grace)}
        # It dies with us, and is out of reach of the terminal's Ctrl-C, which we pass on: asked twice, it would not end in good order.
        own = _tied_to(os.getpid()) if sys.platform == "linux" else None
        group = 0 if sys.platform == "linux" else None
        self._child = subprocess.Popen(self._command, env=environment, preexec_fn=own, process_group=group)  # noqa: PLW1509, S603  no threads here
        if self._asked:  # while it was being started
            self._child.terminate()
        status = self._child.wait()
        self._child = None
        signal.alarm(0)
        return status

    def _pause(self, seconds: float) -> bool:
        """Wait before another try; False if asked to end meanwhile."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)
        try:
            deadline = time.monotonic() + seconds
            while not self._asked and (left := deadline - time.monotonic()) > 0:
                self._asked = signal.sigtimedwait(ASKED, left) is not None
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)
        return not self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Pass on that it should end; kill it if it has not in time."""
        if self._child is not None and not self._asked:
            signal.alarm(self._grace + MARGIN_SECONDS)  # it has an alarm of its own before
        self._asked = True
        if self._child is not None:
            self._child.terminate()

    def _kill(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._child is not None:
            _say(f"the driver has not ended {self._grace} s after it was asked to; it is killed")
            self._child.kill()


class _tied_to:  # noqa: N801  a function with a value that survives the fork
    """Runs in the child before its program: it gets SIGTERM when this process dies, be it by kill -9."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._libc = ctypes.CDLL(None)  # loaded before the fork

    def __call__(self) -> None:
        self._libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != self._parent:
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)  # Ray blocks SIGINT in its processes


def _ending(status: int) -> str:
    if status == PASSING:
        return "the driver failed for a reason that may pass"
    try:
        return f"the driver was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"the driver was killed by signal {-status}"


def _say(message: str) -> None:
    print(f"supervise: {message}", file=sys.stderr, flush=True)  # noqa: T201  the log of the job


if __name__ == "__main__":
    sys.exit(main())
