"""How functions are run elsewhere: submit, wait for any, and what became of each. One contract, with Ray and without.

Ray's own retries are off: the driver retries, because only it knows the kind of the failure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cluster.metrics import NO_METRICS, Metrics
from cluster.resources import Needs

ONE_CORE = Needs()


class Loss(StrEnum):
    """Why a task gave no answer."""

    MEMORY = "memory"  # killed because the machine ran out of memory
    WORKER = "worker"  # its process died
    NODE = "node"  # its machine went away
    ERROR = "error"  # the function raised


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a task: a value, or a loss with a message."""

    token: int
    value: Any = None
    loss: Loss | None = None
    message: str = ""


class Executor(ABC):
    """Runs functions of one argument; answers come in any order."""

    def __init__(self, slots: int) -> None:
        self._slots = slots

    @property
    def slots(self) -> int:
        """How many calls of the usual size run at once, as the cluster is now."""
        return self._slots

    def room(self, needs: Needs) -> int:  # noqa: ARG002  one place is like the other, unless a cluster says otherwise
        """How many calls that need this run at once, as the cluster is now; at least one, which may have to wait for a node."""
        return self.slots

    def lacking(self, needs: Needs) -> str:  # noqa: ARG002
        """What no node of the cluster has enough of for such a call, for a person; empty if one can run."""
        return ""

    def expect(self, calls: int, needs: Needs) -> None:  # noqa: B027  most clusters have nothing to do
        """Say how many calls are under way or waiting, so that a cluster that can grow or shrink does."""

    @abstractmethod
    def submit(self, token: int, function: Callable[[Any], Any], argument: Any, needs: Needs = ONE_CORE) -> None:
        """Hand a call over; `token` names it in the answer."""

    @abstractmethod
    def wait(self, timeout_seconds: float) -> list[Done]:
        """Answers that have come, at least one if any task is under way and the time allows."""

    @abstractmethod
    def cancel(self) -> None:
        """Give up all tasks under way."""

    @property
    def metrics(self) -> Metrics:
        """Where the driver's metrics go; nowhere, unless this kind of executor has a place for them."""
        return NO_METRICS


class InlineExecutor(Executor):
    """Runs each call in this process, when it is waited for."""

    def __init__(self) -> None:
        super().__init__(slots=1)
        self._queue: deque[tuple[int, Callable[[Any], Any], Any]] = deque()

    def submit(self, token: int, function: Callable[[Any], Any], argument: Any, needs: Needs = ONE_CORE) -> None:  # noqa: ARG002
        """Remember the call."""
        self._queue.append((token, function, argument))

    def wait(self, timeout_seconds: float) -> list[Done]:  # noqa: ARG002  nothing here waits
        """Run the next call."""
        if not self._queue:
            return []
        token, function, argument = self._queue.popleft()
        try:
            return [Done(token, function(argument))]
        except Exception as error:  # noqa: BLE001  the edge of a task
            return [Done(token, None, Loss.ERROR, f"{type(error).__name__}: {error}")]

    def cancel(self) -> None:
        """Forget what has not begun."""
        self._queue.clear()
