"""A connection to Ray for the time of a run: a local cluster of this machine's cores, or one that is there already.

`RAY_AUTH_MODE` is always set explicitly: Ray 2.60 otherwise decides by what it finds in the home folder, and nodes then disagree.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from cluster.tasks import Executor, InlineExecutor

REACH_SECONDS = 10.0

SINGLE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
"""One task, one core: libraries must not start a thread for every core."""


@contextmanager
def inline() -> Iterator[Executor]:
    """No Ray: every task in this process, one after the other."""
    yield InlineExecutor()


@contextmanager
def local(num_cpus: int | None) -> Iterator[Executor]:
    """A Ray of this machine's own, or the one that this process is connected to already (its cores are then used)."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if os.environ["RAY_AUTH_MODE"] == "token":
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # for this cluster alone; in no file
    with _connected({"address": "local", "num_cpus": num_cpus, "include_dashboard": False}, num_cpus) as executor:
        yield executor


@contextmanager
def remote(address: str) -> Iterator[Executor]:
    """A cluster that is there: `auto` inside one, or its address."""
    token = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    os.environ.setdefault("RAY_AUTH_MODE", "token" if token else "disabled")
    _check_reachable(address)
    with _connected({"address": address}, None) as executor:
        yield executor


def _check_reachable(address: str) -> None:
    """Fail at once where nobody listens: Ray itself tries for minutes.

    Raises:
        ConnectionError: Nothing answers at the address.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise ConnectionError(f"nothing answers at {address}: {error}") from error


@contextmanager
def _connected(options: Mapping[str, Any], slots: int | None) -> Iterator[Executor]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415  reads the environment when it is imported

    from cluster.ray_tasks import RayExecutor  # noqa: PLC0415

    if ray.is_initialized():
        yield RayExecutor(slots or _cores(ray))
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    with _own_signals():
        ray.init(**options, **quiet, runtime_env={"env_vars": {**SINGLE_THREAD, **_forwarded()}})
    try:
        yield RayExecutor(slots or _cores(ray))
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does in this process: Ray puts a handler of its own in its place, which ends the process with 15, or aborts it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGTERM, before)


def _forwarded() -> dict[str, str]:
    """Settings of ours that workers on other machines need too; never a secret."""
    return {name: value for name, value in os.environ.items() if name.startswith("SHARDMILL_")}


def _cores(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))
