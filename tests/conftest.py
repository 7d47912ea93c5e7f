"""Fixtures that every test file may use."""

from __future__ import annotations

from changing import project
from corpora import no_fsync
from pipelines_made import shm_path
from ray_servers import ray_cluster
from servers import fault_proxy, s3_server

__all__ = ["fault_proxy", "no_fsync", "project", "ray_cluster", "s3_server", "shm_path"]
