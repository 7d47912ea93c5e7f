"""A real Ray on this machine, one for the session, to which nodes can be added and of which processes can be killed."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

STORE_BYTES = 80 << 20
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node that died is known as dead after a second instead of a quarter of a minute."""


@dataclass(frozen=True)
class RayNode:
    """A node of the cluster, with a raylet and workers of its own."""

    node: Any

    @property
    def raylet(self) -> int:
        """Process id of the raylet."""
        (started,) = self.node.all_processes["raylet"]
        return int(started.process.pid)

    def kill(self) -> None:
        """kill -9 the raylet: the node is gone."""
        os.kill(self.raylet, signal.SIGKILL)

    def workers(self) -> list[int]:
        """Process ids of the workers that have had a task."""
        return [pid for pid in children(self.raylet) if command(pid).startswith("ray::_call")]


@dataclass(frozen=True)
class RayServer:
    """The session's Ray: a head with two CPUs. Whoever connects in the test process must disconnect again."""

    address: str
    head: RayNode
    cluster: Any

    @property
    def settings(self) -> dict[str, Any]:
        """The `cluster` section of a pipeline that runs here."""
        return {"type": "ray", "address": self.address}

    @contextmanager
    def another_node(self, resources: Mapping[str, float] | None = None) -> Iterator[RayNode]:
        """A second node with one CPU, for the time of the block; it may be killed meanwhile."""
        node = self.cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, resources=dict(resources or {}))
        try:
            yield RayNode(node)
        finally:
            self.cluster.remove_node(node, allow_graceful=False)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        if parent == pid:
            found.append(int(path.parent.name))
    return sorted(found)


def command(pid: int) -> str:
    """What a process calls itself; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayServer]:
    """One Ray for the session, in processes of its own; its token is in the environment, as `cluster.session` wants it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        from ray.cluster_utils import Cluster  # reads the environment when it is imported

        head = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": STORE_BYTES, "_system_config": QUICK}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield RayServer(cluster.address, RayNode(cluster.head_node), cluster)
        finally:
            cluster.shutdown()


@pytest.fixture(scope="module")
def connected(ray_cluster: Any) -> Iterator[None]:
    """This process is connected to the session's Ray."""
    from cluster import session  # Ray itself, which most tests do without

    with session.remote(session.Remote(ray_cluster.address)):
        yield
