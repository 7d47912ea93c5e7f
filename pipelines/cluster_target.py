"""A pipeline's `cluster` section as the cluster's own terms: where it is, and what its workers get to do the pipeline's work.

Files that operators name by a local path are shipped while they are small: a node of a cluster has another disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster.session import Remote
from cluster.shipping import Shipment
from operators.base import Operator
from operators.custom import is_custom
from pipelines.assets import asset_digest, local_asset
from pipelines.config import PipelineConfig, RayCluster
from pipelines.config_places import scheme_of
from pipelines.plan import learning
from pipelines.storage import Sources
from pipelines.storage_local import local_path

MAX_ASSET_BYTES: Final = 32 << 20
"""A larger one is not shipped: it would lie in the memory of the cluster's head. Every node must be able to read it."""
LOCAL_SCHEMES: Final = ("", "file", "local")


def cluster_target(config: PipelineConfig) -> Remote:
    """The cluster that a pipeline of type `ray` names."""
    cluster = config.cluster
    assert isinstance(cluster, RayCluster)
    return Remote(
        address=cluster.address,
        shipment=shipment_of(config),
        token_path=cluster.token_path,
        pip=cluster.pip,
        max_cpus=None if cluster.autoscale is None else cluster.autoscale.max_cpus,
    )


def shipment_of(config: PipelineConfig) -> Shipment:
    """What workers need besides our own code: the pipeline's own modules, files that it names to be shipped, and small local assets."""
    cluster = config.cluster
    extra = cluster.ship if isinstance(cluster, RayCluster) else ()
    own = any(is_custom(operator.type) for operator in config.operators)
    return Shipment(config.folder, own, dict(_local_assets(config)), extra)


def _local_assets(config: PipelineConfig) -> Iterator[tuple[str, Path]]:
    """Local copies of assets that lie on this machine, by the sha256 of their content, under which workers look for them."""
    sources = Sources(config.input.storage_options)
    for uri in sorted({uri for operator in config.operators for uri in _uris(operator, config)}):
        if scheme_of(uri) in LOCAL_SCHEMES and 0 < _size(Path(local_path(uri))) <= MAX_ASSET_BYTES:
            found = asset_digest(sources, uri)
            yield found, local_asset(sources, uri, found)


def _uris(operator: Operator, config: PipelineConfig) -> Iterator[str]:
    yield from operator.asset_uris_beside(learning(config.operators))


def _size(path: Path) -> int:
    """Bytes of a file or of a folder's files, as far as it matters; 0 if there is nothing."""
    if path.is_file():
        return path.stat().st_size
    total = 0
    for place, _, files in os.walk(path):
        total += sum((Path(place) / name).stat().st_size for name in files)
        if total > MAX_ASSET_BYTES:
            break
    return total
