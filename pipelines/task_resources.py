"""What the tasks of a run ask of their nodes: from `cluster.resources`, by what a task does.

A stage asks for the most that any of its operators asks for, since one task applies them all; kinds of work that no operator stands for
have keys of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cluster.resources import Needs, most
from pipelines.errors import NoRoom
from pipelines.progress import KINDS
from pipelines.settings_cluster import DEFAULT, InlineCluster, LocalCluster, RayCluster, TaskResources, merged

KEYS: Final = {"exchange": "exchange", "learning": "learn", "packing": "pack", "history": "history"}
"""Keys of `cluster.resources` by how the progress calls the work."""
PATIENCE_SECONDS: Final = 20.0
"""A task that no node can run is told of after this time: a node that joins a cluster takes as long."""
LONG_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What some work asks for, and how to call the work."""

    needs: Needs
    subject: str


class Askings:
    """Looks up what work asks for."""

    def __init__(
        self, cluster: LocalCluster | RayCluster | InlineCluster | None = None, stages: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """`stages`: names of every stage's operators by its fingerprint, in order."""
        self._resources: Mapping[str, TaskResources] = cluster.resources if isinstance(cluster, RayCluster) else {}
        self._stages = stages or {}
        self.max_wait_seconds = cluster.max_wait_minutes * 60 if isinstance(cluster, RayCluster) else LONG_SECONDS

    def of(self, stage: str, kinds: Iterable[str]) -> Asked:
        """What work of some kinds asks for in a stage's log."""
        keys = {KEYS.get(KINDS.get(kind, kind).partition(":")[0]) for kind in kinds}
        operators = self._stages.get(stage, ())
        names = [key for key in sorted(key for key in keys if key is not None) if key not in operators]
        if None in keys:
            names += operators or [DEFAULT]
        number = list(self._stages).index(stage) + 1 if stage in self._stages else 0
        subject = f"stage {number} ({', '.join(names)})" if number and None in keys else " and ".join(names)
        return Asked(most(self._needs(name) for name in names), subject)

    def _needs(self, name: str) -> Needs:
        found = merged(self._resources, name)
        return Needs(found["num_cpus"], found["memory"], tuple(sorted(found["custom"].items())))


class Scarcity:
    """Notices that no node can run what is waiting: told after a while, and again when it has passed; in the end an error.

    Nodes may still come, if the cluster has an autoscaler or a person, so it is none at once.
    """

    def __init__(self, asked: Asked, max_wait_seconds: float, tell: Callable[[str], None]) -> None:
        self._asked = asked
        self._max_wait_seconds = max_wait_seconds
        self._tell = tell
        self._since: float | None = None
        self._is_told = False

    def look(self, lacking: str) -> None:
        """Take in what no node has enough of, if there is such a thing.

        Raises:
            NoRoom: It has been so for too long.
        """
        now = time.monotonic()
        if not lacking:
            if self._is_told:
                self._tell("")
            self._since, self._is_told = None, False
            return
        self._since = now if self._since is None else self._since
        waited = now - self._since
        if waited >= self._max_wait_seconds:
            raise NoRoom(
                f"{self._asked.subject}: for {waited / 60:.3g} minutes no node of the cluster has had {lacking}; start one that has, "
                "ask for less in cluster.resources, or wait longer with cluster.max_wait_minutes; the next run goes on from here"
            )
        if not self._is_told and waited >= min(PATIENCE_SECONDS, self._max_wait_seconds / 2):
            self._is_told = True
            self._tell(f"{self._asked.subject}: waiting for a node that has {lacking}")
