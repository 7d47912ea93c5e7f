"""Where a pipeline's tasks run: this process, a Ray of this machine's own, or a cluster, as its section `cluster` says.

Owns what a user is told when there is none.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Final

from cluster.tasks import Executor
from pipelines.chain import bounded
from pipelines.config import PipelineConfig
from pipelines.errors import ClusterError, StorageFull
from pipelines.legible import size
from pipelines.machine import full_folder

RAY_BYTES: Final = 64 << 20
"""Less than this in /tmp or /dev/shm, and Ray does not start, without a word about why."""

Started = Callable[[], Executor]


@contextmanager
def executor_for(config: PipelineConfig) -> Iterator[Started]:
    """Where the pipeline's tasks run; started at the first use, because a finished output needs none."""
    with ExitStack() as stack:
        opened: list[Executor] = []

        def started() -> Executor:
            if not opened:
                opened.append(_opened(stack, config))
            return opened[0]

        yield started


def _opened(stack: ExitStack, config: PipelineConfig) -> Executor:
    from cluster.admission import TokenRefused  # noqa: PLC0415
    from cluster.shippable import ShippingError  # noqa: PLC0415

    try:
        return stack.enter_context(_session(config))
    except ShippingError as error:
        raise ClusterError(str(error)) from error
    except TokenRefused as error:
        raise ClusterError(f"cluster: {config.cluster.address if config.cluster.type == 'ray' else 'Ray'}: {error}") from error
    except Exception as error:  # Ray raises plain ones where a node does not start
        _check_space(error)
        remedy = (
            "start Ray there, or correct cluster.address; if it wants a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            if config.cluster.type == "ray"
            else "is there memory and space in /tmp? `cluster: {type: inline}` works without Ray"
        )
        where = config.cluster.address if config.cluster.type == "ray" else "this machine"
        raise ClusterError(f"cluster: no Ray could be used on {where}: {type(error).__name__}: {bounded(error)}; {remedy}") from error


def _check_space(error: Exception) -> None:
    """Blame a full disk for a Ray that does not start, where there is one."""
    found = full_folder((os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "/dev/shm"), RAY_BYTES)  # noqa: S108  where Ray keeps its files
    if found is not None:
        folder, free = found
        remedy = f"free {size(RAY_BYTES)}, or set RAY_TMPDIR to a folder with space; then run again"
        raise StorageFull(f"{folder}: {size(free)} are free, too little for Ray to start ({bounded(error)}); {remedy}") from error


def _session(config: PipelineConfig) -> AbstractContextManager[Executor]:
    from cluster import session  # noqa: PLC0415  Ray is imported where it is used
    from pipelines.cluster_target import cluster_target  # noqa: PLC0415

    match config.cluster.type:
        case "inline":
            return session.inline()
        case "local":
            return session.local(config.cluster.num_cpus)
        case "ray":
            return session.remote(cluster_target(config))
