"""A connection to Ray for the time of a run: a local cluster of this machine's cores, or one that is there already.

`RAY_AUTH_MODE` is always set explicitly: Ray 2.60 otherwise decides by what it finds in the home folder, and nodes then disagree.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import admission, shipping
from cluster.forwarding import forwarded
from cluster.tasks import Executor, InlineExecutor

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
    options = {"address": "local", "num_cpus": num_cpus, "include_dashboard": False}
    with _connected(options, num_cpus, {"env_vars": {**SINGLE_THREAD, **forwarded()}}) as executor:
        yield executor


@dataclass(frozen=True, slots=True)
class Remote:
    """A cluster that is there, and how it is used.

    Attributes:
        address: `auto` inside one, or its address.
        shipment: What workers get besides our code.
        token_path: A file with the cluster's token, where the environment names none.
        pip: Requirements that Ray installs for the workers.
        max_cpus: How many cores an autoscaler is asked for while there is work; None: it is left alone.
    """

    address: str
    shipment: shipping.Shipment = field(default_factory=lambda: shipping.Shipment(Path.cwd()))
    token_path: str | None = None
    pip: tuple[str, ...] = ()
    max_cpus: int | None = None


@contextmanager
def remote(target: Remote) -> Iterator[Executor]:
    """A cluster that is there.

    Raises:
        ConnectionError: Nothing answers there, or it refuses the token; the message never holds one.
        ShippingError: What the workers need cannot be shipped.
    """
    admission.settle(target.token_path)
    admission.check(target.address)
    with ExitStack() as stack:
        environment = _runtime_environment(target, stack)
        executor = stack.enter_context(_connected({"address": target.address}, None, environment, target.max_cpus))
        yield executor


def _runtime_environment(target: Remote, stack: ExitStack) -> dict[str, Any]:
    """What Ray prepares for every worker. A job's own stays as it is: two of one thing are an error."""
    job = shipping.job_environment() or {}
    unpacked = shipping.job_folder(job)
    variables = {**SINGLE_THREAD, **forwarded(), shipping.STARTED_IN: str(Path.cwd())}
    made: dict[str, Any] = {"pip": list(target.pip)} if target.pip and "pip" not in job else {}
    if unpacked is None:
        made["working_dir"] = str(stack.enter_context(shipping.staged(target.shipment)))
        variables |= shipping.addressed(target.shipment)
    else:
        variables |= shipping.inherited(target.shipment, unpacked)
    given = job.get("env_vars") or {}
    return {**made, "env_vars": {name: value for name, value in variables.items() if name not in given}}


@contextmanager
def _connected(
    options: Mapping[str, Any], limit: int | None, environment: Mapping[str, Any], max_cpus: int | None = None
) -> Iterator[Executor]:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray  # noqa: PLC0415  reads the environment when it is imported

    from cluster.ray_tasks import RayExecutor  # noqa: PLC0415

    if ray.is_initialized():
        yield RayExecutor(limit, max_cpus)
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        with _own_signals():
            ray.init(**options, **quiet, runtime_env=dict(environment))
    except ray.exceptions.RayError as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    try:
        executor = RayExecutor(limit, max_cpus)
        try:
            yield executor
        finally:
            executor.release()
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does in this process: Ray puts a handler of its own in its place, which ends the process with 15, or aborts it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread() and before is not None:
        signal.signal(signal.SIGTERM, before)
