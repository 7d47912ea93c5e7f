"""The section `cluster` of a pipeline file: where the work runs. None of it decides what a run makes, so that it is in no fingerprint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.settings_section import Section


class LocalCluster(Section):
    """Ray on this machine."""

    type: Literal["local"] = "local"
    num_cpus: int | None = Field(default=None, ge=1, le=4096, description="Cores to use; null: all of them.")


class RayCluster(Section):
    """A Ray cluster that is already there."""

    type: Literal["ray"] = "ray"
    address: str = Field(
        default="auto",
        min_length=1,
        description="Address of the cluster; auto: the one that this machine is part of.",
        examples=["auto", "ray://head:10001", "10.0.0.1:6379"],
    )


class InlineCluster(Section):
    """No Ray: everything in this process, one unit after the other."""

    type: Literal["inline"] = "inline"


ClusterConfig = Annotated[LocalCluster | RayCluster | InlineCluster, Field(discriminator="type")]
CLUSTERS: dict[str, type[LocalCluster | RayCluster | InlineCluster]] = {"local": LocalCluster, "ray": RayCluster, "inline": InlineCluster}
