"""Functions as Ray tasks.

The only module besides the session that imports Ray; imported when `RAY_AUTH_MODE` is settled, because Ray reads it then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from cluster.metrics import Metrics, ray_metrics
from cluster.tasks import Done, Executor, Loss


class RayExecutor(Executor):
    """Runs calls as Ray tasks, spread over the cluster."""

    def __init__(self, slots: int, num_cpus: float = 1.0) -> None:
        super().__init__(slots)
        options = {"max_retries": 0, "num_cpus": num_cpus, "scheduling_strategy": "SPREAD"}
        self._call = ray.remote(_call).options(**options)
        self._tokens: dict[Any, int] = {}

    def submit(self, token: int, function: Callable[[Any], Any], argument: Any) -> None:
        """Start a Ray task."""
        self._tokens[self._call.remote(function, argument)] = token

    def wait(self, timeout_seconds: float) -> list[Done]:
        """Answers of finished tasks."""
        if not self._tokens:
            return []
        ready, _ = ray.wait(list(self._tokens), num_returns=1, timeout=timeout_seconds)
        if ready:  # whatever else is ready comes with it, in one look
            ready, _ = ray.wait(list(self._tokens), num_returns=len(self._tokens), timeout=0)
        return [self._answer(reference) for reference in ready]

    def _answer(self, reference: Any) -> Done:
        token = self._tokens.pop(reference)
        try:
            return Done(token, ray.get(reference))
        except OutOfMemoryError as error:
            return Done(token, None, Loss.MEMORY, _first_line(error))
        except NodeDiedError as error:
            return Done(token, None, Loss.NODE, _first_line(error))
        except (WorkerCrashedError, RayActorError, TaskCancelledError) as error:
            return Done(token, None, Loss.WORKER, _first_line(error))
        except RayTaskError as error:
            return Done(token, None, Loss.ERROR, _first_line(error.cause or error))
        except RayError as error:  # objects lost with a node, a store that died: infrastructure
            return Done(token, None, Loss.NODE, _first_line(error))

    def cancel(self) -> None:
        """Cancel every task under way; those that run are killed."""
        for reference in self._tokens:
            ray.cancel(reference, force=True)
        deadline = time.monotonic() + 10
        while self._tokens and time.monotonic() < deadline:
            self.wait(1.0)
        self._tokens.clear()

    @property
    def metrics(self) -> Metrics:
        """Ray's agent on the driver's node, for Prometheus."""
        return ray_metrics()


def _call(function: Callable[[Any], Any], argument: Any) -> Any:
    return function(argument)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else ''}"
