"""The section `submit.ray` of a pipeline file: how a run is handed to Ray, by its Jobs API."""

from __future__ import annotations

from pipelines.settings_section import Section


class RaySubmit(Section):
    """How `shardmill submit --to ray` hands a run over. None of it decides what a run makes."""
