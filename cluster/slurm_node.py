"""Ray on one node of a Slurm job: what a job step runs there, until it is asked to end.

    python -m cluster.slurm_node --temp FOLDER [--address HEAD] [--object-store-bytes N]

Without an address it is the head. All ports are chosen by the kernel, so that jobs that share a node do not meet. The temporary folder is
made for this node alone, and is gone afterwards. SIGTERM ends the Ray of this node and no other.

Pure standard library: Ray runs in a child.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

RAY: Final = "r"
"""Ray's folder in ours, which is closed to others: Ray opens its own to everybody."""
QUICK_END: Final = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
"""Asked to end, a node of Ray otherwise waits half a minute for services to leave it; there are none."""
ADDRESS: Final = "ray_current_cluster"
"""Ray writes the head's address into this file of its temporary folder when all of it is up."""
TRIES: Final = 3
"""For a head whose port was taken between our choice and its start, and for a node that lost its Ray."""
END_SECONDS: Final = 20.0
LOOK_SECONDS: Final = 1.0
NUM_LINES: Final = 20
SET_CHILD_SUBREAPER: Final = 36
MIB: Final = 1 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run this node's Ray; returns 0 if it was asked to end."""
    parser = argparse.ArgumentParser(prog="python -m cluster.slurm_node", description="Ray on one node of a Slurm job.")
    parser.add_argument("--temp", required=True, metavar="FOLDER", help="temporary folder; with --address the task's number is added")
    parser.add_argument("--address", metavar="HOST:PORT", help="of the head to join; without it this is the head")
    parser.add_argument("--object-store-bytes", type=int, default=256 * MIB, metavar="N")
    options = parser.parse_args(arguments)
    temp = Path(options.temp + (os.environ.get("SLURM_PROCID", "0") if options.address else ""))
    return Node(temp, options.address, options.object_store_bytes).run()


def ray_command(temp: Path, address: str | None, object_store_bytes: int, environment: Mapping[str, str]) -> list[str]:
    """`ray start` for a node: the CPUs and the memory that Slurm gave the step, and no port that is known beforehand."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--temp-dir={temp}"]
    command += (
        [f"--address={address}"] if address else ["--head", "--port=0", "--include-dashboard=false", f"--ray-client-server-port={_free()}"]
    )
    command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0", "--disable-usage-stats"]
    command += [f"--object-store-memory={object_store_bytes}"]
    cpus, megabytes = environment.get("SLURM_CPUS_ON_NODE", ""), environment.get("SLURM_MEM_PER_NODE", "")
    command += [f"--num-cpus={cpus}"] if cpus.isdigit() else []
    memory = int(megabytes) * MIB - object_store_bytes if megabytes.isdigit() else 0
    return [*command, f"--memory={memory}"] if memory > 0 else command


def _free() -> int:
    """A port that nobody has at the moment; Ray takes no 0 for this one."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        return int(taken.getsockname()[1])


class Node:
    """The Ray of one node, started again when it ends by itself. A head that was up is not: its cluster is gone with it."""

    def __init__(self, temp: Path, address: str | None, object_store_bytes: int) -> None:
        self._temp = temp
        self._address = address
        self._object_store_bytes = object_store_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = False
        self._until: float | None = None

    def run(self) -> int:
        """Returns when this node's Ray has ended and nothing of it is left. Takes over SIGTERM and SIGINT."""
        _adopt_orphans()
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)
        for tries in range(1, TRIES + 1):
            try:
                self._temp.mkdir(mode=0o700)
            except OSError as error:
                _say(f"{self._temp} cannot be made: {error.strerror}; set submit.slurm.temp_folder to a short path on each node's own disk")
                return 2
            try:
                self._try()
                was_up = (self._temp / RAY / ADDRESS).exists()
                if not self._asked:
                    when = "" if was_up else " before it was up"
                    _say(f"Ray has ended{when} (try {tries} of {TRIES}); its last lines:\n{self._last_lines()}")
            finally:
                _end_orphans()
                shutil.rmtree(self._temp, ignore_errors=True)
            if self._asked or (was_up and self._address is None):
                break
        return 0 if self._asked else 1

    def _try(self) -> None:
        command = ray_command(self._temp / RAY, self._address, self._object_store_bytes, os.environ)
        with (self._temp / "start.log").open("wb") as log:
            environment = {**os.environ, **QUICK_END}
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
        if self._asked:  # while it was being started
            self._child.terminate()
        while self._child.poll() is None:
            try:
                self._child.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                if self._until is not None and time.monotonic() > self._until:
                    self._child.kill()  # its reaper ends the rest

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._asked = True
        if self._until is None:
            self._until = time.monotonic() + END_SECONDS
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def _last_lines(self) -> str:
        try:
            lines = (self._temp / "start.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in lines[-NUM_LINES:] if line.strip())


def _adopt_orphans() -> None:
    """What loses its parent in this step becomes our child: without control groups, Slurm loses sight of it."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)


def _end_orphans() -> None:
    """Kill what Ray has left behind, as it does when one of its own processes dies; also what that leaves."""
    while left := _children():
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _say(message: str) -> None:
    print(f"slurm: {os.environ.get('SLURMD_NODENAME', socket.gethostname())}: {message}", file=sys.stderr, flush=True)  # noqa: T201  the log of the job


if __name__ == "__main__":
    sys.exit(main())
