"""What a task asks of a node, and for how many such tasks a cluster has room.

Nodes are told by what they have in all (Ray's names: CPU, GPU, memory, custom ones); what of it others use does not count here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

CPU: Final = "CPU"
GPU: Final = "GPU"
MEMORY: Final = "memory"
ROUNDING: Final = 1e-9

Resources = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Needs:
    """What one task asks of the node that it runs on.

    Attributes:
        num_cpus: Cores; a part of one lets several tasks share it.
        memory: Bytes that are set aside for it; 0: none. Ray counts them, and does not enforce them.
        custom: Of resources that nodes were started with, by name, sorted; `GPU` among them.
    """

    num_cpus: float = 1.0
    memory: int = 0
    custom: tuple[tuple[str, float], ...] = ()

    def demand(self) -> dict[str, float]:
        """All of it under Ray's names."""
        found = {CPU: self.num_cpus, **dict(self.custom)}
        return {**found, MEMORY: float(self.memory)} if self.memory else found

    def options(self) -> dict[str, Any]:
        """All of it as options of a Ray task."""
        custom = dict(self.custom)
        options: dict[str, Any] = {"num_cpus": self.num_cpus}
        if GPU in custom:
            options["num_gpus"] = custom.pop(GPU)
        if self.memory:
            options["memory"] = self.memory
        return {**options, "resources": custom} if custom else options


def most(needs: Iterable[Needs]) -> Needs:
    """Of every resource the most that any of them asks for; what nothing asks for is one core."""
    listed = list(needs) or [Needs()]
    names = sorted({name for one in listed for name, _ in one.custom})
    return Needs(
        max(one.num_cpus for one in listed),
        max(one.memory for one in listed),
        tuple((name, max(dict(one.custom).get(name, 0.0) for one in listed)) for name in names),
    )


def room(nodes: Iterable[Resources], needs: Needs) -> int:
    """How many such tasks fit on the nodes at once."""
    demand = needs.demand()
    return sum(_fitting(node, demand) for node in nodes)


def lacking(nodes: Sequence[Resources], needs: Needs) -> str:
    """What no node has enough of for even one such task, for a person; empty if one fits somewhere."""
    demand = needs.demand()
    if any(_fitting(node, demand) for node in nodes):
        return ""
    short = [
        f"{name} {_amount(name, wanted)} (the most that a node has is {_amount(name, most_of)})"
        for name, wanted in demand.items()
        if (most_of := max((node.get(name, 0.0) for node in nodes), default=0.0)) + ROUNDING < wanted
    ]
    return " and ".join(short) or "together " + ", ".join(f"{name} {_amount(name, wanted)}" for name, wanted in demand.items())


def _fitting(node: Resources, demand: Resources) -> int:
    return min(int(node.get(name, 0.0) / wanted + ROUNDING) for name, wanted in demand.items())


def _amount(name: str, value: float) -> str:
    return f"{value / (1 << 30):.3g} GiB" if name == MEMORY else f"{value:g}"
