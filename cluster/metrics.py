"""Counters and gauges for Prometheus: what a metric is, where its values go, and the place that Ray has for them.

Ray's agent on each node serves what the processes there have told it. Knows no metric by name; Ray is imported at the first value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric, known by being itself.

    Attributes:
        name: As Prometheus wants it; Ray puts `ray_` in front.
        kind: A counter is added to, a gauge is set.
        description: What it counts, in one sentence.
        labels: Every value comes with each of them.
    """

    name: str
    kind: Literal["counter", "gauge"]
    description: str
    labels: tuple[str, ...] = ()


class Metrics(ABC):
    """Where the values of metrics go."""

    are_kept: ClassVar[bool] = True
    """Whether anybody can ever see them; where not, nobody needs to count."""

    @abstractmethod
    def add(self, metric: Metric, labels: Mapping[str, str], value: float) -> None:
        """Add to a counter; adding 0 makes its series known, so that the first event is seen as an increase."""

    @abstractmethod
    def set(self, metric: Metric, labels: Mapping[str, str], value: float) -> None:
        """Set a gauge."""


class NoMetrics(Metrics):
    """Forgets every value: nobody would ask for it."""

    are_kept = False

    def add(self, metric: Metric, labels: Mapping[str, str], value: float) -> None:
        """Forget it."""

    def set(self, metric: Metric, labels: Mapping[str, str], value: float) -> None:
        """Forget it."""


NO_METRICS: Final = NoMetrics()


class RayMetrics(Metrics):
    """Tells the values to Ray's agent on this node, which is asked by Prometheus. May be used from any thread.

    Values are sent on every 10 seconds (Ray's `metrics_report_interval_ms`) and when this process disconnects. The agent keeps counters as
    long as it lives, and forgets a gauge 20 seconds after its process has gone.
    """

    def __init__(self) -> None:
        self._made: dict[Metric, Any] = {}

    def add(self, metric: Metric, labels: Mapping[str, str], value: float) -> None:
        """Add to a counter."""
        # `inc`, which is public, refuses 0, and there is no other way to make a series known before its first event.
        self._of(metric)._record(float(value), dict(labels))  # noqa: SLF001

    def set(self, metric: Metric, labels: Mapping[str, str], value: float) -> None:
        """Set a gauge."""
        self._of(metric).set(float(value), dict(labels))

    def _of(self, metric: Metric) -> Any:
        made = self._made.get(metric)
        if made is None:
            from ray.util.metrics import Counter, Gauge  # noqa: PLC0415  Ray reads the environment when it is imported

            kind = Counter if metric.kind == "counter" else Gauge
            made = self._made.setdefault(metric, kind(metric.name, metric.description, metric.labels))
        return made


def ray_metrics() -> Metrics:
    """Where a process that is connected to Ray tells its metrics; nowhere, if it is outside (`ray://`) and has no agent beside it."""
    from ray.util.client import ray as client  # noqa: PLC0415

    return NO_METRICS if client.is_connected() else RayMetrics()
