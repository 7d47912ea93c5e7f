"""A process that says how much memory comparing documents took: little lost first, as a warm-up, then much.

Run by test_difference_documents.py. The versions are made here, of arrays: no file of documents is there.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from made import INVENTORY, SIDE, Output, rewrite_manifest
from near_memory import peak_bytes

from pipelines.difference_documents import compare_documents
from pipelines.difference_examples import lost_examples
from pipelines.difference_lost import causes_of_absence, compare_lost
from pipelines.identity import doc_keys, uri_prefix
from pipelines.storage import open_store
from pipelines.verify_manifest import Finished

NUM_FILES = 20_000
GROUP = pa.struct([(name, pa.int64()) for name in ("rows", "offset", "length", "num_bytes")])


def made(root: Path, file_rows: int, every: int) -> Finished:
    """A version over `NUM_FILES` files of so many rows each, which dropped each row whose number `every` divides."""
    store = open_store(str(root))
    Output(
        inputs=[("/raw/a", [1])], operators=[("short", "length_filter")], dropped=[], quarantined=[], duplicates=[], shards=[("", [])]
    ).write(store)
    uris = [f"/raw/{number:08d}.parquet" for number in range(NUM_FILES)]
    _inventory(root / INVENTORY, uris, file_rows)
    manifest = orjson.loads(store.read("manifest.json"))
    lost = _dropped(root / manifest["tables"]["dropped"]["files"][0]["path"], uris, file_rows, every)

    def tell(found: dict) -> None:
        found["input"].update(files=NUM_FILES, rows=NUM_FILES * file_rows)
        found["output"]["rows"] = NUM_FILES * file_rows - lost
        found["tables"]["dropped"]["rows"] = lost

    rewrite_manifest(store, tell)
    return Finished(store, orjson.loads(store.read("manifest.json")), "v1", is_current=True)


def _inventory(path: Path, uris: list[str], file_rows: int) -> None:
    groups = pa.array([[{"rows": file_rows, "offset": 4, "length": 1, "num_bytes": 1}]] * len(uris), pa.list_(GROUP))
    constant = pa.array(["e"] * len(uris), pa.large_string())
    sizes = pa.array(np.full(len(uris), 1000))
    pq.write_table(pa.table({"uri": pa.array(uris, pa.large_string()), "size": sizes, "etag": constant, "row_groups": groups}), path)


def _dropped(path: Path, uris: list[str], file_rows: int, every: int) -> int:
    """The table, a thousand files at a time."""
    prefixes = [uri_prefix(uri) for uri in uris]
    rows = np.arange(0, file_rows, every)
    schema = pa.schema(SIDE["dropped"])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(uris), 1000):
            files = np.repeat(np.arange(start, min(start + 1000, len(uris))), len(rows))
            numbers = np.tile(rows, len(files) // len(rows))
            same = {name: pa.array([name] * len(files)) for name in ("id", "operator", "reason")}
            table = {"doc_key": doc_keys(prefixes, files, numbers), "uri": pa.array(uris).take(pa.array(files)), "row": numbers, **same}
            writer.write_table(pa.table({name: table[name] for name in schema.names}, schema=schema), row_group_size=1 << 16)
    return len(uris) * len(rows)


def compared(root: Path, file_rows: int) -> dict[str, float]:
    """Compare rows that 2 divides with those that 3 divides; growth of memory, seconds of CPU, and what was found."""
    old, new = made(root / f"{file_rows}-old", file_rows, 2), made(root / f"{file_rows}-new", file_rows, 3)
    base, start = peak_bytes(), time.process_time()
    sides = compare_lost(old, new, 5, 1 << 17)
    removed, added = causes_of_absence(sides[1], sides[0]), causes_of_absence(sides[0], sides[1])
    found = {"removed": removed[0][1], "added": added[0][1], "seconds": time.process_time() - start, "growth": peak_bytes() - base}
    assert len(lost_examples(sides[1])) == 5
    return found


if __name__ == "__main__":
    pa.set_cpu_count(1)
    folder = Path(sys.argv[1])
    compare_documents(made(folder / "a", 6, 2), made(folder / "b", 6, 3))
    print(json.dumps([compared(folder, file_rows) for file_rows in (6, 60)]))
