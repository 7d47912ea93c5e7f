"""A driver under supervision: started again when it died, never after an end of its own, and asked to end in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import supervise
from pipelines import errors
from pipelines.supervised import exit_status

ROOT = Path(__file__).parent.parent
START = """
import sys
from cluster import supervise
supervise.FIRST_DELAY_SECONDS, supervise.MARGIN_SECONDS = %s, 0
sys.exit(supervise.main(sys.argv[1:]))
"""
QUICK, PATIENT = START % 0.01, START % 60

COUNTING = """
import os, pathlib, signal, sys
made = pathlib.Path(sys.argv[1])
made.write_text(made.read_text() + "x" if made.exists() else "x")
number = len(made.read_text())
for how in sys.argv[1 + number : 2 + number]:
    if how.startswith("-"):
        os.kill(os.getpid(), int(how[1:]))
    sys.exit(int(how))
"""

OBEDIENT = """
import signal, sys, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print("ready", flush=True)
while not asked:
    signal.pause()
print("asked", flush=True)
sys.exit(130)
"""

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""


def start(*words, code=QUICK):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    )


@pytest.mark.parametrize(
    ("ends", "status", "starts"),
    [
        (["0"], 0, 1),
        (["-9", "0"], 0, 2),
        (["-9", "-6", "-9", "0"], 0, 4),
        (["-9"] * 4, 137, 4),
        (["75", "4"], 4, 2),
        (["75"] * 4, 1, 4),
        *((([str(end), "0"], end, 1)) for end in (1, 2, 3, 4, 130)),
    ],
    ids=str,
)
def test_a_driver_is_started_again_when_it_died_and_only_then(ends, status, starts, tmp_path):
    """Killed by a signal or failed for a passing reason: again, up to a bound; an end of its own is passed through."""
    made = tmp_path / "starts"
    child = start("--restarts", "3", "--", sys.executable, "-c", COUNTING, str(made), *ends)
    _, said = child.communicate(timeout=60)
    assert (child.returncode, len(made.read_text())) == (status, starts), said
    assert said.count("started again in") == starts - 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_being_asked_to_end_is_passed_on_and_nothing_is_started_after_it(number):
    """SIGTERM and Ctrl-C reach the driver as SIGTERM, and its exit status comes back."""
    child = start("--", sys.executable, "-c", OBEDIENT)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, said = child.communicate(timeout=60)
    assert (out, child.returncode) == ("asked\n", 130), said


def test_a_driver_that_does_not_end_is_killed():
    """After its grace it is killed, and is not started again."""
    child = start("--grace", "1", "--", sys.executable, "-c", DEAF)
    assert child.stdout.readline() == "ready\n"
    child.terminate()
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGKILL
    assert "has not ended" in said


def test_asked_between_two_tries_it_ends_at_once():
    """While it waits before it starts the driver again, SIGTERM ends it."""
    child = start("--", "sh", "-c", "kill -9 $$", code=PATIENT)
    assert "started again in 60 s" in child.stderr.readline()
    child.terminate()
    child.communicate(timeout=30)
    assert child.returncode == 130


def test_a_driver_does_not_outlive_its_supervisor():
    """kill -9 of the supervisor asks the driver to end, as SIGTERM does."""
    child = start("--", sys.executable, "-c", OBEDIENT)
    assert child.stdout.readline() == "ready\n"
    child.kill()
    assert child.stdout.readline() == "asked\n"
    child.communicate(timeout=30)


@pytest.mark.parametrize("words", [["--"], [], ["--", "/there/is/no/such/program"]], ids=str)
def test_what_cannot_be_started_is_said_in_one_line(words):
    """Exit status 2, no traceback."""
    child = start(*words)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 2
    assert "Traceback" not in said
    assert said


def test_shardmill_is_this_interpreters_own(tmp_path):
    """`shardmill` needs no PATH: the command is that of the same checkout or installation."""
    child = start("--", "shardmill", "--version")
    out, said = child.communicate(timeout=60)
    assert (child.returncode, out[:9]) == (0, "shardmill"), said


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.Unavailable("the store is away"), supervise.PASSING),
        (errors.Throttled("slow down"), supervise.PASSING),
        (errors.ClusterError("no Ray"), supervise.PASSING),
        (errors.NoRoom("it was waited for long enough"), 1),
        (errors.LeaseHeld("by one that died elsewhere"), supervise.PASSING),
        (errors.LeaseLost("another goes on"), 1),
        (errors.BudgetExceeded("too many"), 1),
        (errors.AccessDenied("no"), 1),
        (ValueError("a bug"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_may_pass_is_tried_again(error, expected, monkeypatch):
    """With a supervisor an error that may pass has an exit status of its own; without one it has the contract's."""
    monkeypatch.delenv(supervise.SUPERVISED, raising=False)
    assert exit_status(error, 1) == 1
    monkeypatch.setenv(supervise.SUPERVISED, "60")
    assert exit_status(error, 1) == expected
