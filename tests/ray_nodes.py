"""A Ray of several nodes here: each is `ray start --block` with its own processes and its own folder, as if on machines of their own.

Nodes are joined, killed and ended by their process ids; never by `ray stop`, which would end the Ray of everybody on the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray_servers import QUICK, STORE_BYTES, children, command

START_SECONDS = 120.0
END_SECONDS = 20.0
STARTS = 4


@dataclass
class Node:
    """A node: the process that started it, its folder, its raylet and its workers."""

    process: subprocess.Popen[bytes]
    folder: Path
    num_cpus: int
    is_ended: bool = False

    @property
    def raylet(self) -> int:
        """Process id of the raylet."""
        return next(pid for pid in children(self.process.pid) if "/raylet/raylet" in command(pid))

    def workers(self) -> list[int]:
        """Process ids of the workers that have had a task; those of a raylet that was killed are orphans, and not among them."""
        return [pid for pid in children(self.raylet) if command(pid).startswith("ray::_call")]

    def processes(self) -> list[int]:
        """Ids of every process that the node has started, itself first, but for those whose parent is dead."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found

    def kill(self) -> None:
        """kill -9 of everything that the node is, its workers too: its machine lost power."""
        if self.is_ended:
            return
        self.is_ended = True
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGSTOP)  # or it would tell the others of the first that dies
            for pid in reversed(self.processes()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # whatever lost its parent: the group is the node's own
        self.process.wait(END_SECONDS)

    def kill_raylet(self) -> None:
        """kill -9 of the raylet alone: its workers finish what they are at, though nobody waits for it."""
        os.kill(self.raylet, signal.SIGKILL)

    def is_up(self) -> bool:
        """Whether its processes have started and the head has it."""
        return "Ray runtime started" in self.said()

    def said(self) -> str:
        """The last lines of what its processes told at the start."""
        return (self.folder / "out.txt").read_text(errors="replace")[-3000:]


@dataclass
class RayNodes:
    """A head and its nodes.

    Attributes:
        address: Of the head, for drivers (`cluster.address`, `RAY_ADDRESS`).
        dashboard: Address of the Jobs API; empty without a dashboard.
        client: Address for `ray://`; empty without.
        environment: What a driver or a client needs to have in its environment, the token among it.
        folder: Every node's folder lies in it.
    """

    address: str
    dashboard: str
    client: str
    environment: Mapping[str, str]
    folder: Path
    head: Node
    nodes: list[Node] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, Any]:
        """The `cluster` section of a pipeline that runs here."""
        return {"type": "ray", "address": self.address}

    def join(self, num_cpus: int = 1, resources: Mapping[str, float] | None = None) -> Node:
        """Start another node; returns when the head has it."""
        options = ["--address", self.address, *_sizes(num_cpus, resources)]
        node = _started(self.folder / f"n{len(self.nodes) + 1}", options, self.environment, num_cpus)
        self.nodes.append(node)
        return node

    def alive(self) -> set[str]:
        """Ids of the nodes that the head believes to be alive; it needs the dashboard."""
        return {entry["node_id"] for entry in self._asked("/api/v0/nodes") if entry["state"] == "ALIVE"}

    def end(self) -> None:
        """End all of them, the head last."""
        for node in [*reversed(self.nodes), self.head]:
            node.kill()

    def _asked(self, path: str) -> list[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        request = urllib.request.Request(self.dashboard + path, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]["result"]
        return found


@contextmanager
def ray_nodes(workers: int = 2, *, head_cpus: int = 1, num_cpus: int = 1, dashboard: bool = True) -> Iterator[RayNodes]:
    """A head and some more nodes, with a token of their own; all of them are ended in the end.

    The caller's process is not connected, and its environment stays as it is: give `environment` to drivers and clients.
    """
    folder = Path(tempfile.mkdtemp(prefix="smn", dir="/tmp"))  # short: the names of unix sockets have 107 bytes at most
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    ports = dict(zip(("gcs", "dashboard", "client"), free_ports(3), strict=True))
    options = ["--head", "--port", str(ports["gcs"]), "--ray-client-server-port", str(ports["client"]), *_sizes(head_cpus, None)]
    options += ["--include-dashboard", str(dashboard).lower(), "--dashboard-host", "127.0.0.1", "--dashboard-port", str(ports["dashboard"])]
    options += ["--system-config", json.dumps(QUICK)]
    nodes: RayNodes | None = None
    try:
        head = _started(folder / "h", options, environment, head_cpus)
        nodes = RayNodes(
            address=f"{own_address()}:{ports['gcs']}",
            dashboard=f"http://127.0.0.1:{ports['dashboard']}" if dashboard else "",
            client=f"ray://127.0.0.1:{ports['client']}",
            environment=environment,
            folder=folder,
            head=head,
        )
        found = nodes
        until(lambda: not dashboard or _answers(found), head.said)
        for _ in range(workers):
            nodes.join(num_cpus)
        yield nodes
    finally:
        if nodes is not None:
            nodes.end()
        shutil.rmtree(folder, ignore_errors=True)


def until(condition: Callable[[], bool], said: Callable[[], str] = str, seconds: float = START_SECONDS) -> None:
    """Return when the condition holds; the processes that bring it about tell nobody."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"what was waited for has not happened in {seconds} s; {said()}"
        threading.Event().wait(0.1)


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens at, outside the ranges from which the system and Ray's client give ports."""
    draw, found = secrets.SystemRandom(), []
    while len(found) < number:
        port = draw.randrange(24500, 32000)
        with socket.socket() as probe:
            if port not in found and probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
    return found


def own_address() -> str:
    """The address that Ray gives to a node on this machine, whatever it is told: that of the way out, though nothing is sent there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("8.8.8.8", 80))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def _sizes(num_cpus: int, resources: Mapping[str, float] | None) -> list[str]:
    named = ["--resources", json.dumps(dict(resources))] if resources else []
    return ["--num-cpus", str(num_cpus), "--num-gpus", "0", "--object-store-memory", str(STORE_BYTES), *named]


def _started(folder: Path, options: list[str], environment: Mapping[str, str], num_cpus: int) -> Node:
    """Start a node and see it up; again where it gave up after Ray's own half a minute, as on a machine with much else to do."""
    for attempt in range(STARTS):
        node = _start(folder.with_name(f"{folder.name}{'abcd'[attempt]}"), options, environment, num_cpus)
        try:
            until(lambda node=node: node.is_up() or node.process.poll() is not None, node.said)
            if node.is_up() and node.process.poll() is None:
                return node
        except BaseException:
            node.kill()
            raise
        node.kill()
    raise AssertionError(f"a node did not start in {STARTS} tries: {node.said()}")


def _start(folder: Path, options: list[str], environment: Mapping[str, str], num_cpus: int) -> Node:
    """Start a node in a folder of its own: two that share one remove each other's working directories."""
    folder.mkdir()
    agent, metrics, grpc, runtime = free_ports(4)
    ports = ["--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(grpc), "--metrics-export-port", str(metrics)]
    ports += ["--runtime-env-agent-port", str(runtime), "--min-worker-port", "0", "--max-worker-port", "0"]
    line = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--temp-dir", str(folder), "--disable-usage-stats"]
    # It stands where no checkout is: what its workers import was installed, or shipped to them.
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    with (folder / "out.txt").open("wb") as output:
        process = subprocess.Popen(
            [*line, *ports, *options],
            cwd=folder,
            env={**plain, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Node(process, folder, num_cpus)


def _answers(nodes: RayNodes) -> bool:
    try:
        return len(nodes.alive()) == 1
    except (OSError, KeyError, TypeError):
        return False
