"""Where bytes are kept: local files, memory, S3 and whatever else fsspec reads, behind one contract.

`open_store` gives the folder of a run's output, with conditional writes; `Sources` reads inputs and assets by their absolute URI. The
rest of the package imports storage from here and knows no client.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.storage_contract import Creator, ObjectInfo, Store, StoreKind, Writer, checked_path
from pipelines.storage_fsspec import MemoryStore, ReadOnlyStore
from pipelines.storage_hub import HubStore, is_hub_dataset
from pipelines.storage_local import LocalStore, local_path
from pipelines.storage_retry import StoreStats, retryable
from pipelines.storage_s3 import S3Store
from pipelines.storage_sources import SourceObject, Sources, store_class

__all__ = [
    "Creator",
    "HubStore",
    "LocalStore",
    "MemoryStore",
    "ObjectInfo",
    "ReadOnlyStore",
    "S3Store",
    "SourceObject",
    "Sources",
    "Store",
    "StoreKind",
    "StoreStats",
    "Writer",
    "checked_path",
    "is_hub_dataset",
    "local_path",
    "open_store",
    "retryable",
]


def open_store(uri: str, storage_options: Mapping[str, Any] | None = None) -> Store:
    """The store under `uri`: a local path, `file://`, `memory://`, `s3://`, or anything that fsspec reads (then read-only).

    A dataset repo of the Hub (`hf://datasets/org/name[@revision]`) is read at one commit. Nothing is requested yet; `Store.check` proves
    that it can be used as an output.
    """
    if is_hub_dataset(uri):
        return HubStore(uri, storage_options)
    return store_class(uri)(uri, storage_options)
