"""What tests of sampling share: inventories made of numbers alone, and the rows that a design draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.inventory import Inventory
from pipelines.sampling import Design, row_hashes

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.large_string())])


def inventory_of(files: Sequence[Sequence[int]], row_bytes: int = 1000, uri: str = "s3://bucket/{:05d}.parquet") -> Inventory:
    """An inventory whose files have row groups of so many rows."""
    lengths = [len(groups) for groups in files]
    rows = np.array([count for groups in files for count in groups], np.int64)
    sizes = [sum(groups) * row_bytes + 1000 for groups in files]
    offsets = np.concatenate([np.cumsum([0, *groups[:-1]]) * row_bytes for groups in files if groups]) if len(rows) else rows
    table = pa.table(
        {
            "uri": pa.array([uri.format(number) for number in range(len(files))], pa.large_string()),
            "size": pa.array(sizes, pa.int64()),
            "etag": pa.array(["e"] * len(files), pa.large_string()),
            "format": ["parquet"] * len(files),
            "schema": pa.array([0] * len(files), pa.int32()),
            "error": pa.nulls(len(files), pa.string()),
            "message": pa.nulls(len(files), pa.string()),
        }
    )
    groups = np.stack([rows, offsets.astype(np.int64), rows * row_bytes, rows * row_bytes * 3])
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Inventory(table, groups, bounds, [SCHEMA], SCHEMA)


def drawn_rows(inventory: Inventory, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """The rows that a design draws, numbered along the inventory, and the cluster of each: what reading it would give."""
    ends = np.cumsum(inventory.group_rows)
    uris = inventory.uris.to_pylist()
    rows, clusters = [], []
    for number, cluster in enumerate(design.clusters):
        group = inventory.file_first_group[cluster.file] + cluster.row_group
        before = int(ends[group] - inventory.group_rows[group])
        first = inventory.file_first_group[cluster.file]
        in_file = before - int(ends[first] - inventory.group_rows[first])
        hashes = row_hashes(design.seed, f"drawn {uris[cluster.file]}", np.arange(in_file, in_file + cluster.stop))
        chosen = np.sort(np.argsort(hashes, kind="stable")[: cluster.documents])
        rows.append(before + chosen)
        clusters.append(np.full(len(chosen), number, np.int32))
    return np.concatenate([np.empty(0, np.int64), *rows]), np.concatenate([np.empty(0, np.int32), *clusters])
