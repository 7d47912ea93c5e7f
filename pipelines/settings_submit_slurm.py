"""The section `submit.slurm` of a pipeline file: how a run is handed to Slurm."""

from __future__ import annotations

from pipelines.settings_section import Section


class SlurmSubmit(Section):
    """How `shardmill submit --to slurm` hands a run over. None of it decides what a run makes."""
