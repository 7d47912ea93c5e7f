"""The section `submit.kuberay` of a pipeline file: how a run is handed to Kubernetes with KubeRay."""

from __future__ import annotations

from pipelines.settings_section import Section


class KubeRaySubmit(Section):
    """How `shardmill submit --to kuberay` hands a run over. None of it decides what a run makes."""
