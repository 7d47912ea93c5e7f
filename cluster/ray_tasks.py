"""Functions as Ray tasks.

The only module besides the session that imports Ray; imported when `RAY_AUTH_MODE` is settled, because Ray reads it then.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

import ray
import ray.util.client
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from cluster import shipping
from cluster.metrics import Metrics, ray_metrics
from cluster.resources import Needs, Resources, lacking, room
from cluster.tasks import ONE_CORE, Done, Executor, Loss

LOOK_SECONDS: Final = 2.0
"""How old the picture of the cluster may be: nodes come and go during a run."""

ASK_SECONDS: Final = 30.0


class RayExecutor(Executor):
    """Runs calls as Ray tasks, spread over the nodes that are there at the time.

    `limit`: at most so many at once. `max_cpus`: how many cores an autoscaler may be asked for; None: it is not asked.
    """

    def __init__(self, limit: int | None = None, max_cpus: int | None = None) -> None:
        super().__init__(limit or 1)
        self._limit = limit
        self._max_cpus = max_cpus
        self._calls: dict[Needs, Any] = {}
        self._tokens: dict[Any, int] = {}
        self._nodes: list[Resources] = []
        self._rooms: dict[Needs, int] = {}
        self._looked = -LOOK_SECONDS
        self._asked: tuple[int, Needs] | None = None

    @property
    def slots(self) -> int:
        """Cores of the nodes that are there, or the limit."""
        return self.room(ONE_CORE)

    def room(self, needs: Needs) -> int:
        """For how many such tasks the nodes that are there have room."""
        nodes = self._look()
        if needs not in self._rooms:
            self._rooms[needs] = max(1, room(nodes, needs))
        return min(self._rooms[needs], self._limit or self._rooms[needs])

    def lacking(self, needs: Needs) -> str:
        """What none of the nodes that are there has enough of."""
        return lacking(self._look(), needs)

    def _look(self) -> list[Resources]:
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            self._rooms.clear()
            self._looked = now
        return self._nodes

    def expect(self, calls: int, needs: Needs) -> None:
        """Ask the autoscaler for nodes for so many tasks, as far as it may be asked; a cluster without one takes no notice."""
        if self._max_cpus is None:
            return
        wanted = (min(calls, max(1, int(self._max_cpus / needs.num_cpus))), needs)
        if wanted != self._asked:
            self._asked = wanted
            _ask_autoscaler([needs.demand()] * wanted[0])

    def release(self) -> None:
        """Ask the autoscaler for nothing any more."""
        if self._asked is not None:
            self._asked = None
            _ask_autoscaler([])

    def submit(self, token: int, function: Callable[[Any], Any], argument: Any, needs: Needs = ONE_CORE) -> None:
        """Start a Ray task."""
        if needs not in self._calls:
            self._calls[needs] = ray.remote(_call).options(max_retries=0, scheduling_strategy="SPREAD", **needs.options())
        self._tokens[self._calls[needs].remote(function, argument)] = token

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
    shipping.settle()
    return function(argument)


def _ask_autoscaler(bundles: list[dict[str, float]]) -> None:
    """Tell the autoscaler what the cluster should have room for. It is a hint: a run goes on without it."""
    with contextlib.suppress(RayError, ConnectionError, RuntimeError):
        if ray.util.client.ray.is_connected():  # asked from within, as it is not there for clients
            ray.get(ray.remote(_request).options(num_cpus=0, max_retries=0).remote(bundles), timeout=ASK_SECONDS)
        else:
            _request(bundles)


def _request(bundles: list[dict[str, float]]) -> None:
    from ray.autoscaler.sdk import request_resources  # noqa: PLC0415

    request_resources(bundles=bundles)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200] if text else ''}"
