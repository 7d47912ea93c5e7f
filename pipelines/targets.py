"""The kinds of clusters that a run can be handed to, by name; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from cluster.target import Target

if TYPE_CHECKING:
    from pipelines.config import PipelineConfig

TARGETS: Final = {
    "ray": ("cluster.ray_jobs", "RayJobs"),
    "kuberay": ("cluster.kuberay", "KubeRay"),
    "slurm": ("cluster.slurm", "Slurm"),
}


def target_of(name: str, config: PipelineConfig, place: str = "") -> Target:
    """The cluster that a pipeline's section `submit.<name>` describes; at another place, if a submission went there."""
    module, made_by = TARGETS[name]
    options: dict[str, Any] = getattr(config.submit, name).model_dump(mode="json")
    if name == "ray":
        options |= {"address": place} if place else {}
    else:
        options |= {"schedule": None if config.schedule is None else config.schedule.model_dump(mode="json")}
    found: Target = getattr(import_module(module), made_by).of(options)
    return found
