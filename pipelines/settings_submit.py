"""The section `submit` of a pipeline file: how a run is handed to a cluster, by the kind of cluster."""

from __future__ import annotations

from pydantic import Field

from pipelines.settings_section import Section
from pipelines.settings_submit_kuberay import KubeRaySubmit
from pipelines.settings_submit_ray import RaySubmit
from pipelines.settings_submit_slurm import SlurmSubmit


class SubmitConfig(Section):
    """How `shardmill submit` hands a run over. None of it decides what a run makes."""

    ray: RaySubmit = Field(default_factory=RaySubmit, description="To a Ray cluster, by its Jobs API.")
    kuberay: KubeRaySubmit = Field(default_factory=KubeRaySubmit, description="To Kubernetes with KubeRay, as a RayJob.")
    slurm: SlurmSubmit = Field(default_factory=SlurmSubmit, description="To Slurm, as a batch script that starts Ray.")
