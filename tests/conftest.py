"""Fixtures that every test file may use."""

from __future__ import annotations

import hub_environment

hub_environment.settle()  # the Hugging Face clients read the environment when they are imported, which the modules below may do

import pytest  # noqa: E402
from changing import project  # noqa: E402
from corpora import no_fsync  # noqa: E402
from hub_server import hub  # noqa: E402
from pipelines_made import shm_path  # noqa: E402
from publications import quick_hub, versions  # noqa: E402
from ray_servers import connected, ray_cluster  # noqa: E402
from servers import fault_proxy, s3_server  # noqa: E402
from slurm_server import slurm_server  # noqa: E402

__all__ = [
    "connected",
    "fault_proxy",
    "hub",
    "no_fsync",
    "project",
    "quick_hub",
    "ray_cluster",
    "s3_server",
    "shm_path",
    "slurm_server",
    "versions",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes test, each takes whole files, and one of them all files that need Ray: there is one cluster."""
    with_ray = {item.path for item in items if item.get_closest_marker("ray") is not None}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if item.path in with_ray else item.path.name))
