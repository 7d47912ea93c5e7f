"""The section `cluster` of a pipeline file: where the work runs. None of it decides what a run makes, so that it is in no fingerprint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipelines.config_sizes import PATTERN, parse_size
from pipelines.redaction import is_secret_name
from pipelines.settings_section import Problem, Section

MIB: Final = 1 << 20
KINDS_OF_WORK: Final = {
    "exchange": "what compares documents with each other",
    "learn": "learning from a sample",
    "pack": "writing shards and tables",
    "history": "keys for later runs",
}
"""Work that no operator's name stands for."""
DEFAULT: Final = "default"
OWN_RESOURCES: Final = {"CPU": "num_cpus", "memory": "memory"}


def _memory(value: object) -> object:
    return None if value is None else parse_size(value, at_least=MIB)


Memory = Annotated[
    int | None,
    BeforeValidator(_memory),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": MIB}, {"type": "string", "pattern": PATTERN}, {"type": "null"}], "examples": ["4GiB"]}
    ),
]
Amount = Annotated[float, Field(ge=0.0001, le=1_000_000)]


class LocalCluster(Section):
    """Ray on this machine."""

    type: Literal["local"] = "local"
    num_cpus: int | None = Field(default=None, ge=1, le=4096, description="Cores to use; null: all of them.")


class TaskResources(Section):
    """What a task asks of the node that it runs on; what is not said is as in `default`."""

    num_cpus: Annotated[float, Field(ge=0.01, le=4096)] | None = Field(
        default=None, description="Cores; a part of one lets several tasks share it. One, if nothing says otherwise."
    )
    memory: Memory = Field(
        default=None, description="Memory that Ray sets aside on the node, so that not too many tasks meet there; it is not a limit."
    )
    custom: dict[str, Amount] = Field(
        default_factory=dict, description="Of resources that nodes were started with, by name; GPU among them.", examples=[{"GPU": 1}]
    )

    def problems(self) -> Iterator[Problem]:
        """Amounts that Ray refuses, and names that have a key of their own."""
        if self.num_cpus is not None and self.num_cpus > 1 and self.num_cpus != int(self.num_cpus):
            yield Problem(("num_cpus",), f"found {self.num_cpus:g}, expected a whole number, or a part of one core")
        for name, amount in self.custom.items():
            if name in OWN_RESOURCES:
                yield Problem(("custom", name), f"{name} is not a custom resource; set `{OWN_RESOURCES[name]}`")
            elif amount > 1 and amount != int(amount):
                yield Problem(("custom", name), f"found {amount:g}, expected a whole number, or a part of one")


class Autoscale(Section):
    """What an autoscaler is asked for."""

    max_cpus: int = Field(ge=1, le=1_000_000, description="Cores that the autoscaler is asked for at most, while there is work for them.")


class RayCluster(Section):
    """A Ray cluster that is already there."""

    type: Literal["ray"] = "ray"
    address: str = Field(
        default="auto",
        min_length=1,
        description="Address of the cluster; auto: the one that this machine is part of.",
        examples=["auto", "ray://head:10001", "10.0.0.1:6379"],
    )
    token_path: str | None = Field(
        default=None,
        min_length=1,
        description="A file with the cluster's token, if RAY_AUTH_TOKEN and RAY_AUTH_TOKEN_PATH are not in the environment.",
        examples=["~/.ray/auth_token"],
    )
    resources: dict[str, TaskResources] = Field(
        default_factory=dict,
        description="What tasks ask of their node: `default`, and more for operators by name (a stage asks for the most of its operators) "
        "and for kinds of work: exchange, learn, pack, history.",
        examples=[{"default": {"num_cpus": 1}, "tokenize": {"memory": "4GiB"}}],
    )
    autoscale: Autoscale | None = Field(
        default=None, description="Lets the run ask the cluster's autoscaler for nodes while work waits; null: it sees only what is queued."
    )
    max_wait_minutes: float = Field(
        default=30.0,
        gt=0,
        le=10_080,
        description="How long the run waits while no node has what its tasks ask for, before it fails; new nodes take minutes.",
    )
    ship: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Files in the pipeline's folder that its own operators read, which go to the workers with its modules; `*`, "
        "`**` match names.",
        examples=[["words/*.txt"]],
    )
    pip: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Requirements that Ray installs for the workers before they begin; none: they have what their image has.",
        examples=[["ftfy==6.3.1"]],
    )

    def problems(self) -> Iterator[Problem]:
        """Files that would be found outside the pipeline's folder, and a token in a requirement's address."""
        for position, pattern in enumerate(self.ship):
            if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
                yield Problem(("ship", position), f"{pattern} leads out of the pipeline's folder; patterns count from there")
        for position, requirement in enumerate(self.pip):
            if "@" in requirement.partition("://")[2] or is_secret_name(requirement.partition("=")[0]):
                yield Problem(("pip", position), "a password in a requirement would be stored by the cluster; use an index without one")


class InlineCluster(Section):
    """No Ray: everything in this process, one unit after the other."""

    type: Literal["inline"] = "inline"


ClusterConfig = Annotated[LocalCluster | RayCluster | InlineCluster, Field(discriminator="type")]
CLUSTERS: dict[str, type[LocalCluster | RayCluster | InlineCluster]] = {"local": LocalCluster, "ray": RayCluster, "inline": InlineCluster}


def resource_problems(cluster: LocalCluster | RayCluster | InlineCluster | None, names: Sequence[str]) -> Iterator[Problem]:
    """Keys of `resources` that stand for nothing; `names`: of the operators."""
    from pipelines.config_validate import near  # noqa: PLC0415  it knows sections, which come first

    if not isinstance(cluster, RayCluster):
        return
    known = dict.fromkeys([DEFAULT, *KINDS_OF_WORK, *names])
    for key in cluster.resources:
        if key not in known:
            message = f"no operator or kind of work is called {key!r}; {near(key, known, 'names')}"
            yield Problem(("cluster", "resources", key), message)


def merged(resources: Mapping[str, TaskResources], key: str) -> dict[str, Any]:
    """What a key asks for, with what it does not say from `default`."""
    base = resources.get(DEFAULT, TaskResources())
    own = resources.get(key, base)
    return {
        "num_cpus": next((value for value in (own.num_cpus, base.num_cpus) if value is not None), 1.0),
        "memory": next((value for value in (own.memory, base.memory) if value is not None), 0),
        "custom": {**base.custom, **own.custom},
    }
